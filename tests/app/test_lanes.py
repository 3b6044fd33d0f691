"""Lanes: bounded, timed, and the newest of a client wins."""

from __future__ import annotations

import asyncio
import threading

import pytest

from solquery.app.lanes import Busy, Lane, Superseded, TooSlow


@pytest.fixture
def lane():
    lane = Lane("test", workers=1, queue=2, seconds=5.0)
    yield lane
    lane.close()


def test_the_result_and_the_error_come_through(lane):
    assert asyncio.run(lane.run(lambda: 7)) == 7
    with pytest.raises(KeyError):
        asyncio.run(lane.run(lambda: {}["x"]))
    assert lane.inside == 0


def test_a_full_queue_says_so_and_recovers(lane):
    async def work():
        gate = threading.Event()
        tasks = [asyncio.create_task(lane.run(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy):
            await lane.run(lambda: None)
        gate.set()
        assert await asyncio.gather(*tasks) == [True] * 3
        assert await lane.run(lambda: "again") == "again"

    asyncio.run(work())
    assert lane.inside == 0


def test_of_one_client_only_the_newest_waiting_request_is_done(lane):
    done = []

    async def work():
        gate = threading.Event()
        running = asyncio.create_task(lane.run(gate.wait, "a"))
        await asyncio.sleep(0.05)
        older = asyncio.create_task(lane.run(lambda: done.append("older"), "a"))
        await asyncio.sleep(0)
        newer = asyncio.create_task(lane.run(lambda: done.append("newer"), "a"))
        await asyncio.sleep(0.05)
        gate.set()
        results = await asyncio.gather(running, older, newer, return_exceptions=True)
        assert results[0] is True and isinstance(results[1], Superseded) and results[2] is None

    asyncio.run(work())
    assert done == ["newer"]


def test_clients_do_not_supersede_each_other(lane):
    async def work():
        gate = threading.Event()
        tasks = [asyncio.create_task(lane.run(gate.wait, name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0.05)
        gate.set()
        assert await asyncio.gather(*tasks) == [True] * 3

    asyncio.run(work())


def test_what_takes_too_long_is_answered_and_its_place_is_free_only_when_it_ends():
    lane = Lane("slow", workers=1, queue=0, seconds=0.05)

    async def work():
        gate = threading.Event()
        with pytest.raises(TooSlow):
            await lane.run(gate.wait)
        with pytest.raises(Busy):
            await lane.run(lambda: None)
        gate.set()
        for _ in range(100):
            if lane.inside == 0:
                break
            await asyncio.sleep(0.01)
        assert await lane.run(lambda: 1) == 1

    asyncio.run(work())
    lane.close()
