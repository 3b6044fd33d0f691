"""What goes in comes out, to float16's precision, for any accepted image; the others are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from solquery.archive.records import patch_of, row_of
from solquery.archive.store import Archive
from solquery.sharp.fits import UnreadableFits, read_sharp

NAME = "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"


def image(shape, kind, seed):
    rng = np.random.default_rng(seed)
    field = rng.normal(0, 10 ** rng.uniform(-3, 3.5), shape).astype(np.float32)
    if kind == "zero":
        return np.zeros(shape, np.float32)
    if kind == "all nan":
        return np.full(shape, np.nan, np.float32)
    if kind == "some nan":
        field[rng.random(shape) < 0.4] = np.nan
    if kind == "infinite":
        field[rng.integers(shape[0]), rng.integers(shape[1])] = rng.choice([np.inf, -np.inf])
    if kind == "too strong":
        field[0, 0] = 1e6
    if kind == "one pixel":
        field[:] = np.nan
        field[-1, -1] = -1234.5
    return field


sides = st.integers(1, 60) | st.integers(1, 2000)
kinds = st.sampled_from(["plain", "zero", "all nan", "some nan", "infinite", "too strong", "one pixel"])


@settings(max_examples=50)
@given(sides, sides, kinds, st.integers(0, 99))
@example(1, 1, "plain", 0)
@example(2, 2000, "some nan", 1)
@example(2000, 2, "plain", 2)
@example(2000, 2000, "some nan", 3)
@example(2, 2, "all nan", 4)
def test_any_image_is_kept_to_float16_or_refused_by_name(tmp_path_factory, ny, nx, kind, seed):
    if ny * nx > 200_000 and (ny, nx) != (2000, 2000):
        nx = max(200_000 // ny, 1)
    field = image((ny, nx), kind, seed)
    path = tmp_path_factory.mktemp("any") / NAME
    fits.PrimaryHDU(field).writeto(path)
    usable = min(ny, nx) >= 2 and np.isfinite(field).any() and not np.isinf(field).any()
    usable = usable and np.nanmax(np.abs(field)) <= 65504
    if not usable:
        with pytest.raises(UnreadableFits) as caught:
            read_sharp(path)
        assert str(path) in str(caught.value)
        return
    row, data = row_of(read_sharp(path), [])
    again = patch_of(row, data)
    np.testing.assert_array_equal(np.isnan(again.field), np.isnan(field))
    np.testing.assert_allclose(again.field, field, rtol=2**-11, atol=6e-8)
    assert row["missing_fraction"] == pytest.approx(np.isnan(field).mean())
    assert row["clipped_fraction"] == (np.abs(np.nan_to_num(field)) > 1000).mean()
    assert len(data) == 2 * ny * nx and (row["ny"], row["nx"]) == (ny, nx)


def test_columns_of_an_earlier_version_are_added_when_something_is(tmp_path, sun_patches):
    archive = Archive.create(tmp_path / "a")
    archive.add(sun_patches[:2])
    archive._patches.drop_columns(["offlimb_fraction", "unit", "usflux_mx"])
    old = Archive.open(tmp_path / "a")
    assert [p.id for p in old.patches()] == sorted(p.id for p in sun_patches[:2])
    old.add(sun_patches[2:4])
    rows = old.table(["id", "unit", "usflux_mx"]).to_pylist()
    new = {p.id for p in sun_patches[2:4]}
    assert all((row["unit"] == "G") == (row["id"] in new) for row in rows)
    assert all((row["usflux_mx"] == 1.2345e22) == (row["id"] in new) for row in rows)


def test_sharp_keywords_and_what_is_off_the_limb_are_columns(tmp_path, sun_patches):
    archive = Archive.create(tmp_path / "a")
    archive.add(sun_patches)
    row = archive.table(None, "harpnum = 1402").to_pylist()[0]
    assert row["usflux_mx"] == 1.2345e22 and row["r_value"] is None and row["area_acr_uhem"] == 812.25
    assert row["latitude_positive_deg"] - row["latitude_negative_deg"] == 2
    assert (row["longitude_positive_deg"], row["longitude_negative_deg"]) == (21.5, 18.5)
    assert row["unit"] == "G" and row["offlimb_fraction"] == 0
    assert archive.ids("usflux_mx > 1e22 AND r_value IS NULL") == archive.ids()
