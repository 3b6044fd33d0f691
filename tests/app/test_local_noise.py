"""A latent vector with the local noise of an inversion travels through the API and can be edited."""

from __future__ import annotations

import numpy as np
import pytest
from answers import ok
from starlette.testclient import TestClient

from solquery.app import create_app
from solquery.steering.latent_text import encode_latent


@pytest.fixture(scope="module")
def client(shipped_room):
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        yield client


def test_an_inversion_with_local_noise_can_be_edited(client, shipped_room):
    generator = shipped_room.model.generator
    rng = np.random.default_rng(0)
    z, noise = rng.standard_normal(generator.latent_dim), 0.5 * rng.standard_normal(generator.local_noise)
    offsets = np.zeros((generator.parts, generator.latent_dim))
    plain, told = encode_latent(z), encode_latent(z, offsets, noise)
    assert "." in told and "." not in plain
    made = [ok(client.post("/api/edit", json={"z": text})).json() for text in (plain, told)]
    assert made[0]["measured"]["tuf"]["value"] != made[1]["measured"]["tuf"]["value"], "the noise is drawn"
    wanted = 1.2 * made[1]["measured"]["tuf"]["value"]
    moved = ok(client.post("/api/edit", json={"z": told, "set": {"tuf": wanted}})).json()
    assert moved["measured"]["tuf"]["value"] == pytest.approx(wanted, rel=0.05)
    again = ok(client.post("/api/edit", json={"z": moved["z"]})).json()
    assert "." in moved["z"] and again["measured"]["tuf"]["value"] == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("end", [".", ".AAAA", "..", ".a.b"])
def test_a_damaged_noise_is_refused(client, shipped_room, end):
    text = encode_latent(np.zeros(shipped_room.model.generator.latent_dim)) + end
    assert client.post("/api/edit", json={"z": text}).status_code == 422
