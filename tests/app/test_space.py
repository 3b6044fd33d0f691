"""The encoder's space in two dimensions: axes of a known shape, and what the API gives of it."""

from __future__ import annotations

import numpy as np
import pytest

from solquery.app.space import layout_of, stored_layout, within


def test_the_axes_are_those_of_greatest_variance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)) * [0.1, 3.0, 0.1, 1.0, 0.1]
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    layout = layout_of(x @ turn.T + 7.0)
    for k, column in enumerate((1, 3)):
        assert abs(np.corrcoef(layout.points[:, k], x[:, column])[0, 1]) > 0.99
    assert layout.explained == pytest.approx(10.0 / 10.03, abs=0.01)
    np.testing.assert_array_equal(layout_of(x).points, layout_of(x).points)


def test_distances_in_a_plane_are_kept():
    flat = np.zeros((50, 6))
    flat[:, :2] = np.random.default_rng(1).normal(size=(50, 2))
    points = layout_of(flat).points
    gaps = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points[None], axis=2), gaps, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1])
def test_a_layout_of_nothing_is_none(count):
    assert layout_of(np.ones((count, 4))).points.shape == (count, 2)


def test_a_layout_is_made_once_and_kept_beside_the_archive(tmp_path):
    vectors, asked = np.random.default_rng(2).normal(size=(30, 4)), []

    def make():
        asked.append(1)
        return vectors

    first = stored_layout(tmp_path, "content", "encoder", make)
    again = stored_layout(tmp_path, "content", "encoder", make)
    np.testing.assert_array_equal(first.points, again.points)
    assert again.explained == first.explained and len(asked) == 1
    stored_layout(tmp_path, "content", "another encoder", make)
    (kept,) = tmp_path.iterdir()
    assert len(asked) == 2, "and the one of before is gone"
    kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(stored_layout(tmp_path, "content", "another encoder", make).points, first.points)
    assert len(asked) == 3
    (tmp_path / "file").write_text("")
    np.testing.assert_array_equal(stored_layout(tmp_path / "file", "c", "e", make).points, first.points)
    assert stored_layout(None, "c", "e", make).points.shape == (30, 2)


def test_what_lies_within_a_polygon():
    star = np.array([[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]])
    points = np.array([[0.5, 0.5], [2, 0.5], [2, 3], [3.9, 3], [5, 1], [np.nan, 1], [-1, 2]])
    assert within(points, star).tolist() == [True, True, False, True, False, False, False]
    assert within(points, star[::-1]).tolist() == within(points, star).tolist()


def test_a_column_alone_is_given_without_places(client):
    told = client.get("/api/space?column=psep&places=false").json()
    assert told["ids"] is None and told["points"] is None and len(told["values"]) == 21
    assert told["content"] == client.get("/api/space").json()["content"]


@pytest.mark.parametrize("column", ["tuf", "mu"])
def test_every_patch_has_a_place_and_a_value(client, service, column):
    told = client.get(f"/api/space?column={column}").json()
    assert len(told["ids"]) == len(told["points"]) == told["of"] == 21 and sum(told["real"]) == 3
    row = service.catalogue.row(told["ids"][4])
    wanted = row["mu"] if column == "mu" else row[f"grid_{column}"]
    assert told["values"][4] == pytest.approx(wanted, rel=1e-3)
    assert client.get("/api/space?column=nothing").status_code == 422
