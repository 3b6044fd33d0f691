"""A sketch: its patch has the fluxes and places that were asked for, and its region the same physics."""

import json
import warnings

import astropy.units as u
import numpy as np
import pytest

from solquery import Archive, Model, get_preset, measure, search
from solquery.steering import (
    Blob,
    SteeringError,
    SteeringWarning,
    invert_sketch,
    invert_sketch_in_steps,
    read_sketch,
    sketch_patch,
)

BIPOLE = [
    {"sign": "+", "flux": "1.2e22 Mx", "size": "30 Mm", "x": -30, "y": 4},
    {"sign": "-", "flux": 1.0e14 * u.Wb, "size": 22, "x": 28, "y": -5},
]


@pytest.mark.parametrize("name", ["physical", "physical-square"])
def test_a_patch_has_the_fluxes_and_places_of_its_blobs(name):
    preset = get_preset(name)
    patch = sketch_patch(BIPOLE, preset)
    assert (patch.source, patch.quantity, patch.scale_mm) == ("sketch", "radial", preset.scale_mm)
    assert patch.field.shape == preset.shape
    field = patch.field.astype(np.float64)
    pixel = preset.scale_mm[0] * preset.scale_mm[1] * 1e16
    assert field.sum() * pixel == pytest.approx(0.2e22, rel=1e-4)
    # the blobs are far apart: but for their tails, each sign is one of them
    assert field.clip(min=0).sum() * pixel == pytest.approx(1.2e22, rel=0.01)
    assert -field.clip(max=0).sum() * pixel == pytest.approx(1.0e22, rel=0.01)
    y, x = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(preset.shape, preset.scale_mm, strict=True))
    for sign, at in ((1, (4, -30)), (-1, (-5, 28))):
        strength = (sign * field).clip(min=0)
        assert (strength.sum(1) @ y) / strength.sum() == pytest.approx(at[0], abs=0.3)
        assert (strength.sum(0) @ x) / strength.sum() == pytest.approx(at[1], abs=0.3)
        # the full width at half maximum
        area = (strength > strength.max() / 2).sum() * preset.scale_mm[0] * preset.scale_mm[1]
        assert 2 * np.sqrt(area / np.pi) == pytest.approx(30 if sign > 0 else 22, rel=0.15)


def test_west_is_right_and_north_is_up():
    got = measure(sketch_patch(BIPOLE, get_preset("physical")).field, get_preset("physical").scale_mm)
    # the negative blob lies west of the other one and 9 Mm further south
    assert float(got["polarity"][0]) == -1
    assert float(got["tilt"][0]) == pytest.approx(-np.degrees(np.arctan2(9, 58)), abs=0.5)
    assert float(got["psep"][0]) == pytest.approx(np.hypot(9, 58), rel=0.01)


def changed(**changes):
    return [{**BIPOLE[0], **changes}, BIPOLE[1]]


@pytest.mark.parametrize(
    ("blobs", "says"),
    [
        (BIPOLE[:1], "two blobs or more, of both signs; this one has 1 positive and 0 negative"),
        (changed(sign="-"), "this one has 0 positive and 2 negative"),
        ([], "this one has 0 positive and 0 negative"),
        (changed(sign="north"), "the sign of a blob is"),
        (changed(sign=0), "the sign of a blob is"),
        (changed(flux=-1e22), "the flux of a blob is a number above zero"),
        (changed(flux=float("nan")), "the flux of a blob is a number above zero"),
        (changed(flux="1e22 kg"), "the flux of a blob is a number of Mx"),
        (changed(flux="much"), "the flux of a blob is a number of Mx"),
        (changed(flux=None), "the flux of a blob is a number of Mx"),
        (changed(flux=True), "the flux of a blob is a number of Mx"),
        (changed(size=0), "the size of a blob is a number above zero"),
        (changed(size=0.5), "less than a pixel of"),
        (changed(size=5), "make it larger or weaker"),
        (changed(size=80), "would have 167 G, and separation and tilt are of stronger fields"),
        (changed(size=2000), "reaches out of the view"),
        (changed(x=-1000), "reaches out of the view"),
        (changed(x=float("inf")), "the place of a blob is two numbers"),
        (changed(colour="red"), "a blob has 'colour'"),
        ([{"sign": "+"}, BIPOLE[1]], "a blob lacks flux, size, x, y"),
    ],
)
def test_what_is_no_sketch_is_one_clear_line(blobs, says):
    with pytest.raises(SteeringError) as caught:
        sketch_patch(blobs, get_preset("physical"))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_grid_without_scale_is_refused():
    with pytest.raises(SteeringError, match="has no scale"):
        sketch_patch(BIPOLE, get_preset("paper"))


def test_files(tmp_path):
    path = tmp_path / "sketch.json"
    plain = [BIPOLE[0], {**BIPOLE[1], "flux": 1e22}]
    for document in (plain, {"blobs": plain}):
        path.write_text(json.dumps(document))
        assert read_sketch(path) == [Blob(1, 1.2e22, 30.0, -30.0, 4.0), Blob(-1, 1e22, 22.0, 28.0, -5.0)]
    for text, says in (
        ("{", "is no JSON"),
        ('{"what": 1}', "holds no sketch"),
        ("[1, 2]", "holds no sketch"),
        (json.dumps([plain[0], {"sign": "+"}]), "blob 2: a blob lacks flux"),
    ):
        path.write_text(text)
        with pytest.raises(SteeringError) as caught:
            read_sketch(path)
        assert says in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(SteeringError, match="cannot be read"):
        read_sketch(tmp_path / "nothing.json")


def test_a_region_has_the_physics_of_its_sketch_and_is_a_query(tmp_path):
    model = Model.load("physical")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)
        found = invert_sketch(model, BIPOLE, starts=2, evaluations=40)
    told, made = found.observed, found.reconstructed
    assert made["tuf"] == pytest.approx(told["tuf"], rel=0.05)
    assert made["psep"] == pytest.approx(told["psep"], rel=0.05)
    assert made["tilt"] == pytest.approx(told["tilt"], abs=3) and made["polarity"] == told["polarity"] == -1
    region = found.to_patch()
    assert region.source == "generated"
    # a region is no smooth blob: neighbouring pixels differ by more
    sketch = sketch_patch(BIPOLE, model.preset)
    roughness = [float(np.abs(np.diff(p.field, axis=1)).mean() / np.abs(p.field).mean()) for p in (region, sketch)]
    assert roughness[0] > 1.5 * roughness[1]
    # an archive takes the region, and no sketch
    archive = Archive.create(tmp_path / "archive")
    with pytest.raises(ValueError, match="source must be one of"):
        archive.add([sketch])
    archive.add([region])
    from solquery import embed_archive

    embed_archive(archive, model)
    (match,) = search(archive, model, found, k=1)
    assert match.id == region.id and match.distance < 0.5


def test_steps_begin_with_a_guess_and_end_with_the_region():
    model, few = Model.load("physical"), {"starts": 1, "evaluations": 4}
    first, *_, last = invert_sketch_in_steps(model, BIPOLE, **few)
    assert (first.stage, last.stage) == ("first guess", "done")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)
        np.testing.assert_array_equal(last.found[0].z, invert_sketch(model, BIPOLE, **few).z)
    # refused before anything is asked of it
    with pytest.raises(SteeringError, match="of both signs"):
        invert_sketch_in_steps(model, BIPOLE[:1])
