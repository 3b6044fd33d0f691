"""An archive, runs and a model made by the command line itself, and files good and bad."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from command_line import call

from solquery.model import Model
from solquery.simulator import simulate_region


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    """An archive of 32 simulated patches, a run of both trainers and a model, made by the command line itself."""
    base = tmp_path_factory.mktemp("cli")
    archive = base / "archive"
    call("simulate", "--regions", 8, "--frames", 4, "--seed", 5, "--archive", archive, "--workers", 1)
    common = ("--preset", "tiny", "--archive", archive, "--epochs", 1, "--device", "cpu", "--run")
    call("train", "generator", *common, base / "run-g")
    call("train", "encoder", *common, base / "run-e")
    call(
        "model", "build", "--generator", base / "run-g", "--encoder", base / "run-e", "--preset", "tiny",
        "--name", "test", "--out", base / "model", "-n", 600,
    )  # fmt: skip
    return base


@pytest.fixture(scope="session")
def model(room):
    return Model.load(room / "model")


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
