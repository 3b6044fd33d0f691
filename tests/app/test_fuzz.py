"""The API against its own description: whatever schemathesis makes of it, no answer is a fault of the server."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis")

from solquery.app import create_app
from solquery.steering import encode_latent

OPERATIONS = [
    ("GET", "/api/health"), ("GET", "/api/parameters"), ("GET", "/api/map"), ("GET", "/api/cloud"),
    ("POST", "/api/edit"), ("POST", "/api/generate"), ("POST", "/api/search"), ("POST", "/api/patch"),
    ("GET", "/api/patch/{patch_id}"), ("POST", "/api/invert"), ("POST", "/api/estimate"),
    ("GET", "/api/space"), ("POST", "/api/understand"), ("POST", "/api/frames"), ("GET", "/api/errors/{patch_id}"),
    ("POST", "/api/sketch"),
]  # fmt: skip

# told in the answer; as an error it would be a fault of the server
pytestmark = pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")


HOST = {"host": "127.0.0.1"}
#: an inversion of hundreds of steps for every example would be a benchmark
MANY = {"/api/errors/{patch_id}": 10, "/api/invert": 10, "/api/generate": 40}


@schemathesis.serializer("application/fits")
def as_fits(_, value):
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def schema(service):
    return schemathesis.openapi.from_asgi("/api/openapi.json", create_app(service), headers=HOST)


def deepened(case, draw, service):
    """A case that gets further half of the time: with a latent, a parameter, a patch that there are."""
    body = case.body if isinstance(case.body, dict) else {}
    if draw(st.booleans()):
        if "z" in body:
            body["z"] = encode_latent(np.random.default_rng(draw(st.integers(0, 9))).standard_normal(16))
        for key in ("set", "hold"):
            if isinstance(body.get(key), dict):
                body[key] = dict(zip(service.directions.names, body[key].values(), strict=False))
        if "patch" in body:
            body["patch"] = str(service.catalogue.ids[0])
        if "group" in body or "by" in body or "more" in body or "less" in body:
            # a search: by one thing, and with examples that there are
            for other in ("patch", "upload") if "z" in body else ():
                body.pop(other, None)
            body |= {key: [str(service.catalogue.ids[0])] for key in ("more", "less") if body.get(key)}
            if draw(st.booleans()):
                body.pop("filters", None)
        if "patch_id" in case.path_parameters:
            case.path_parameters["patch_id"] = str(service.catalogue.ids[-1])


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{m} {p}" for m, p in OPERATIONS])
def test_no_request_makes_the_server_fault(schema, service, method, path):
    operation = schema[path][method]
    answered = []

    @settings(
        max_examples=MANY.get(path, 60), deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(), data=st.data())
    def one(case, data):
        deepened(case, data.draw, service)
        response = case.call(headers=HOST)
        answered.append(response.status_code)
        # 504 would be slow, not broken, but nothing that small may take so long either
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            assert set(response.json()["error"]) - {"nearest"} == {"kind", "message"}

    one()
    # a FITS file is not found by chance, and this model has no network that estimates and no scale to sketch in
    rarely = path in ("/api/patch", "/api/invert", "/api/estimate", "/api/sketch")
    assert 200 in answered or rarely, "nothing got through: the fuzz is too shallow"
