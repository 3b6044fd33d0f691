"""The command line: what it prints where, its exit codes, and that bad input neither writes nor loses anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from solquery.archive import Archive, simulate_region, write_fits
from solquery.bundle import Bundle
from solquery.cli import app
from solquery.cli_output import plain
from solquery.physics import measure, parameters

PNG = b"\x89PNG\r\n"


def call(*arguments, code=0):
    """Run one verb; what it wrote to stdout and to stderr."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"exit {result.exit_code}: {result.stderr}\n{result.exception!r}"
    assert "Traceback" not in result.stderr
    return result.stdout, result.stderr


def document(*arguments, code=0):
    """The one JSON document that a verb prints."""
    out, _ = call(*arguments, "--json", code=code)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(out, parse_constant=refuse)


def failure(*arguments, code=1):
    """The one line of an error; nothing on stdout."""
    out, err = call(*arguments, code=code)
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("solquery: ")
    return last


def are_quantities(entries, names=None):
    for entry in entries.values():
        assert set(entry) >= {"value", "unit"}
        assert entry["value"] is None or isinstance(entry["value"], float)
    if names is not None:
        assert set(names) <= set(entries)


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    """An archive of 32 simulated patches, a run of both trainers and a bundle, made by the command line itself."""
    base = tmp_path_factory.mktemp("cli")
    archive = base / "archive"
    call("simulate", "--regions", 8, "--frames", 4, "--seed", 5, "--archive", archive, "--workers", 1)
    common = ("--preset", "tiny", "--archive", archive, "--epochs", 1, "--device", "cpu", "--run")
    call("train", "generator", *common, base / "run-g")
    call("train", "encoder", *common, base / "run-e")
    call(
        "bundle", "build", "--generator", base / "run-g", "--encoder", base / "run-e", "--preset", "tiny",
        "--name", "test", "--out", base / "bundle", "-n", 600,
    )  # fmt: skip
    return base


@pytest.fixture(scope="session")
def bundle(room):
    return Bundle.load(room / "bundle")


@pytest.fixture(scope="session")
def observed(tmp_path_factory):
    """A file such as JSOC's: a region and its header, with a keyword that is the text nan."""
    patch = simulate_region(9, 0, 1)[0]
    path = tmp_path_factory.mktemp("fits") / "hmi.sharp_cea_720s.7777.20120306_142400_TAI.Br.fits"
    header = fits.Header({"HARPNUM": 7777, "T_REC": "2012.03.06_14:24:00_TAI", "QUALITY": 0, "BUNIT": "Mx/cm^2"})
    header.update({"CDELT1": 0.03, "CDELT2": 0.03, "CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "degree"})
    header.update(
        {"CRVAL1": 100.0, "CRVAL2": 12.0, "CRLN_OBS": 90.0, "CRLT_OBS": -7.0, "USFLUX": "nan", "CONTENT": "Br"}
    )
    fits.writeto(path, patch.field.astype(np.float32), header)
    return path


@pytest.fixture
def broken(tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "empty.fits").write_bytes(b"")
    (folder / "page.fits").write_text("<html>service unavailable</html>")
    return [folder / "empty.fits", folder / "page.fits"]


# ------------------------------------------------------------------------------------------------ archive


def test_simulate_adds_every_frame_once(room, tmp_path):
    archive = tmp_path / "archive"
    command = ("simulate", "--regions", 2, "--frames", 3, "--seed", 5, "--archive", archive, "--workers", 1)
    first, again = document(*command), document(*command)
    assert (first["added"], first["duplicates"], first["patches"]) == (6, 0, 6)
    assert (again["added"], again["duplicates"], again["patches"]) == (0, 6, 6)


def test_ingest_names_the_refused_and_keeps_the_others(observed, broken, tmp_path):
    archive = tmp_path / "archive"
    out, err = call("ingest", broken[0], observed, broken[1], tmp_path / "absent.fits", "--archive", archive, "--json")
    report = json.loads(out)
    assert (report["added"], report["duplicates"], report["patches"]) == (1, 0, 1)
    assert [r["file"] for r in report["refused"]] == [str(broken[0]), str(broken[1]), str(tmp_path / "absent.fits")]
    assert all(r["reason"] for r in report["refused"])
    for name in ("empty.fits", "page.fits", "absent.fits"):
        assert name in err
    row = Archive.open(archive).table().to_pylist()[0]
    assert (row["harpnum"], row["source"]) == (7777, "real")
    again = document("ingest", observed, "--archive", archive)
    assert (again["added"], again["duplicates"]) == (0, 1)


def test_ingest_of_nothing_readable_makes_no_archive(broken, tmp_path):
    archive = tmp_path / "archive"
    assert "none of the 2 files" in failure("ingest", *broken, "--archive", archive)
    assert not archive.exists()
    report = document("ingest", broken[0].parent, "--archive", archive, code=1)
    assert len(report["refused"]) == 2
    assert not archive.exists()


def test_params_measures_at_native_scale(observed):
    record = document("params", observed)["patches"][0]
    assert record["region"] == "HARP 7777"
    are_quantities(record["parameters"], parameters())
    field = fits.getdata(observed).astype(np.float32)
    tuf = record["parameters"]["tuf"]
    assert tuf["unit"] == "Mx"
    assert tuf["value"] == pytest.approx(np.abs(field).sum() * 1.328054e15, rel=1e-3)
    assert record["keywords"]["HARPNUM"] == 7777
    assert set(document("params", observed, "--param", "r")["patches"][0]["parameters"]) == {"r"}


def test_params_of_bad_input(observed, broken):
    assert "no parameter named 'flux'" in (line := failure("params", observed, "--param", "flux"))
    assert "tuf, tpf" in line
    assert "none of the 2 files" in failure("params", *broken)
    assert len(document("params", observed, *broken)["refused"]) == 2


def test_info(room):
    about = document("info", "--archive", room / "archive")
    assert (about["patches"], about["regions"], about["source"]) == (32, 8, {"simulated": 32})
    about = document("info", "--preset", "paper")
    assert about["generator"]["parameters"] == 1_510_081
    assert about["discriminator"]["parameters"] == 1_495_945
    assert about["encoder"]["parameters"] > 1e7
    assert about["generator"]["arch"] == "paper"
    about = document("info", "--bundle", room / "bundle")
    assert (about["name"], about["preset"]["name"]) == ("test", "tiny")
    are_quantities({name: row["median"] for name, row in about["directions"].items()}, ["tuf"])
    assert set(document("info")["parameters"]) == set(parameters())
    assert "tiny" in failure("info", "--preset", "huge")
    call("info", "--preset", "paper", "--bundle", "x", code=2)


# ----------------------------------------------------------------------------------------------- training


def test_training_leaves_a_run_folder_and_the_same_command_finds_it_done(room):
    for kind, run in (("generator", "run-g"), ("encoder", "run-e")):
        folder = room / run
        for name in ("config.json", "stats.jsonl", "checkpoints"):
            assert (folder / name).exists()
        before = (folder / "stats.jsonl").read_text()
        command = ("train", kind, "--preset", "tiny", "--archive", room / "archive", "--device", "cpu")
        report = document(*command, "--epochs", 1, "--run", folder)
        assert report["run"] == str(folder)
        assert (folder / "stats.jsonl").read_text() == before
        assert str(folder) in failure(*command, "--epochs", 2, "--run", folder)
        assert (folder / "stats.jsonl").read_text() == before


@pytest.mark.parametrize("kind", ["generator", "encoder"])
def test_dry_run_prints_the_resolved_configuration(kind, tmp_path):
    arguments = ("train", kind, "--preset", "paper", "--images", 640, "--device", "cpu", "--run", tmp_path / "run")
    out, _ = call(*arguments, "--dry-run")
    about = json.loads(out)
    assert (about["preset"], about["shape"]) == ("paper", [128, 128])
    assert about[kind]["images"] == 640
    assert not (tmp_path / "run").exists()


def test_training_on_prepared_patches(room, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "good.npy", rng.uniform(-1, 1, (32, 32, 32)).astype(np.float16))
    np.save(tmp_path / "gauss.npy", 500 * rng.standard_normal((32, 32, 32)))
    np.save(tmp_path / "shape.npy", np.zeros((32, 16, 16), np.float32))
    (tmp_path / "text.npy").write_text("no array")
    run = tmp_path / "run"
    command = ("train", "generator", "--preset", "tiny", "--epochs", 1, "--device", "cpu", "--run", run, "--data")
    for name, said in (("gauss", "preset units"), ("shape", "(N, 32, 32)"), ("text", "no .npy"), ("absent", "no file")):
        assert said in failure(*command, tmp_path / f"{name}.npy")
    assert not run.exists()
    assert document(*command, tmp_path / "good.npy")["stats"]["images"] == 32
    call("train", "generator", "--preset", "tiny", "--run", tmp_path / "other", code=2)
    call("train", "generator", "--preset", "tiny", "--archive", room / "archive", code=2)
    assert "no device" in failure(*command, tmp_path / "good.npy", "--device", "abacus")


def test_bundle_build_tells_what_does_not_fit(room, bundle, tmp_path):
    command = ("bundle", "build", "--name", "x", "--out", tmp_path / "b", "--generator")
    assert "128 x 128" in failure(*command, room / "run-g", "--preset", "paper")
    assert "train generator" in failure(*command, tmp_path, "--preset", "tiny")
    assert not (tmp_path / "b").exists()
    sharing = ("--encoder", room / "bundle", "--preset", "tiny", "--no-directions")
    report = document(
        "bundle", "build", "--name", "y", "--generator", room / "run-g", *sharing, "--out", room / "sharing"
    )
    assert report["encoder"] == {"hash": bundle.encoder_hash, "from": "bundle"}
    assert not (room / "sharing" / "encoder.safetensors").exists()


# ----------------------------------------------------------------------------------------------- steering


def test_directions_prints_accuracies_and_cosines(room, bundle, tmp_path):
    bundle.save(tmp_path / "copy")
    about = document("directions", "--bundle", tmp_path / "copy", "-n", 300, "--seed", 1, "--save")
    names = list(about["directions"])
    assert {"tuf", "sigma"} <= set(names)
    assert all(0 <= row["accuracy"] <= 1 for row in about["directions"].values())
    matrix = np.array([[about["cosines"][a][b] for b in names] for a in names])
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
    saved = Bundle.load(tmp_path / "copy")
    assert saved.directions.accuracies[0] == pytest.approx(about["directions"][saved.directions.names[0]]["accuracy"])
    assert saved.encoder_hash == bundle.encoder_hash
    call("directions", "--save", code=2)


def test_generate_writes_what_it_prints(room, bundle, tmp_path):
    median = bundle.directions.quantile("tuf", 60)
    command = ("generate", "--bundle", room / "bundle", "--set", f"tuf={median / 1e3:.6f} kG pix", "-n", 2, "--seed", 4)
    about = document(*command, "--out", tmp_path / "a")
    assert len(about["answers"]) == 2
    for answer in about["answers"]:
        assert answer["asked"]["tuf"]["value"] == pytest.approx(median, rel=1e-5)
        assert answer["verdict"] in ("met", "nearest")
        assert answer["z_norm"] > 0
        are_quantities(answer["got"], bundle.directions.names)
        field = fits.getdata(answer["file"])
        got = answer["got"]["tuf"]
        assert got["unit"] == "G pix"
        assert np.abs(field).sum() == pytest.approx(got["value"], rel=1e-4)
        assert (tmp_path / "a" / answer["picture"].split("/")[-1]).read_bytes().startswith(PNG)
    same = document(*command, "--out", tmp_path / "b")
    assert [a["got"] for a in same["answers"]] == [a["got"] for a in about["answers"]]
    assert document("params", about["answers"][0]["file"])["patches"][0]["parameters"]["tuf"]["unit"] == "G pix"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "flux=3"], "there are: tuf"),
        (["--set", "tuf"], "name=value[unit]"),
        (["--set", "tuf=1e22Mx"], "G pix"),
        (["--set", "tuf=1e99"], "reach"),
        (["--set", "tuf=1e4", "--set", "tuf=2e4"], "twice"),
        (["--set", "tuf=1e4", "--hold", "tuf"], "held"),
        (["--describe", "a friendly bipole"], "vocabulary"),
    ],
)
def test_generate_says_what_it_does_not_understand(room, tmp_path, arguments, said):
    assert said in failure("generate", "--bundle", room / "bundle", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_generate_asked_for_nothing_is_wrong_usage(room):
    call("generate", "--bundle", room / "bundle", code=2)


def test_edit_makes_a_strip(room, bundle, tmp_path):
    command = ("edit", "--bundle", room / "bundle", "--param", "tuf", "--hold", "sigma", "--steps", 5, "--range", 2)
    about = document(*command, "--out", tmp_path, "--seed", 3)
    assert [frame["eps"] for frame in about["frames"]] == [-2, -1, 0, 1, 2]
    for frame in about["frames"]:
        are_quantities(frame["parameters"], bundle.directions.names)
    assert json.loads((tmp_path / "edit-tuf-hold-sigma.json").read_text()) == about
    assert (tmp_path / "edit-tuf-hold-sigma.png").read_bytes().startswith(PNG)
    z = np.load(tmp_path / "edit-tuf-hold-sigma.npy")
    np.testing.assert_allclose((z[4] - z[0]) @ bundle.directions.normal("sigma"), 0, atol=1e-5)
    np.save(tmp_path / "z.npy", z[4])
    again = document(*command, "--from", tmp_path / "z.npy", "--out", tmp_path / "on")
    assert again["frames"][2]["parameters"] == about["frames"][4]["parameters"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--param", "flux"], "there are: tuf"),
        (["--param", "tuf", "--hold", "wings"], "there are: tuf"),
        (["--param", "tuf", "--hold", "tuf"], "tuf"),
        (["--param", "tuf", "--from", "absent.fits"], "absent.fits"),
    ],
)
def test_edit_says_what_it_cannot_do(room, tmp_path, arguments, said):
    assert said in failure("edit", "--bundle", room / "bundle", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_invert(room, bundle, observed, broken, tmp_path):
    command = ("invert", observed, broken[0], "--bundle", room / "bundle", "--starts", 2, "--steps", 5)
    about = document(*command, "--out", tmp_path / "out")
    (record,) = about["patches"]
    are_quantities(record["parameters"], parameters())
    are_quantities(record["reconstructed"], parameters())
    assert record["mse"] > 0
    assert record["z_norm"] == pytest.approx(np.linalg.norm(np.load(record["latent"])), rel=1e-6)
    assert len(about["refused"]) == 1
    assert json.loads((tmp_path / "out" / "invert.json").read_text()) == about
    assert "none of the 2 files" in failure("invert", *broken, "--bundle", room / "bundle", "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()


# ----------------------------------------------------------------------------------------------- retrieval


def test_search_finds_a_patch_of_the_archive_itself(room, tmp_path):
    command = ("--archive", room / "archive", "--bundle", room / "bundle")
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


@pytest.mark.parametrize("by", ["ssl", "euclidean", "mahalanobis"])
def test_search_with_what_is_asked_for(room, bundle, by):
    command = ("search", "--archive", room / "archive", "--bundle", room / "bundle", "--by", by, "-k", 2)
    about = document(*command, "--set", f"tuf={bundle.directions.quantile('tuf', 50)}")
    assert about["query"]["kind"] == "generated"
    assert about["query"]["verdict"] in ("met", "nearest")
    assert len(about["matches"]) == 2
    assert about["seconds"] >= 0


def test_hybrid_search_follows_its_weights(room):
    command = ("--archive", room / "archive", "--bundle", room / "bundle", "--group", "none")
    own = Archive.open(room / "archive").ids()[5]
    looks = document("search", own, *command, "-k", 6)
    same = document("search", own, *command, "-k", 6, "--by", "hybrid", "--weights", "look=1")
    assert [m["id"] for m in same["matches"]] == [m["id"] for m in looks["matches"]]
    found = document("search", own, *command, "-k", 32, "--by", "physics", "--weights", "tuf=1")
    flux = [m["grid"]["tuf"]["value"] for m in found["matches"]]
    at = flux[0]  # the query itself: those with more flux come in order, and those with less
    assert [v for v in flux if v >= at] == sorted(v for v in flux if v >= at)
    assert [v for v in flux if v <= at] == sorted((v for v in flux if v <= at), reverse=True)
    assert "no weight for 'flux'" in failure("search", own, *command, "--by", "hybrid", "--weights", "flux=1")
    assert "--weights go with" in call("search", own, *command, "--weights", "tuf=1", code=2)[1]


def test_exact_edit_says_what_was_asked_and_what_came(room, tmp_path):
    command = ("edit", "--bundle", room / "bundle", "--param", "sigma", "--exact", "--steps", 3, "--range", 0.5)
    about = document(*command, "--out", tmp_path, "--seed", 3)
    asked = [frame["asked"]["sigma"]["value"] for frame in about["frames"]]
    assert about["exact"] and asked == sorted(asked)
    assert about["frames"][1]["parameters"]["sigma"]["value"] == pytest.approx(asked[1], rel=0.01)
    assert (tmp_path / "edit-sigma-exact.png").read_bytes().startswith(PNG)


def test_leaks_of_every_direction(room, bundle, tmp_path):
    about = document("leaks", room / "bundle", "-n", 4, "--out", tmp_path)
    names = list(about["free"])
    assert set(about["held"]) == set(names) == set(bundle.directions.names)
    assert all(about["held"][name][name] is None for name in names)
    assert (tmp_path / "leaks.png").read_bytes().startswith(PNG)


def test_search_with_arrays(room, bundle, tmp_path):
    command = ("--archive", room / "archive", "--bundle", room / "bundle", "-k", 1)
    patch = Archive.open(room / "archive").get(Archive.open(room / "archive").ids()[2])
    np.save(tmp_path / "gauss.npy", patch.field)
    assert document("search", tmp_path / "gauss.npy", *command)["matches"][0]["id"] == patch.id
    np.save(tmp_path / "latent.npy", np.zeros(bundle.generator.latent_dim))
    assert document("search", tmp_path / "latent.npy", *command)["query"]["kind"] == "latent"
    np.save(tmp_path / "nan.npy", np.full((40, 60), np.nan))
    assert "missing" in failure("search", tmp_path / "nan.npy", *command)
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    assert "(2, 3, 4)" in failure("search", tmp_path / "cube.npy", *command)


def test_search_says_what_it_cannot_find(room, tmp_path):
    bundle = ("--bundle", room / "bundle")
    known = ("--archive", room / "archive", *bundle)
    own = Archive.open(room / "archive").ids()[0]
    assert "no archive at" in failure("search", own, "--archive", tmp_path / "none", *bundle)
    assert not (tmp_path / "none").exists()
    assert "is no file nor the id" in failure("search", "sim-0-0", *known)
    assert "widen" in failure("search", own, *known, "--where", "mu > 5")
    assert "columns are" in failure("search", own, *known, "--where", "brightness > 5")
    assert "is no bundle" in failure("search", own, "--archive", room / "archive", "--bundle", tmp_path)
    call("search", *known, code=2)
    call("search", own, *known, "--describe", "strong", code=2)
    call("search", own, *known, "-k", 0, code=2)
    call("search", own, *known, "--group", "colour", code=2)


def test_a_damaged_bundle_is_refused(room, bundle, tmp_path):
    folder = bundle.save(tmp_path / "bundle")
    file = folder / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    assert "damaged" in failure("generate", "--bundle", folder, "--set", "tuf=1", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------- the rest


def test_demo_prints_the_summary(monkeypatch, tmp_path):
    def run(out, queries, progress):
        progress("working", 0.5)
        return {"report": str(out / "report.html"), "queries": queries, "seconds": float("nan")}

    monkeypatch.setattr("solquery.study.demo.run_demo", run)
    about = document("demo", "--out", tmp_path, "--queries", 7)
    assert about == {"report": str(tmp_path / "report.html"), "queries": 7, "seconds": None}
    out, err = call("demo", "--out", tmp_path)
    assert str(tmp_path / "report.html") in out and str(tmp_path / "summary.json") in out
    assert "working" in err


def test_every_verb_prints_tables_without_json(room, observed, tmp_path):
    bundle = ("--bundle", room / "bundle")
    assert "tuf" in call("params", observed)[0]
    assert "patches" in call("info", "--archive", room / "archive")[0]
    assert "cosine" in call("directions", *bundle, "-n", 200)[0]
    assert "asked" in call("generate", *bundle, "--set", "tuf>=0", "--out", tmp_path)[0]
    assert "edit-tuf.png" in call("edit", *bundle, "--param", "tuf", "--steps", 3, "--out", tmp_path)[0]
    assert "mse" in call("invert", observed, *bundle, "--steps", 2, "--starts", 1, "--out", tmp_path)[0]
    assert "distance" in call("search", observed, *bundle, "--archive", room / "archive", "-k", 2)[0]


def test_debug_adds_the_traceback_wherever_it_stands(tmp_path):
    for arguments in (
        ["--debug", "info", "--archive", tmp_path / "x"],
        ["info", "--archive", tmp_path / "x", "--debug"],
    ):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 1
        assert "Traceback" in result.stderr and "no archive at" in result.stderr


def test_quality_wants_enough_patches(room):
    assert "at least 100" in failure("quality", room / "bundle", "--archive", room / "archive")


def test_quality_writes_a_table_and_a_figure(room, tmp_path):
    archive, out = tmp_path / "archive", tmp_path / "out"
    call("simulate", "--regions", 10, "--frames", 10, "--seed", 6, "--archive", archive, "--workers", 1)
    got = document("quality", room / "bundle", "--archive", archive, "-n", 100, "--out", out)
    assert set(got["parameters"]) == {"tuf", "r", "psep", "tpf", "tnf", "sigma", "alpha", "grad"}
    assert all(0 <= entry["ks"] <= 1 for entry in got["parameters"].values())
    assert (out / "quality.png").read_bytes().startswith(PNG)
    assert json.loads((out / "quality.json").read_text())["median_ks"] == got["median_ks"]


def test_wrong_usage_is_2():
    for arguments in (
        ["fly"],
        ["simulate"],
        ["simulate", "--archive", "x", "--regions", "0"],
        ["edit"],
        ["train", "cat"],
    ):
        call(*arguments, code=2)


def test_the_script_keeps_stdout_to_its_document(room):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", "from solquery.cli import main; main()"]
    command = [*run, "info", "--archive", str(room / "archive"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, json.loads(done.stdout)["patches"]) == (0, 32)
    command = [*run, "info", "--archive", str(room / "nowhere"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, solquery; heavy = {'numpy', 'torch', 'scipy', 'lancedb', 'astropy', 'typer'} & set(sys.modules); "
        "assert not heavy, heavy; from solquery import get_preset; assert get_preset('tiny').shape == (32, 32)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_every_public_name_is_there():
    import solquery

    for name in solquery.__all__:
        assert getattr(solquery, name) is not None
    assert set(solquery.__all__) == set(solquery._MODULE_OF)
    assert solquery.__all__ == sorted(solquery.__all__)
    assert solquery.measure is measure
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = solquery.nothing


def test_plain_numbers():
    value = {
        "a": np.float32(1.5),
        "b": np.nan,
        "c": np.arange(2),
        "d": datetime(2011, 2, 15, tzinfo=UTC),
        1: (True, None),
    }
    assert plain(value) == {"a": 1.5, "b": None, "c": [0, 1], "d": "2011-02-15T00:00:00+00:00", "1": [True, None]}
