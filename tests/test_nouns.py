"""Patches, Maps, files, ids, answers, inversions and latents go wherever one of them goes, and say the same."""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest

import solquery as sq
from solquery.search import Matches
from solquery.sharp.as_patch import as_patch
from solquery.steering.inputs import grid_input


@pytest.fixture(scope="module")
def model():
    return sq.Model.load()


@pytest.fixture(scope="module")
def patches():
    return sq.sample_patches()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, model, patches):
    archive = sq.Archive.create(tmp_path_factory.mktemp("nouns") / "archive")
    archive.add(patches)
    sq.embed_archive(archive, model)
    return archive


@pytest.fixture(scope="module")
def answer(model):
    return sq.generate(model, {"tuf": "1e22 Mx"}, seed=3)[0]


def test_a_map_and_a_file_are_the_patch_they_were_made_of(patches, tmp_path):
    patch = patches[0]
    path = sq.write_fits(patch.to_map(), tmp_path / "one.fits")
    for again in (as_patch(patch.to_map()), as_patch(path, strict_quality=False)):
        np.testing.assert_array_equal(again.field, patch.field)
        assert (again.id, again.region, again.source) == (patch.id, patch.region, patch.source)
        assert again.scale_mm == pytest.approx(patch.scale_mm, rel=1e-6)


def test_masked_pixels_of_a_map_are_missing(patches):
    from sunpy.map import Map

    made = patches[0].to_map()
    mask = np.zeros(made.data.shape, bool)
    mask[:3] = True
    assert np.isnan(as_patch(Map(made.data, made.meta, mask=mask)).field[:3]).all()


def test_measures_are_the_same_whatever_stands_for_the_patch(patches, archive, tmp_path):
    patch = patches[0]
    path = sq.write_fits(replace(patch, quality=0, keywords={}), tmp_path / "one.fits")
    expected = sq.measure(patch.field, patch.scale_mm)
    for what in (patch, patch.to_map(), path, str(path), archive[patch.id]):
        got = sq.measure(what)
        assert {n: v.item() for n, v in got.items()} == pytest.approx(
            {n: v.item() for n, v in expected.items()}, rel=1e-4, nan_ok=True
        )
    with pytest.raises(ValueError, match="its own scale"):
        sq.measure(patch, (1.0, 1.0))


def test_a_unit_stands_wherever_a_quantity_does(patches, model):
    patch = patches[0]
    bare = sq.measure(patch.field, (0.5, 0.5), "tuf")["tuf"]
    for scale in ("0.5 Mm", "500 km", 0.5 * u.Mm):
        assert sq.measure(patch.field, scale, "tuf")["tuf"].item() == pytest.approx(bare.item(), rel=1e-6)
    errors = [sq.uncertainty(patch, noise_gauss=g, names=["tuf"], samples=4)["tuf"].item() for g in (10, "1 mT")]
    assert errors[0] == errors[1]
    asked = [sq.generate(model, {"tuf": a}, seed=1)[0].requested["tuf"] for a in ("2e22 Mx", 2e22 * u.Mx, 2e22)]
    assert asked == pytest.approx([2e22] * 3)


def test_errors_of_a_table_are_those_of_the_quiet_pixels(patches):
    from solquery.physics import parameter_errors

    patch = patches[0]
    table = sq.qtable(patch, ["tuf", "net_flux"], errors=True)
    asked = {"names": ["tuf", "net_flux"], "quantity": patch.quantity}
    expected = parameter_errors(patch.field, patch.scale_mm, **asked)
    assert table["tuf_error"][0].to_value("Mx") == pytest.approx(expected["tuf"].error)
    assert len(sq.qtable(patches[:3], ["tuf"])) == 3


def test_an_answer_is_a_patch_in_gauss_at_the_scale_of_the_model(model, answer):
    patch = answer.to_patch()
    np.testing.assert_allclose(patch.field, model.preset.to_gauss(answer.x), rtol=1e-6)
    assert (patch.source, patch.scale_mm) == ("generated", model.preset.scale_mm)
    assert sq.measure(patch, names="tuf")["tuf"].item() == pytest.approx(answer.grid["tuf"], rel=1e-5)
    np.testing.assert_array_equal(sq.decode_latent(patch.truth["latent"]), answer.z)
    with pytest.raises(sq.SteeringError, match="which model"):
        sq.Answer(answer.z, answer.x, {}, {}, "met", 1.0, {}, {}).to_patch()


def test_an_inversion_of_a_patch_is_that_of_its_grid(model, patches):
    x = sq.prepare(patches[0], model.preset)
    found = sq.invert(model, patches[0], starts=1, steps=40)[0]
    np.testing.assert_array_equal(found.z, sq.invert(model, x, starts=1, steps=40)[0].z)
    assert found.to_patch().source == "generated"
    assert len(sq.invert(model, [patches[0], patches[0]], starts=1, steps=40)) == 2


def test_a_search_takes_what_stands_for_a_patch(archive, model, patches, answer, tmp_path):
    patch = patches[2]
    path = sq.write_fits(replace(patch, quality=0, keywords={}), tmp_path / "q.fits")
    x = sq.prepare(patch, model.preset)
    expected = [(m.id, round(m.distance, 3)) for m in sq.search(archive, model, x, k=4)]
    matches = sq.search(archive, model, patch, k=4)
    for what in (patch.to_map(), path, patch.id, matches[0]):
        assert [(m.id, round(m.distance, 3)) for m in sq.search(archive, model, what, k=4)] == expected
    latent = sq.search(archive, model, answer.z, k=3)
    assert [m.id for m in sq.search(archive, model, answer, k=3)] == [m.id for m in latent]
    # what was drawn is in no archive: it is not laid over what is
    assert latent[0].correlation is None and matches[0].correlation == pytest.approx(1.0, abs=1e-3)
    assert archive[matches[0]].id == patch.id


def test_by_has_one_set_of_names(archive, model, patches):
    by_name = {
        by: [m.id for m in sq.search(archive, model, patches[1], k=5, by=by, rerank=0)]
        for by in ("embedding", "ssl", "hybrid", "physics")
    }
    assert by_name["embedding"] == by_name["ssl"] and by_name["physics"] != by_name["embedding"]
    assert by_name["hybrid"] == [m.id for m in sq.search_hybrid(archive, model, patches[1], k=5)]
    with pytest.raises(ValueError, match="embedding, hybrid"):
        sq.search(archive, model, patches[1], by="looks")


def test_models_measure_what_stands_for_a_patch(model, answer, patches):
    by_hand = model.measure(answer.x, "tuf")["tuf"]
    assert model.measure(answer, "tuf")["tuf"] == by_hand
    assert model.measure(answer.z, "tuf")["tuf"] == pytest.approx(by_hand, rel=1e-5)
    assert model.measure(patches[0], "tuf")["tuf"] == model.measure(grid_input(patches[0], model).x, "tuf")["tuf"]


def test_what_stands_for_no_patch_is_refused(archive, model, tmp_path):
    for what in (3, object(), None):
        with pytest.raises(sq.SolqueryError, match="is no patch"):
            sq.search(archive, model, what)
    with pytest.raises(sq.SolqueryError, match="no-such-id"):
        sq.search(archive, model, "no-such-id")
    flagged = sq.write_fits(replace(sq.sample_patches()[0], quality=0x10400), tmp_path / "flagged.fits")
    with pytest.raises(sq.UnreadableFits, match="QUALITY"):
        sq.search(archive, model, flagged)
    with pytest.raises(sq.UnreadableFits, match="no such file"):
        sq.measure(tmp_path / "none.fits")


def test_notebooks_show_pictures_and_numbers(archive, model, patches, answer):
    matches = sq.search(archive, model, patches[0], k=3)
    assert isinstance(matches, Matches)
    shown = matches._repr_html_()
    assert shown.count("<img") == 4 and "Mx" in shown and matches[0].region in shown
    answers = sq.generate(model, "strong", n=2)
    assert answers._repr_html_().count("<img") == 2 and "tuf requested" in answers._repr_html_()
    assert answer._repr_html_().count("<img") == 1
    assert len(matches.plot().axes) == 4
    table = matches.qtable(["tuf"])
    assert list(table["rank"]) == [1, 2, 3] and table["tuf"].unit == u.Mx


def test_tables_escape_what_is_no_picture():
    from solquery import notebook

    assert notebook.table(["<b>"], [["<script>"]]) == (
        "<table><tr><th>&lt;b&gt;</th></tr><tr><td>&lt;script&gt;</td></tr></table>"
    )
