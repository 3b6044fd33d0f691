"""Maps fitted on pairs whose truth is known, and what they say of themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from blob_sun import line_of_sight, radial

from solquery import Archive, read_sharp, write_fits
from solquery.sharp.fits import UnreadableFits
from solquery.translation import (
    KINDS,
    Pair,
    Translation,
    TranslationError,
    fit_translation,
    pairs_of_archive,
    pairs_of_table,
    saturated,
    shipped_translations,
    translate,
    with_missing_block,
)
from solquery.translation.grid import whole_window
from solquery.translation.maps import METHODS


def pairs_along(count, first=0):
    """Pairs from the line of sight to radial at longitudes from -60 to 60 degrees."""
    fields = [radial(first + k, longitude) for k, longitude in enumerate(np.linspace(-60, 60, count))]
    return [Pair(line_of_sight(field), field) for field in fields]


@pytest.fixture(scope="module")
def to_radial():
    return fit_translation(pairs_along(12), "los-to-radial", method="filters", source="blobs")


def grid_truth(made, patch):
    from solquery.translation.grid import values_on

    return values_on(patch, whole_window(patch, made.scale_mm))[0]


@pytest.mark.parametrize("longitude", [-50.0, 10.0, 57.0])
def test_a_field_that_is_radial_everywhere_is_found_from_the_line_of_sight(to_radial, longitude):
    truth = radial(500, longitude)
    made = translate(line_of_sight(truth), to_radial)
    wanted = grid_truth(made, truth)
    assert made.field.shape == wanted.shape
    off = np.sqrt(np.nanmean((made.field - wanted) ** 2))
    nothing = np.sqrt(np.mean((grid_truth(made, line_of_sight(truth)) - wanted) ** 2))
    assert off < 0.02 * np.abs(wanted).max()
    if abs(longitude) > 45:
        assert off < 0.1 * nothing
    # the place is that of the patch it was made of
    assert (made.latitude_deg, made.longitude_deg) == (truth.latitude_deg, truth.longitude_deg)


def test_the_error_is_that_of_regions_left_out(to_radial):
    told = to_radial.error["filters"]["rms_gauss"]
    assert told < 0.2 * to_radial.error["nothing"]["rms_gauss"]
    assert to_radial.provenance == {
        "pairs": 12, "regions": 12, "data": "blobs", "simple": "field / mu",
    }  # fmt: skip
    off = []
    for pair in pairs_along(6, first=300):
        made = translate(pair.given, to_radial)
        off.append(np.mean((made.field - grid_truth(made, pair.wanted)) ** 2))
    assert np.sqrt(np.mean(off)) < 3 * told


def test_what_needs_no_map_is_taken_where_no_map_is_better(to_radial):
    # these fields are radial everywhere: to divide by mu is all there is to do
    found = fit_translation(pairs_along(12), "los-to-radial")
    assert found.method == "simple" and found.names == ("field / mu",)
    assert found.weights[0] == pytest.approx(1.0, abs=0.01) and not found.shortfall()
    assert found.error["simple"]["rms_gauss"] <= found.error["filters"]["rms_gauss"]
    given = line_of_sight(radial(503, 50.0))
    made = translate(given, found)
    wanted = grid_truth(made, radial(503, 50.0))
    assert np.sqrt(np.nanmean((made.field - wanted) ** 2)) < 0.02 * np.abs(wanted).max()
    # a map that is worse says so
    told = to_radial.shortfall()
    assert told.startswith("map 'los-to-radial' is worse than 'field / mu' alone: ") and "in all pixels" in told


def test_a_missing_block_in_a_smooth_field_is_filled_by_laplaces_equation():
    from solquery.translation.filters import harmonic, interpolated
    from solquery.translation.grid import Seen, Window

    y, x = np.mgrid[:24, :30].astype(np.float32)
    # harmonic, with a saddle
    field = (x - 15) * (y - 12) + 3 * x
    missing = np.zeros_like(field)
    missing[6:17, 8:22] = 1.0
    one = Seen(
        np.where(missing > 0, 0, field), missing, 0 * field, np.ones(field.shape, bool), np.ones_like(field),
        np.zeros((2, *field.shape), np.float32), Window(field.shape, (1.0, 1.0), (0.0, 0.0)),
    )  # fmt: skip
    np.testing.assert_allclose(harmonic(one), field, atol=0.02)
    assert np.abs(interpolated(one) - field).max() > 5
    # nothing is known: it comes to an end all the same
    nothing = dataclasses.replace(one, missing=np.ones_like(field), field=0 * field)
    assert not harmonic(nothing).any()


def test_a_translated_patch_says_so(to_radial, tmp_path):
    given = line_of_sight(radial(501, 40.0))
    made = translate(given, to_radial)
    error = to_radial.error["filters"]["rms_gauss"]
    assert made.source == "translated" and made.quantity == "radial" and made.segment == "Br"
    assert "translated" in repr(made) and f"by los-to-radial with an error of {error:.0f} G" in repr(made)
    assert "translated" in made._repr_html_() and "los-to-radial" in made._repr_html_()
    again = read_sharp(write_fits(made, tmp_path / "made.fits"))
    assert again.source == "translated" and again.truth["translation"]["of"] == given.id
    cards = {key: again.keywords[key] for key in ("TRANSLAT", "TRMETHOD", "TRFROM", "TRSOURCE")}
    assert list(cards.values()) == ["los-to-radial", "filters", given.id, "simulated"]
    assert again.keywords["TRRMS"] == pytest.approx(error, abs=0.01)
    # an archive of observations never has it as an answer
    with pytest.raises(ValueError, match="source must be one of"):
        Archive.create(tmp_path / "archive").add([again])
    with pytest.raises(TranslationError, match="translated already"):
        translate(again, to_radial)


def test_a_map_comes_back_from_its_file(to_radial, tmp_path):
    again = Translation.load(to_radial.save(tmp_path / "map.safetensors"))
    given = line_of_sight(radial(502, -30.0))
    np.testing.assert_array_equal(translate(given, again).field, translate(given, to_radial).field)
    assert again.error == to_radial.error and repr(again) == repr(to_radial)
    np.testing.assert_array_equal(
        translate(given, tmp_path / "map.safetensors").field, translate(given, to_radial).field
    )


def test_files_that_are_no_map_are_one_line(to_radial, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no weights")
    with pytest.raises(TranslationError, match=r"bad.safetensors is no map"):
        Translation.load(bad)
    whole = to_radial.save(tmp_path / "whole.safetensors").read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TranslationError, match="is no map"):
        Translation.load(bad)
    dataclasses.replace(to_radial, weights=to_radial.weights[:3]).save(bad)
    with pytest.raises(TranslationError, match="is damaged"):
        Translation.load(bad)
    with pytest.raises(TranslationError, match="no map"):
        translate(line_of_sight(radial(1)), "nonsense")


def test_only_missing_pixels_are_filled():
    pairs = [Pair(with_missing_block(radial(k), 20.0, k), radial(k)) for k in range(12)]
    found = fit_translation(pairs, "missing-to-filled")
    assert found.error["filters"]["rms_gauss"] < 0.5 * found.error["nothing"]["rms_gauss"]
    given = with_missing_block(radial(600), 15.0, 600)
    made = translate(given, found)
    before, lost = grid_truth(made, given), np.isnan(given.field).mean()
    assert np.isfinite(made.field).all() and 0 < lost < 0.1
    same = made.field == before
    assert 1 - same.mean() == pytest.approx(lost, abs=0.03)
    with pytest.raises(TranslationError, match="no pixel is missing"):
        translate(radial(600), found)


def test_saturated_pixels_become_stronger_and_others_stay():
    strong = [radial(k, strongest_gauss=2500.0) for k in range(12)]
    found = fit_translation([Pair(saturated(p, 1200.0), p) for p in strong], "saturated-to-unsaturated")
    assert found.error["filters"]["rms_gauss"] < 0.6 * found.error["nothing"]["rms_gauss"]
    truth = radial(601, strongest_gauss=2500.0)
    given = saturated(truth, 1200.0)
    made = translate(given, found)
    wanted, before = grid_truth(made, truth), grid_truth(made, given)
    clipped = np.abs(wanted - before) > 50
    assert np.abs(made.field - wanted)[clipped].mean() < 0.6 * np.abs(before - wanted)[clipped].mean()
    assert (made.field[np.abs(before) < 600] == before[np.abs(before) < 600]).all()
    assert made.truth["translation"]["saturated_at_gauss"] == 1200.0
    with pytest.raises(TranslationError, match="no pixel is saturated"):
        translate(truth, found)


def test_a_patch_that_a_map_cannot_read_is_one_line(to_radial):
    field = radial(3, 20.0)
    given = line_of_sight(field)
    with pytest.raises(TranslationError, match="is a radial field, and map 'los-to-radial' reads line-of-sight"):
        translate(field, to_radial)
    with pytest.raises(TranslationError, match="has no scale"):
        translate(dataclasses.replace(given, scale_mm=None), to_radial)
    nan = float("nan")
    with pytest.raises(TranslationError, match="does not say where on the disk"):
        translate(dataclasses.replace(given, latitude_deg=nan, longitude_deg=nan, mu=nan), to_radial)
    with pytest.raises(TranslationError, match="every pixel is missing"):
        translate(given.with_field(np.full((9, 9), np.nan), (1.0, 1.0)), to_radial)


def test_pairs_that_do_not_match_are_refused():
    field = radial(4, 20.0)
    given = line_of_sight(field)
    with pytest.raises(TranslationError, match="hours apart"):
        Pair(given, dataclasses.replace(field, t_rec="2012.03.06_20:24:00_TAI"))
    with pytest.raises(TranslationError, match=r"crop them to the same box"):
        Pair(given, field.with_field(field.field[:80], field.scale_mm))
    with pytest.raises(TranslationError, match="half a degree"):
        Pair(given, dataclasses.replace(field, longitude_deg=22.0))
    with pytest.raises(TranslationError, match="no scale"):
        Pair(given, dataclasses.replace(field, scale_mm=None))


def test_pairs_from_which_nothing_can_be_learned_are_refused():
    some = pairs_along(3)
    with pytest.raises(TranslationError, match="all of region BLOB 0"):
        fit_translation(some[:1], "los-to-radial")
    with pytest.raises(TranslationError, match="none with a pixel"):
        fit_translation([], "los-to-radial")
    with pytest.raises(TranslationError, match="the same in all pairs"):
        fit_translation([Pair(p.wanted, p.wanted) for p in some], "my-own")
    with pytest.raises(TranslationError, match="is of line-of-sight and radial field, not of radial"):
        fit_translation([Pair(p.wanted, p.given) for p in some], "los-to-radial")
    with pytest.raises(TranslationError, match="goes through a generator"):
        fit_translation(some, "los-to-radial", method="direction")
    with pytest.raises(TranslationError, match="there is no method"):
        fit_translation(some, "los-to-radial", method="magic")


def test_a_kind_of_ones_own():
    """Twice the field: learned to rounding."""
    pairs = [Pair(radial(k), radial(k).with_field(2 * radial(k).field, radial(k).scale_mm)) for k in range(6)]
    found = fit_translation(pairs, "doubled")
    assert found.name == "doubled" and found.kind.reads == "radial"
    assert found.error["filters"]["rms_gauss"] < 0.02 * found.error["nothing"]["rms_gauss"]


def test_pairs_of_an_archive_are_of_one_instant(tmp_path):
    archive = Archive.create(tmp_path / "archive")
    fields = [radial(k, 10.0 * k) for k in range(3)]
    archive.add([*fields, *map(line_of_sight, fields[:2])])
    found = list(pairs_of_archive(archive, "los-to-radial"))
    assert sorted(p.region for p in found) == ["BLOB 0", "BLOB 1"]
    assert all((p.given.quantity, p.wanted.quantity) == ("line-of-sight", "radial") for p in found)
    assert len(list(pairs_of_archive(archive, "hmi-to-mdi"))) == 2
    with pytest.raises(TranslationError, match="segments Br and noise-free"):
        list(pairs_of_archive(archive, "limb-to-clean"))
    with pytest.raises(TranslationError, match="there is no kind"):
        list(pairs_of_archive(archive, "radial-to-moon"))


def test_a_table_of_pairs_names_the_line_that_is_wrong(tmp_path):
    pair = pairs_along(2)[0]
    write_fits(pair.given, tmp_path / "los.fits")
    write_fits(pair.wanted, tmp_path / "br.fits")
    late = dataclasses.replace(pair.wanted, t_rec="2013.03.06_14:24:00_TAI", id="late")
    write_fits(late, tmp_path / "late.fits")
    table = tmp_path / "pairs.csv"
    table.write_text("given,wanted\nlos.fits,br.fits\n")
    assert pairs_of_table(table)[0].wanted.id == pair.wanted.id
    table.write_text("given,wanted\nlos.fits,br.fits\nlos.fits,late.fits\n")
    with pytest.raises(TranslationError, match=r"line 3: los.fits and late.fits are no pair: they are .* hours apart"):
        pairs_of_table(table)
    table.write_text("given,wanted\nlos.fits,none.fits\n")
    with pytest.raises((TranslationError, UnreadableFits), match="line 2"):
        pairs_of_table(table)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(TranslationError, match="given,wanted"):
        pairs_of_table(table)
    with pytest.raises(TranslationError, match="cannot be read"):
        pairs_of_table(tmp_path / "none.csv")


def test_the_maps_that_ship_are_whole_and_need_no_model():
    assert set(shipped_translations()) <= set(KINDS)
    for name in shipped_translations():
        from solquery.translation.applying import translation_of

        found = translation_of(name)
        assert found.name == name and found.method in METHODS and found.model is None
        assert found.error[found.method]["rms_gauss"] < found.error["nothing"]["rms_gauss"]
        assert found.provenance["regions"] >= 10
