"""`solquery app` as a user starts it: an address on stdout, a server behind it, a token where others can reach it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from started import Started


@pytest.fixture
def started():
    running = []

    def start(*arguments):
        server = Started("app", "--port", 0, *arguments)
        running.append(server)
        return server.first_line(), server

    yield start
    for server in running:
        server.terminate()
        server.communicate(timeout=20)


def get(address):
    # no proxy of the machine's between a test and itself
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=30) as answer:
        return answer.read()


def test_the_address_printed_is_answered_and_only_this_machine_is_bound(started):
    address, server = started()
    assert address.startswith("http://127.0.0.1:")
    assert json.loads(get(address + "api/health"))["archive"] is None
    assert b"<title>Solquery</title>" in get(address)
    server.terminate()
    out, err = server.communicate(timeout=20)
    assert out.strip() == address and "no archive" in err and "Traceback" not in err


def test_another_address_needs_the_token_that_is_printed(started):
    address, _ = started("--host", "0.0.0.0")
    base, _, token = address.partition("?token=")
    assert len(token) >= 32
    here = base.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(here + "api/health")
    assert refused.value.code == 401
    refused.value.close()
    request = urllib.request.Request(here + "api/health", headers={"Authorization": f"Bearer {token}"})
    assert json.loads(get(request))["status"] == "ok"
