"""The stand-in for JSOC, serving a small Sun."""

from __future__ import annotations

from datetime import timedelta

import pytest
from jsoc_stand_in import EMAIL, StandIn
from small_sun import DAY, QUICK, small_sun

from solquery.jsoc.client import Jsoc
from solquery.jsoc.frames import read_frame
from solquery.jsoc.selection import Ask, record_of


@pytest.fixture(scope="session")
def sun():
    """Five regions of six frames each, 6 h apart; files are made once."""
    return small_sun(5, 6)


@pytest.fixture
def jsoc(sun):
    """The stand-in, serving `sun`."""
    with StandIn(list(sun)) as server:
        yield server


@pytest.fixture
def client(jsoc):
    return lambda **changes: Jsoc(jsoc.url, changes.pop("email", EMAIL), changes.pop("retry_policy", QUICK), seed=1)


@pytest.fixture
def ask():
    return Ask(DAY, DAY + timedelta(days=3))


@pytest.fixture(scope="session")
def sun_patches(sun, tmp_path_factory):
    """The patches of `sun`, as a fetch reads them."""
    folder = tmp_path_factory.mktemp("sun")
    out = []
    for f in sun:
        asked = record_of(f.keywords, f.segment)
        path = folder / asked.file_name
        path.write_bytes(f.file("as-is"))
        out.append(read_frame(path, asked))
    return out
