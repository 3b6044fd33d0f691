"""One line of text that finds and makes: what each piece is taken for, and that no piece holds up another."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solquery.app.asking import understand
from solquery.model import Model


@pytest.fixture(scope="module")
def directions():
    return Model.load().directions


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("NOAA 11158", {"noaa": 11158}),
        ("noaa ar 1158", {"noaa": 11158}),
        ("AR12673", {"noaa": 12673}),
        ("HARP 377", {"region": "HARP 377"}),
        ("SHARP #377", {"region": "HARP 377"}),
        ("SIM 0-12", {"region": "SIM 0-12"}),
        ("2011-02-15", {"since": "2011-02-15", "until": "2011-02-15"}),
        ("2011.02.15_02:00:00_TAI", {"since": "2011-02-15", "until": "2011-02-15"}),
        ("2012-02", {"since": "2012-02-01", "until": "2012-02-29"}),
        ("15 Feb 2011", {"since": "2011-02-15", "until": "2011-02-15"}),
        ("February 15, 2011", {"since": "2011-02-15", "until": "2011-02-15"}),
        (
            "N20W13",
            {"latitude_deg": {"low": 15.0, "high": 25.0}, "longitude_deg": {"low": 8.0, "high": 18.0}},
        ),
        (
            "s05e60",
            {"latitude_deg": {"low": -10.0, "high": 0.0}, "longitude_deg": {"low": -65.0, "high": -55.0}},
        ),
        ("real", {"source": "real"}),
    ],
)
def test_what_is_found(directions, text, filters):
    asked = understand(text, directions)
    assert asked.filters == filters and asked.words == [] and asked.set == {}
    assert [part.text for part in asked.parts] == [text]


@pytest.mark.parametrize(
    ("text", "words", "numbers"),
    [
        ("strong, widely separated bipole", ["strong", "widely separated", "bipole"], {}),
        ("flux 3e22", [], {"flux": 3e22}),
        ("TUF = 3×10^22 Mx", [], {"tuf": 3e22}),
        ("1.5e14 Wb", [], {"flux": 1.5e22}),
        ("30 Mm", [], {"psep": 30.0}),
        ("separation of 30000 km", [], {"psep": 30.0}),
        ("tilt −12.5°", [], {"tilt": -12.5}),
        ("flux 3e22, 30 Mm, delta spot", ["bipole"], {"flux": 3e22, "psep": 30.0, "r": 1.5e21}),
        ("delta region of 3e22 Mx", ["bipole"], {"flux": 3e22, "r": 1.5e21}),
        ("βγδ, tuf 4e22", ["bipole"], {"tuf": 4e22, "r": 1.2e21}),
        ("r 1e21 Mx, δ spot, 3e22 Mx, unbalanced", ["unbalanced"], {"flux": 3e22, "r": 1e21}),
    ],
)
def test_what_is_made(directions, text, words, numbers):
    asked = understand(text, directions)
    assert asked.words == words and asked.set == pytest.approx(numbers) and asked.filters == {}
    assert all(part.kind in ("word", "number") for part in asked.parts)


def test_a_piece_that_is_not_understood_holds_nothing_up(directions):
    asked = understand("strong purple bipole in AR 11158, 5 bananas, 2011-13-45, N95W10", directions)
    unknown = [part.text for part in asked.parts if part.kind == "unknown"]
    assert unknown == ["purple", "5", "bananas", "2011-13-45", "N95W10"]
    assert asked.words == ["strong", "bipole"] and asked.filters == {"noaa": 11158}
    assert all(part.meaning for part in asked.parts)


def test_words_that_contradict_are_not_both_taken(directions):
    asked = understand("wide compact bipole", directions)
    assert asked.words == ["wide", "bipole"]
    assert [(part.text, part.kind) for part in asked.parts][1] == ("compact", "unknown")
    assert "contradicts" in asked.parts[1].meaning


def test_a_delta_spot_without_a_flux_is_that_of_a_strong_region(directions):
    asked = understand("delta spot", directions)
    assert asked.set["flux"] == directions.quantile("flux", 90)
    assert asked.set["r"] == pytest.approx(0.05 * asked.set["flux"])
    (part,) = asked.parts
    assert (part.text, part.kind) == ("delta spot", "word") and "5 % of FLUX" in part.meaning


def test_a_model_that_knows_no_r_is_not_asked_for_a_delta_spot(directions):
    few = copy.copy(directions)
    object.__setattr__(few, "names", ("flux", "psep"))
    asked = understand("delta spot", few)
    assert [part.kind for part in asked.parts] == ["unknown"] and asked.set == {} and asked.words == []


def test_a_unit_of_another_kind_is_refused_with_the_right_one(directions):
    (part,) = understand("flux 30 Mm", directions).parts
    assert part.kind == "unknown" and "Mx" in part.meaning


@given(text=st.text(max_size=80))
def test_any_text_is_read_and_every_piece_is_in_it(directions, text):
    for part in understand(text, directions).parts:
        assert part.text in text and part.meaning
