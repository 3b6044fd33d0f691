"""What the inversion adds apart from noise, and the centres of a header: geometry against truth known otherwise."""

import dataclasses
import math

import numpy as np
import pytest
from shared_data import bitmap, frames

from solquery import Patch, SolqueryError
from solquery.physics import describe_patch, flux_centres, header_values, systematics
from solquery.physics.keywords import MM_PER_DEGREE
from solquery.physics.systematic import SYSTEMATIC
from solquery.simulator import simulate_region

SCALE = (0.364425, 0.364425)


def spots(quantity="radial", latitude=20.0, longitude=-30.0):
    """Two round spots, the positive one to the west, 9 degrees from each other."""
    y, x = np.mgrid[:200, :400].astype(np.float64)
    field = sum(s * 1500 * np.exp(-((y - 99.5) ** 2 + (x - c) ** 2) / 200) for s, c in ((-1, 49.5), (1, 349.5)))
    mu = math.cos(math.radians(latitude)) * math.cos(math.radians(longitude))
    return Patch(
        np.asarray(field, np.float32), SCALE, "p", "P", "real", quantity=quantity, latitude_deg=latitude,
        longitude_deg=longitude, b0_deg=0.0, mu=mu,
    )  # fmt: skip


def test_centres_lie_where_the_spots_are():
    patch = spots("line-of-sight", latitude=0.0)
    found = flux_centres(patch, np.full(patch.field.shape, 34))
    # on the equator the map is even in longitude; the weight by projected area moves a round spot by next to nothing
    assert found.lonfwtpo == pytest.approx(-30 + 150 * 0.03, abs=0.02)
    assert found.lonfwtne == pytest.approx(-30 - 150 * 0.03, abs=0.02)
    assert found.latfwtpo == pytest.approx(0.0, abs=1e-6)
    assert found.values()["psep"] == pytest.approx(9.0 * MM_PER_DEGREE, rel=0.003)
    assert found.values()["polarity"] == 1.0


def test_centres_of_a_map_away_from_the_equator_follow_the_great_circle():
    """Along the middle row of a map about a northern centre latitude falls to both sides."""
    patch = spots("line-of-sight", latitude=60.0)
    found = flux_centres(patch, np.full(patch.field.shape, 34))
    away = math.radians(4.5)
    north = math.degrees(math.asin(math.sin(math.radians(60)) * math.cos(away)))
    assert found.latfwtpo == pytest.approx(north, abs=0.02)
    west = math.degrees(math.atan2(math.sin(away), math.cos(math.radians(60)) * math.cos(away)))
    assert found.lonfwtpo == pytest.approx(-30 + west, abs=0.1)


def test_centres_need_a_place_a_bitmap_of_the_shape_and_active_pixels():
    patch = spots()
    with pytest.raises(ValueError, match="one shape"):
        flux_centres(patch, np.full((3, 3), 34))
    with pytest.raises(SolqueryError, match="no place on the Sun"):
        flux_centres(dataclasses.replace(patch, latitude_deg=math.nan), np.full(patch.field.shape, 34))
    assert np.isnan(flux_centres(patch, np.zeros(patch.field.shape))).all()


def test_line_of_sight_centres_of_real_frames_are_those_of_the_header():
    near = 0
    for patch in frames("*.magnetogram", "sharps_los"):
        told = header_values(patch.keywords, patch.quantity)
        mask = bitmap(patch)
        if mask is None or "psep" not in told:
            continue
        found = flux_centres(patch, mask).values()
        assert found["psep"] == pytest.approx(told["psep"].value, rel=0.02)
        assert (found["axis_angle"] - told["axis_angle"].value + 180) % 360 - 180 == pytest.approx(0.0, abs=1.0)
        near += 1
    assert near >= 8


def test_the_systematic_offset_grows_towards_the_limb_and_is_no_part_of_the_error():
    patch = spots()
    offsets = [systematics(dataclasses.replace(patch, mu=mu), values={"flux": 1e22})["flux"] for mu in (1.0, 0.8, 0.6)]
    assert [one.offset for one in offsets] == sorted(one.offset for one in offsets)
    assert offsets[0].offset == 0.0 and offsets[0].error == 0.0
    assert offsets[2].offset == pytest.approx(1e22 * (1 - math.exp(-SYSTEMATIC["flux"][0] * 0.64)))
    assert "simulated" in offsets[1].basis
    report = describe_patch(patch, ["flux", "tilt"])
    assert set(report.systematic) == {"flux"}


def test_there_is_none_along_the_line_of_sight_near_the_limb_or_for_generated_patches():
    patch = spots()
    assert systematics(dataclasses.replace(patch, quantity="line-of-sight")) == {}
    assert systematics(dataclasses.replace(patch, mu=0.3)) == {}
    assert systematics(dataclasses.replace(patch, mu=math.nan)) == {}
    assert systematics(dataclasses.replace(patch, source="generated")) == {}
    assert set(systematics(patch, ["tilt", "tuf"])) == {"tuf"}


def test_a_frame_without_noise_stands_on_the_pixels_of_the_frame_with_it():
    seen, without, true = simulate_region(91, 5, 2, keep=1, quantity=("radial", "noise-free-observed", "noise-free"))
    assert seen.id + "-observed-clean" == without.id and without.segment == "noise-free-observed"
    strong = np.abs(true.field) > 300
    noise, both = (np.abs(p.field[strong] - without.field[strong]).mean() for p in (seen, true))
    # without the noise, what is left is the observation, which makes plage stronger
    assert noise < both
    assert np.abs(without.field).sum() > 1.05 * np.abs(true.field).sum()
    # the noise is drawn as before
    assert np.array_equal(simulate_region(91, 5, 2, keep=1)[0].field, seen.field)
