"""Several examples as one query: limits whose answer is known, and the same through the API."""

from __future__ import annotations

import numpy as np
import pytest

from solquery.app.examples import by_examples
from solquery.steering import encode_latent

pytestmark = pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")

NONE = np.empty((0, 5))
QUERY = np.array([0.0, 1.0, 2.0, 3.0, 4.0])


def test_without_examples_the_query_ranks():
    np.testing.assert_array_equal(by_examples(QUERY, NONE, NONE), QUERY)


def test_between_a_query_and_an_example_what_lies_halfway_is_nearest():
    apart = by_examples(QUERY, QUERY[::-1][None, :], NONE)
    assert apart.argmin() == 2 and apart[0] == pytest.approx(np.sqrt(8.0))
    np.testing.assert_allclose(apart, apart[::-1])


def test_what_is_nearer_to_what_is_not_wanted_is_moved_away_by_the_difference():
    less = np.array([[9.0, 9.0, 0.5, 9.0, 9.0], [9.0, 9.0, 9.0, 2.0, 9.0]])
    np.testing.assert_allclose(by_examples(QUERY, NONE, less), [0.0, 1.0, 3.5, 4.0, 4.0])


@pytest.mark.parametrize("by", ["embedding", "hybrid", "physics"])
def test_the_same_query_and_example_give_the_ranking_of_the_query(client, service, by):
    name = str(service.catalogue.ids[5])
    body = {"patch": name, "k": 21, "group": "none", "by": by}
    alone = client.post("/api/search", json=body).json()["matches"]
    both = client.post("/api/search", json={**body, "more": [name]}).json()["matches"]
    apart = {match["id"]: match["distance"] for match in alone}
    for match in both:
        assert match["distance"] == pytest.approx(apart[match["id"]], rel=1e-3, abs=1e-3)


def test_an_example_of_what_is_not_wanted_is_no_match_and_one_that_is_not_there_is_refused(client, service):
    z = encode_latent(np.random.default_rng(3).standard_normal(16))
    first = client.post("/api/search", json={"z": z, "k": 3}).json()["matches"][0]["id"]
    found = client.post("/api/search", json={"z": z, "k": 21, "group": "none", "less": [first]}).json()
    assert len(found["matches"]) == 20 and first not in {match["id"] for match in found["matches"]}
    assert "examples" not in found["recipe"]["cli"] and "more and less" in found["recipe"]["python"]
    refused = client.post("/api/search", json={"z": z, "more": ["nobody"]})
    assert refused.status_code == 404 and "nobody" in refused.json()["error"]["message"]
