"""The verb `params`, and a plug-in on its way through the verbs."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from command_line import are_quantities, call, document, failure

from solquery import plugins
from solquery.extension import extend_directions
from solquery.model import Model
from solquery.physics import load_plugin, parameters, registry
from solquery.steering import SteeringWarning

PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The plug-in that the documentation shows, in a file; what loading it changes is taken back."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (code,) = re.findall(r"```python\n(# my_params\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    path = tmp_path / "my_params.py"
    path.write_text(code)
    return path


def test_params_prints_errors_and_header_values(observed):
    got = document("params", observed, "--noise", 50)
    (record,) = got["patches"]
    are_quantities(record["parameters"], parameters(on_demand=True))
    assert next(iter(record["parameters"])) == "flux"
    assert record["parameters"]["tuf"]["error"] > 0
    assert record["parameters"]["tuf"]["bias"] > 0
    assert record["noise"]["gauss"] == 50
    assert record["header"] == {}
    assert record["quantity"] in ("radial", "line-of-sight")
    assert record["cycle"] == 24
    assert record["joy"]["verdict"] in ("kept", "broken", "undetermined")
    out, _ = call("params", observed, "--noise", 50, "--param", "tuf", "--param", "axis_angle")
    assert "± error" in out
    assert "Hale's law of cycle 24" in out


def test_params_takes_the_noise_from_the_patch_and_leaves_errors_out_when_told(observed):
    (record,) = document("params", observed, "--param", "tuf")["patches"]
    assert ("error" in record["parameters"]["tuf"]) == (record["noise"]["gauss"] is not None)
    assert record["noise"]["source"]
    (record,) = document("params", observed, "--param", "tuf", "--no-errors")["patches"]
    assert set(record["parameters"]["tuf"]) == {"value", "unit"}


def test_an_error_that_is_an_upper_limit_is_said_to_be_one(observed):
    (record,) = document("params", observed, "--param", "grad", "--param", "tuf")["patches"]
    limits = {name for name, entry in record["parameters"].items() if "error_is_upper_limit" in entry}
    assert limits == {"grad"}
    assert "error of grad: an upper limit" in call("params", observed, "--param", "grad")[0]
    stated = call("params", observed, "--param", "grad", "--noise", 50)[0]
    assert "upper limit" not in stated, "a level that somebody states has no field under it"


def test_params_measures_over_a_bitmap(tmp_path):
    from astropy.io import fits

    from solquery.sharp import write_fits
    from solquery.simulator import simulate_region

    (patch,) = simulate_region(3, 0, 1)
    name = "hmi.sharp_cea_720s.9.20130501_000000_TAI"
    write_fits(patch, tmp_path / f"{name}.Br.fits")
    strong = np.abs(np.nan_to_num(patch.field)) > 300
    fits.PrimaryHDU(np.where(strong, 34, 33).astype(np.int16)).writeto(tmp_path / f"{name}.bitmap.fits")
    (record,) = document(
        "params", tmp_path / f"{name}.Br.fits", "--param", "area", "--no-errors", "--bitmaps", tmp_path
    )["patches"]
    assert record["active"]["area"]["value"] == pytest.approx(strong.sum() * np.prod(patch.scale_mm), rel=1e-4)
    assert record["bitmap_region"]["area"]["value"] == record["parameters"]["area"]["value"]
    out, _ = call("params", tmp_path / f"{name}.Br.fits", "--param", "area", "--bitmaps", tmp_path)
    assert "active" in out
    assert "is no folder" in failure("params", tmp_path / f"{name}.Br.fits", "--bitmaps", tmp_path / "nowhere")


def test_params_writes_a_table(observed, tmp_path):
    import astropy.units as u
    from astropy.table import QTable

    got = document("params", observed, "--param", "tuf", "--out", tmp_path / "new" / "table.ecsv")
    table = QTable.read(got["table"])
    assert table["tuf"].unit == u.Mx
    assert table["tuf"][0].value == pytest.approx(got["patches"][0]["parameters"]["tuf"]["value"])
    assert np.isnan(table["USFLUX"][0])
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["table.ecsv"]
    call("params", observed, "--out", tmp_path / "t.csv", code=2)


def test_a_plug_in_goes_through_the_verbs(plugin, observed, room, tmp_path):
    (record,) = document("params", observed, "--plugin", plugin)["patches"]
    assert record["parameters"]["peak_field"]["unit"] == "G"
    made = document(
        "--plugin", plugin, "generate", "--model", room / "model", "--set", "tuf>=1", "--out", tmp_path / "made"
    )
    assert made["answers"][0]["measured"]
    models = Model.load(room / "model")
    assert "peak_field" not in models.directions.names
    with warnings.catch_warnings():
        # a generator trained for seconds: its directions may be no better than chance
        warnings.simplefilter("ignore", SteeringWarning)
        longer = extend_directions(models, ["peak_field"])
    assert longer.names == (*models.directions.names, "peak_field")
    assert np.linalg.norm(longer.normal("peak_field")) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(longer.normals[:-1], models.directions.normals)
    median = longer.quantile("peak_field", 50)
    asked = document(
        "generate", f"--plugin={plugin}", "--model", room / "model", "--set", f"peak_field={median}",
        "--out", tmp_path / "asked",
    )  # fmt: skip
    got = asked["answers"][0]["measured"]["peak_field"]
    assert got["unit"] == "G"
    assert got["value"] > 0


def test_a_search_filters_by_a_plug_in(plugin, room, tmp_path):
    import shutil

    archive = shutil.copytree(room / "archive", tmp_path / "archive")
    load_plugin(plugin)
    common = ("search", "--archive", archive, "--model", room / "model", "--set", "tuf>=1", "-k", 3)
    found = document(*common, "--plugin", plugin, "--where", "peak_field > 10")
    assert found["matches"]
    assert all(match["parameters"]["peak_field"]["value"] > 10 for match in found["matches"])


def test_a_bad_plug_in_is_one_line(tmp_path, observed):
    assert "no plug-in file" in failure("params", observed, "--plugin", tmp_path / "nothing.py")
