"""Search by look, physics and both."""

from __future__ import annotations

import json
from shutil import copytree

import numpy as np
import pytest
from command_line import PNG, are_quantities, call, document, failure

from solquery.archive import Archive
from solquery.physics import parameters
from solquery.sharp import write_fits


def test_search_finds_a_patch_of_the_archive_itself(room, tmp_path):
    command = ("--archive", room / "archive", "--model", room / "model")
    store = Archive.open(room / "archive")
    own = store.ids()[5]
    about = document("search", own, *command, "-k", 3)
    assert about["query"]["id"] == own
    assert about["matches"][0]["id"] == own
    assert about["matches"][0]["distance"] == pytest.approx(0, abs=1e-4)
    assert len({match["region"] for match in about["matches"]}) == len(about["matches"]) == 3
    for match in about["matches"]:
        are_quantities(match["parameters"], parameters())
        assert match["parameters"]["tuf"]["unit"] == "Mx"
        assert match["source"] == "simulated"
    every = document("search", own, *command, "--group", "none", "-k", 32)
    assert len(every["matches"]) == 32
    others = document("search", own, *command, "--exclude-own", "-k", 32, "--out", tmp_path)
    assert about["query"]["region"] not in {match["region"] for match in others["matches"]}
    assert (tmp_path / "search.png").read_bytes().startswith(PNG)
    path = write_fits(store.get(own), tmp_path / "copy.fits")
    assert document("search", path, *command, "-k", 1)["matches"][0]["id"] == own


def test_search_says_what_limits_the_query_and_that_quantities_differ(room, tmp_path):
    import dataclasses

    store = Archive.open(room / "archive")
    patch = dataclasses.replace(
        store.get(store.ids()[3]), quantity="line-of-sight", segment="magnetogram", mu=0.3, id="other", source="real"
    )
    path = write_fits(patch, tmp_path / "seen.fits")
    out, err = call("search", path, "--archive", room / "archive", "--model", room / "model", "-k", 2, "--json")
    query = json.loads(out)["query"]
    assert query["quantity"] == "line-of-sight"
    assert "2 of 2 matches are not" in err
    assert "where \"quantity = 'line-of-sight'\"" in err
    _, err = call("search", store.ids()[3], "--archive", room / "archive", "--model", room / "model", "-k", 2)
    assert "not comparable" not in err


def test_looking_again_puts_a_changed_copy_before_all_others(room, tmp_path):
    from solquery import Model
    from solquery.study.recall import changed_copies

    store, models = Archive.open(room / "archive"), Model.load(str(room / "model"))
    (own,), (x,) = store.prepared(models.preset, ids=store.ids()[7:8])
    copy = changed_copies(np.nan_to_num(np.asarray(x, np.float32))[None], "all", models.preset.encoder.augment, 2)[0]
    np.save(tmp_path / "copy.npy", models.preset.to_gauss(copy))
    command = ("search", tmp_path / "copy.npy", "--archive", room / "archive", "--model", room / "model")
    about = document(*command, "--rerank", 32, "--group", "none", "-k", 4)
    assert about["matches"][0]["id"] == own
    assert about["matches"][0]["correlation"] > 0.9 and about["rerank"] == 32
    assert [m["rank"] for m in about["matches"]] == [1, 2, 3, 4]
    # an image is looked for so without being asked, a description is not, and it can be switched off
    assert document(*command, "-k", 1)["rerank"] == 20
    assert document(*command, "-k", 1)["matches"][0]["correlation"] is not None
    assert document(*command, "-k", 1, "--rerank", 0)["matches"][0]["correlation"] is None
    assert document(*command, "-k", 1, "--by", "hybrid")["rerank"] == 0
    drawn = document("search", "--set", f"tuf={models.directions.quantile('tuf', 50)}", *command[2:], "-k", 1)
    assert drawn["rerank"] == 0 and drawn["matches"][0]["correlation"] is None


@pytest.mark.parametrize("by", ["ssl", "structure", "euclidean", "mahalanobis"])
def test_search_with_what_is_asked_for(room, model, by):
    command = ("search", "--archive", room / "archive", "--model", room / "model", "--by", by, "-k", 2)
    about = document(*command, "--set", f"tuf={model.directions.quantile('tuf', 50)}")
    assert about["query"]["kind"] == "generated"
    assert about["query"]["verdict"] in ("met", "nearest")
    assert len(about["matches"]) == 2
    assert about["seconds"] >= 0


def test_hybrid_search_follows_its_weights(room):
    command = ("--archive", room / "archive", "--model", room / "model", "--group", "none")
    own = Archive.open(room / "archive").ids()[5]
    looks = document("search", own, *command, "-k", 6, "--rerank", 0)
    same = document("search", own, *command, "-k", 6, "--by", "hybrid", "--weights", "embedding=1")
    assert [m["id"] for m in same["matches"]] == [m["id"] for m in looks["matches"]]
    found = document("search", own, *command, "-k", 32, "--by", "physics", "--weights", "tuf=1")
    flux = [m["grid"]["tuf"]["value"] for m in found["matches"]]
    at = flux[0]  # the query itself: those with more flux come in order, and those with less
    assert [v for v in flux if v >= at] == sorted(v for v in flux if v >= at)
    assert [v for v in flux if v <= at] == sorted((v for v in flux if v <= at), reverse=True)
    assert "no weight for 'fluxx'" in failure("search", own, *command, "--by", "hybrid", "--weights", "fluxx=1")
    assert "--weights go with" in call("search", own, *command, "--weights", "tuf=1", code=2)[1]


def test_search_with_arrays(room, model, tmp_path):
    command = ("--archive", room / "archive", "--model", room / "model", "-k", 1)
    patch = Archive.open(room / "archive").get(Archive.open(room / "archive").ids()[2])
    np.save(tmp_path / "gauss.npy", patch.field)
    assert document("search", tmp_path / "gauss.npy", *command)["matches"][0]["id"] == patch.id
    np.save(tmp_path / "latent.npy", np.zeros(model.generator.latent_dim))
    assert document("search", tmp_path / "latent.npy", *command)["query"]["kind"] == "latent"
    np.save(tmp_path / "nan.npy", np.full((40, 60), np.nan))
    assert "missing" in failure("search", tmp_path / "nan.npy", *command)
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    assert "(2, 3, 4)" in failure("search", tmp_path / "cube.npy", *command)


def test_search_says_what_it_cannot_find(room, tmp_path):
    model = ("--model", room / "model")
    known = ("--archive", room / "archive", *model)
    own = Archive.open(room / "archive").ids()[0]
    assert "no archive at" in failure("search", own, "--archive", tmp_path / "none", *model)
    assert not (tmp_path / "none").exists()
    assert "is no file nor the id" in failure("search", "sim-0-0", *known)
    assert "widen" in failure("search", own, *known, "--where", "mu > 5")
    assert "columns are" in failure("search", own, *known, "--where", "brightness > 5")
    assert "is no model" in failure("search", own, "--archive", room / "archive", "--model", tmp_path)
    call("search", *known, code=2)
    call("search", own, *known, "--describe", "strong", code=2)
    call("search", own, *known, "-k", 0, code=2)
    call("search", own, *known, "--group", "colour", code=2)


def test_embeddings_of_another_encoder_are_not_replaced_without_being_asked(room, tmp_path):
    copytree(room / "archive", tmp_path / "archive")
    store = Archive.open(tmp_path / "archive")
    own = store.ids()[3]
    command = ("search", own, "--archive", tmp_path / "archive", "--model", room / "model", "-k", 1)
    assert document(*command)["matches"][0]["id"] == own
    store.set_columns(store.ids(), {"embedding_model": ["feedface" * 8] * 32})
    told = failure(*command)
    assert "another encoder (feedfacefeed)" in told
    assert "solquery archive embed" in told and "replaces what is there" in told
    assert set(store.table(["embedding_model"])["embedding_model"].to_pylist()) == {"feedface" * 8}
    call("archive", "embed", tmp_path / "archive", "--model", room / "model")
    assert document(*command)["matches"][0]["id"] == own


def test_more_than_there_is_gives_what_there_is(room):
    own = Archive.open(room / "archive").ids()[0]
    text, told = call("search", own, "--archive", room / "archive", "--model", room / "model", "-k", 500, "--json")
    assert len(json.loads(text)["matches"]) == 8
    assert "500 were asked for, 8 found: 32 patches are in the archive, one answer a region" in told


def test_a_damaged_model_is_refused(room, model, tmp_path):
    folder = model.save(tmp_path / "model")
    file = folder / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    assert "damaged" in failure("generate", "--model", folder, "--set", "tuf=1", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_retrieval_study_writes_a_document_and_pictures(room, tmp_path):
    arguments = ("study", "retrieval", "--archive", room / "archive", "--model", room / "model", "--queries", 12)
    arguments += ("--judged", 4, "--changed", 6, "--out", tmp_path / "study")
    about = document(*arguments)
    assert about == json.loads((tmp_path / "study" / "retrieval.json").read_text())
    assert set(about["correlations"]) == {"ssl", "hybrid", "euclidean", "mahalanobis"}
    assert about["patches"] == 32 and about["same_region"]["frames"] == 32
    assert about["real"]["samples"]["copies"]["of"] == 60 and about["visual_similarity"]["queries"] == 4
    assert about["likeness"] == about["visual_similarity"]  # its name before
    assert {"comparison.png", "figure7-pair.png", "figure8.png", "figure9-alpha.png"} <= set(about["pictures"])
    for name in about["pictures"]:
        assert (tmp_path / "study" / name).read_bytes().startswith(PNG)
    text, _ = call(*arguments, "--no-samples")
    assert "PSEP" in text and "another frame of the region" in text and "observed" not in text
    (tmp_path / "page.fits").write_text("<html></html>")
    assert "page.fits" in failure(*arguments, "--real", tmp_path / "page.fits")


def test_a_search_says_when_nothing_close_was_found(room, tmp_path):
    from solquery import Model

    store, models = Archive.open(room / "archive"), Model.load(str(room / "model"))
    command = ("--archive", room / "archive", "--model", room / "model", "-k", 2)
    assert document("search", store.ids()[5], *command)["close"] is True
    noise = models.preset.to_gauss(np.random.default_rng(0).choice([-1.0, 1.0], models.preset.shape))
    np.save(tmp_path / "noise.npy", noise.astype(np.float32))
    out, err = call("search", tmp_path / "noise.npy", *command, "--json")
    assert json.loads(out)["close"] is False
    assert "caution: nothing close was found: even the nearest match is farther away than 95 of 100" in err
    assert document("search", tmp_path / "noise.npy", *command, "--by", "mahalanobis")["close"] is None


def test_a_description_starts_from_a_patch_that_the_archive_has_something_like(room, model, monkeypatch):
    from solquery.search import SearchSession

    asked = f"tuf={model.directions.quantile('tuf', 50)}"
    command = ("search", "--set", asked, "--archive", room / "archive", "--model", room / "model", "-k", 1)
    first = document(*command)["query"]
    seen = []
    monkeypatch.setattr(SearchSession, "close", lambda self, x: seen.append(x) or len(seen) == 3)
    other = document(*command)["query"]
    assert len(seen) == 5 and first["z_norm"] != other["z_norm"]
    assert other["parameters"]["tuf"]["value"] == pytest.approx(first["parameters"]["tuf"]["value"], rel=0.25)
