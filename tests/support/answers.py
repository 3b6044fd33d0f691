"""Reading the answers of the API, and a latent vector to ask it about."""

from __future__ import annotations

import base64

import numpy as np

from solquery.steering import encode_latent


def latent(seed, size=16):
    return encode_latent(np.random.default_rng(seed).standard_normal(size))


def ok(response):
    assert response.status_code == 200, response.text[:500]
    return response


def refused(response, status, kind=None):
    assert response.status_code == status, response.text[:500]
    error = response.json()["error"]
    assert error["message"] and "\n" not in error["message"] and "Traceback" not in error["message"]
    assert kind is None or error["kind"] == kind
    return error["message"]


def field_of(record):
    data = base64.b64decode(record["data"])
    return np.frombuffer(data, record["dtype"]).reshape(record["shape"]).astype(np.float32)
