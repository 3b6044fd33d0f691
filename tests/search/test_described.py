"""Which of the patches that meet a description a search starts from."""

import dataclasses

import numpy as np
import pytest
from bipoles import bipole_model

from solquery.search import described as module
from solquery.search.described import described
from solquery.steering import generate

TARGETS = {"psep": 9.0}


class Session:
    """Of an archive that holds something close to some patches (H, W)."""

    def __init__(self, known):
        self.known, self.asked = known, 0

    def close(self, x):
        self.asked += 1
        return self.known(x)


@pytest.fixture(scope="module")
def model():
    return bipole_model()


@pytest.fixture
def plain(model):
    return [answer.x for answer in generate(model, TARGETS, 4, seed=2)]


def same(answers, fields):
    return len(answers) == len(fields) and all(np.array_equal(a.x, x) for a, x in zip(answers, fields, strict=True))


def test_patches_that_the_archive_knows_the_like_of_stay(model, monkeypatch):
    first = [answer.x for answer in generate(model, TARGETS, 2, seed=2)]
    calls = []
    monkeypatch.setattr(module, "generate", lambda *a, **b: calls.append(a) or generate(*a, **b))
    for session in (None, Session(lambda x: True), Session(lambda x: None)):
        assert same(described(model, session, TARGETS, 2, 2), first)
    assert len(calls) == 3


def test_of_more_that_meet_it_one_comes_first_that_has_something_close(model, plain):
    wanted = plain[2]
    session = Session(lambda x: np.array_equal(x, wanted))
    got = described(model, session, TARGETS, 1, 2)
    assert same(got, [wanted]) and got[0].verdict == "met"
    assert session.asked == 5


def test_where_nothing_is_close_the_first_answer_stands(model):
    first = [answer.x for answer in generate(model, TARGETS, 1, seed=2)]
    assert same(described(model, Session(lambda x: False), TARGETS, 1, 2), first)


def test_what_is_close_and_was_not_met_does_not_go_before_what_was_met(model, monkeypatch):
    made = list(generate(model, TARGETS, 4, seed=2))
    made[1:] = [dataclasses.replace(one, verdict="nearest") for one in made[1:]]
    session = Session(lambda x: not np.array_equal(x, made[0].x))
    # among more that hold it, and where none of those that are made afterwards was met
    for more in (made, made[1:]):
        monkeypatch.setattr(module, "generate", lambda model, targets, n, more=more, **_: made[:1] if n == 1 else more)
        assert same(described(model, session, TARGETS, 1, 2), [made[0].x])


def test_as_many_are_given_as_were_asked_for_when_few_of_them_are_met(model, monkeypatch):
    made = list(generate(model, TARGETS, 4, seed=2))
    made[1:] = [dataclasses.replace(one, verdict="nearest") for one in made[1:]]
    monkeypatch.setattr(module, "generate", lambda model, targets, n, **_: made[:n])
    session = Session(lambda x: any(np.array_equal(x, one.x) for one in (made[0], made[3])))
    assert same(described(model, session, TARGETS, 2, 2), [made[0].x, made[3].x])
