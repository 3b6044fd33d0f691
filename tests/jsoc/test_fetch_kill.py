"""A fetch is killed again and again while everything goes wrong; at the end every frame is there once, or explained."""

from __future__ import annotations

import json
import random
import signal
import time

import numpy as np
import pytest
from jsoc_stand_in import EMAIL, Faults, StandIn
from small_sun import small_sun
from started import Started

from solquery.archive.store import Archive
from solquery.archive.verify import verify

MODERATE = Faults(slow=0.3, refuse=0.03, error_500=0.03, html=0.03, truncate=0.03, short=0.03, change=0.03, vanish=0.03)
RARE = Faults(slow=0.1, refuse=0.04, error_500=0.04, html=0.04, truncate=0.03, vanish=0.03)


def run(server, place, *more):
    words = [
        *("fetch", "--archive", place),
        *("--start", "2012-03-01", "--end", "2012-04-30", "--email", EMAIL, "--server", server.url, "--lot", "23"),
        *("--pause", "0.01", "--tries", "9", "--timeout", "10", "--json", *more),
    ]
    return Started(*words, env={"JSOC_EMAIL": ""})


def killed_run(regions, frames, kills, seed, place, method):
    dice = random.Random(seed)
    sun = small_sun(regions, frames)
    with StandIn(sun, seed=seed) as server:
        server.file_faults, server.answer_faults = MODERATE, RARE
        server.polls, server.largest_lot = 1, 17
        server.lost = {sun[4].key}
        server.broken = {sun[9].key: lambda content: content[:2880], sun[11].key: lambda content: b""}
        done = 0
        for kill in range(kills):
            process = run(server, place, "--method", method)
            # somewhere between the first request and a few files later, at no tidy moment
            before = len(server.log)
            enough = before + dice.randrange(1, max(2, 2 * len(sun) // kills))
            # and the last one after a file, so that there is something to lose
            while process.poll() is None and (
                len(server.log) < enough or (kill == kills - 1 and not sum(server.served.values()))
            ):
                time.sleep(0.002)
            time.sleep(dice.random() * 0.15)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                done += 1
            process.communicate()
        served_before_the_end = sum(server.served.values())
        for _ in range(3):
            process = run(server, place, "--method", method)
            out, err = process.communicate(timeout=300)
            if process.returncode == 0:
                break
        assert process.returncode == 0, err
        report = json.loads(out)
        served = sum(server.served.values())
    assert done >= kills - 1, "the kills came while it ran"
    assert served_before_the_end > 0
    archive = Archive.open(place)
    given_up = {entry["frame"]: entry["reason"] for entry in report["failed"]}
    there = {patch.file: patch for patch in archive.patches()}
    assert len(there) == len(archive) == archive._fields.count_rows()
    for f in sun:
        assert (f.record in there) != (f.record in given_up), f.record
        if f.record in there:
            np.testing.assert_allclose(
                there[f.record].field, np.round(f.field_gauss * 100) / 100, rtol=2**-11, atol=1e-6
            )
    assert {sun[4].record, sun[9].record, sun[11].record} <= set(given_up)
    assert len(given_up) <= 3 + len(sun) // 20 and all(given_up.values())
    assert verify(archive) == []
    # a kill may cost the one file that was on its way, and an export that has gone its current one
    assert served <= len(sun) + 2 * kills
    return report


def test_a_fetch_survives_kills_and_faults(tmp_path):
    report = killed_run(3, 9, 3, 20260101, tmp_path / "a", "url_quick")
    assert report["frames"] == 27


@pytest.mark.slow
@pytest.mark.parametrize("method", ["url_quick", "url"])
def test_a_long_fetch_survives_twenty_kills(tmp_path, method):
    report = killed_run(12, 25, 20, 20260102, tmp_path / "a", method)
    assert report["frames"] == 300
