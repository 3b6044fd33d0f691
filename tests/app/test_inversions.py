"""Inversions under way: the guess, the states after it, giving up, and the first move away from an observation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from answers import ok

from solquery.app import inversions
from solquery.app.packed import unpack
from solquery.steering import SteeringError
from solquery.steering.reconstruction_loss import MATCHED


@pytest.fixture
def patch(client, service):
    """What is known of an observation of the archive."""
    real = service.catalogue.archive.table(columns=["id"], where="source = 'real'")["id"].to_pylist()
    return ok(client.get(f"/api/patch/{sorted(real)[0]}")).json()


def followed(client, begun, seconds=60.0):
    """The states of an inversion until it ends."""
    states, until = [begun], time.monotonic() + seconds
    while states[-1]["running"] and time.monotonic() < until:
        time.sleep(0.02)
        states.append(ok(client.get(f"/api/inversions/{begun['id']}")).json())
    assert not states[-1]["running"]
    return states


@pytest.fixture
def endless(monkeypatch):
    """Inversions that go on until they are given up; how many states each has made."""
    from solquery.app import service as module

    made = []

    def states(model, x, **options):
        from solquery.steering.reconstruction import reconstruct_in_steps

        first, *_, last = reconstruct_in_steps(model, x, evaluations=4, match=False)
        count = [0]
        made.append(count)
        yield first
        while True:
            count[0] += 1
            time.sleep(0.005)
            yield type(last)("picture", count[0], 10**6, lambda: last.found)

    monkeypatch.setattr(module, "reconstruct_in_steps", states)
    return made


def test_a_guess_comes_first_and_the_end_says_what_was_met(client, patch):
    begun = ok(client.post(f"/api/inversions?patch={patch['id']}")).json()
    assert begun["stage"] == "first guess" and begun["done"] == 0 and begun["field"]["shape"] == [32, 32]
    states = followed(client, begun)
    last = states[-1]
    assert last["stage"] == "done" and last["done"] == last["total"] and last["error"] is None
    assert last["verdict"] in ("drawn", "cannot draw") and bool(last["reason"]) == (last["verdict"] == "cannot draw")
    assert last["explained"] > begun["explained"]
    assert [one["pixels"] for one in last["explained_by_scale"]] == [1, 2, 4, 8]
    assert set(MATCHED) & set(last["observed"]) == set(last["difference"]) & set(MATCHED)
    for name, entry in last["difference"].items():
        pair = last["reconstructed"][name]["value"], last["observed"][name]["value"]
        if None not in pair:
            assert entry["value"] == pytest.approx(pair[0] - pair[1])
        assert entry["unit"] == last["observed"][name]["unit"]
    assert last["observed"]["tuf"] == patch["grid"]["tuf"]
    done = [state["done"] for state in states]
    assert done == sorted(done)
    # what it shows is what its latent draws
    body = ok(client.get(f"/api/inversions/{begun['id']}?packed=true"))
    told, fields = unpack(body.content)
    again, drawn = unpack(ok(client.post("/api/edit?format=packed", json={"z": told["z"]})).content)
    np.testing.assert_allclose(fields[0], drawn[0], atol=1.0)
    assert again["z"] == told["z"]


def test_giving_up_ends_the_work_and_keeps_the_state(client, patch, endless):
    begun = ok(client.post(f"/api/inversions?patch={patch['id']}")).json()
    assert ok(client.get(f"/api/inversions/{begun['id']}")).json()["running"]
    told = ok(client.delete(f"/api/inversions/{begun['id']}")).json()
    assert told["cancelled"]
    last = followed(client, told)[-1]
    assert last["cancelled"] and last["z"] and last["field"]
    count = endless[0][0]
    time.sleep(0.1)
    assert endless[0][0] == count


def test_a_newer_inversion_of_a_client_ends_the_older(client, patch, endless):
    first, second = (ok(client.post(f"/api/inversions?patch={patch['id']}&client=me")).json() for _ in range(2))
    assert followed(client, first)[-1]["cancelled"]
    assert not ok(client.get(f"/api/inversions/{second['id']}")).json()["cancelled"]
    ok(client.delete(f"/api/inversions/{second['id']}"))


def test_one_that_nobody_asks_about_is_given_up(client, patch, endless, monkeypatch, service):
    monkeypatch.setattr(inversions, "_ABANDONED", 0.05)
    begun = ok(client.post(f"/api/inversions?patch={patch['id']}")).json()
    job = service.inversions.get(begun["id"])
    until = time.monotonic() + 30
    while job.running and time.monotonic() < until:
        time.sleep(0.02)
    assert job.cancelled and not job.running


def test_what_is_not_there_and_what_holds_nothing_are_refused(client, monkeypatch, service, patch):
    for method in ("get", "delete"):
        response = getattr(client, method)("/api/inversions/nowhere")
        assert response.status_code == 404 and "begin another" in response.json()["error"]["message"]
    assert client.post("/api/inversions?patch=nobody").status_code == 404
    monkeypatch.setattr(type(service), "_x", lambda self, patch_id: np.zeros((32, 32), np.float32))
    response = client.post(f"/api/inversions?patch={patch['id']}")
    assert response.status_code == 422 and "nothing to invert" in response.json()["error"]["message"]


def test_an_error_on_the_way_is_told(client, patch, monkeypatch):
    from solquery.app import service as module

    real = module.reconstruct_in_steps

    def broken(model, x, **options):
        yield next(real(model, x))
        raise SteeringError("this goes wrong")

    monkeypatch.setattr(module, "reconstruct_in_steps", broken)
    begun = ok(client.post(f"/api/inversions?patch={patch['id']}")).json()
    assert followed(client, begun)[-1]["error"] == "this goes wrong"


@pytest.mark.parametrize("exact", [False, True])
def test_the_first_move_holds_all_else_as_observed(client, patch, service, exact):
    told = ok(client.post(f"/api/invert?patch={patch['id']}")).json()
    observed = {name: entry["value"] for name, entry in told["observed"].items()}
    wanted = 1.1 * told["reconstructed"]["psep"]["value"]
    body = {"z": told["z"], "set": {"psep": wanted}, "origin": patch["id"], "exact": exact}
    answer = ok(client.post("/api/edit", json=body)).json()
    held = {name: entry["value"] for name, entry in answer["held"].items()}
    expected = set(MATCHED) & set(service.directions.names) - {"psep"}
    assert set(held) == {name for name in expected if observed[name] is not None}
    assert all(held[name] == pytest.approx(observed[name], rel=1e-6) for name in held)
    # what is locked stays where it is locked
    body["hold"] = {"tuf": 0.9 * observed["tuf"]}
    locked = ok(client.post("/api/edit", json=body)).json()
    assert locked["held"]["tuf"]["value"] == pytest.approx(0.9 * observed["tuf"])
