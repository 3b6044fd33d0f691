"""Pauses grow, vary, and end; what the server asks for is honoured within reason."""

import random

import pytest

from solquery.jsoc.retry import NotNow, RetryPolicy, persist


def test_pauses_double_up_to_a_limit_and_vary():
    retry_policy, rng = RetryPolicy(first_s=2.0, most_s=30.0), random.Random(1)
    for failures in range(1, 12):
        full = min(2.0 * 2 ** (failures - 1), 30.0)
        drawn = {retry_policy.pause(failures, rng) for _ in range(40)}
        assert len(drawn) == 40 and full / 2 <= min(drawn) and max(drawn) <= full


def failing(times, after_s=0.0):
    calls = []

    def ask():
        calls.append(1)
        if len(calls) <= times:
            raise NotNow("HTTP 503", after_s=after_s)
        return "answer"

    return ask, calls


def test_a_request_is_repeated_until_it_is_answered():
    slept, said = [], []
    ask, calls = failing(3)
    assert persist(ask, RetryPolicy(tries=4, first_s=1.0), random.Random(0), said.append, slept.append) == "answer"
    assert len(calls) == 4 and len(slept) == 3 and slept[0] <= 1 < slept[2] <= 4
    assert said[0].startswith("HTTP 503; again in ")


def test_patience_ends():
    ask, calls = failing(99)
    with pytest.raises(NotNow, match="503"):
        persist(ask, RetryPolicy(tries=5), random.Random(0), lambda text: None, lambda s: None)
    assert len(calls) == 5


@pytest.mark.parametrize(("asked", "waited"), [(40.0, 40.0), (1e6, 60.0)])
def test_retry_after_is_honoured_within_reason(asked, waited):
    slept = []
    ask, _ = failing(1, asked)
    persist(ask, RetryPolicy(first_s=0.1, most_s=60.0), random.Random(0), lambda text: None, slept.append)
    assert slept == [waited]


def test_pauses_stay_numbers_however_long_a_server_is_asked():
    policy, rng = RetryPolicy(poll_s=0.001, poll_most_s=0.01), random.Random(1)
    assert 0.0 < policy.poll(10_000, rng) <= 0.01
    assert 0.0 < policy.pause(10_000, rng) <= policy.most_s
