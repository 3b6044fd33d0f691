"""SHARP keywords recomputed; HARP 377 where its images are at hand."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from solquery.physics import measure
from solquery.physics.sharp import CEA_PIXEL_CM2, CEA_PIXEL_MM, usflux_cmask

torch.set_num_threads(1)
HARP377 = Path(__file__).parents[3] / "shared/data/harp377"


def harp377(segment):
    from astropy.io import fits

    path = HARP377 / f"hmi.sharp_cea_720s.377.20110215_020000_TAI.{segment}.fits"
    if not path.exists():
        pytest.skip("the images of HARP 377 are not here")
    with warnings.catch_warnings():
        # the header has cards that astropy repairs aloud
        warnings.simplefilter("ignore")
        with fits.open(path) as images:
            images.verify("silentfix")
            image = next(hdu for hdu in images if hdu.data is not None and hdu.data.ndim == 2)
            return np.array(image.data), dict(image.header)


def test_usflux_counts_trusted_pixels_of_the_region():
    br = np.array([[100.0, -200.0, 300.0], [np.nan, 50.0, -60.0]])
    bitmap = np.array([[33, 34, 2], [33, 30, 29]])
    confidence = np.array([[90, 70, 90], [90, 60, 90]])
    got = usflux_cmask(br, bitmap, confidence, pixel_area_cm2=1e15)
    assert got.cmask == 3
    assert got.usflux_mx == pytest.approx(300e15)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2\), \(2, 3\), \(2, 2\)"):
        usflux_cmask(np.zeros((2, 2)), np.zeros((2, 3)), np.zeros((2, 2)))


def test_area_of_a_cea_pixel_is_its_side_squared():
    side_cm = CEA_PIXEL_MM * 1e8
    assert side_cm**2 == pytest.approx(CEA_PIXEL_CM2, rel=1e-5)


def test_harp_377_header_is_reproduced():
    br, header = harp377("Br")
    got = usflux_cmask(br, harp377("bitmap")[0], harp377("conf_disambig")[0])
    assert got.cmask == int(header["CMASK"]) == 45703
    assert got.usflux_mx == pytest.approx(float(header["USFLUX"]), rel=2e-5)
    assert got.usflux_mx == pytest.approx(2.71476e22, rel=2e-5)


def test_harp_377_polarities_lie_where_the_header_says():
    """Separation and tilt against the flux-weighted polarity centres of the header, another computation of them."""
    br, header = harp377("Br")
    got = {k: v.item() for k, v in measure(br, (CEA_PIXEL_MM, CEA_PIXEL_MM)).items()}
    assert got["tuf"] == pytest.approx(3.417e22, rel=1e-3)
    north = float(header["LATFWTPO"]) - float(header["LATFWTNE"])
    middle = 0.5 * (float(header["LATFWTPO"]) + float(header["LATFWTNE"]))
    west = (float(header["LONFWTPO"]) - float(header["LONFWTNE"])) * np.cos(np.radians(middle))
    assert got["polarity"] == 1.0
    assert got["psep"] == pytest.approx(np.hypot(north, west) / 0.03 * CEA_PIXEL_MM, rel=0.04)
    assert got["tilt"] == pytest.approx(np.degrees(np.arctan2(north, west)), abs=1.5)


def test_harp_377_texture_on_the_grid():
    field = torch.from_numpy(np.nan_to_num(harp377("Br")[0]).astype(np.float32))
    grid = torch.nn.functional.adaptive_avg_pool2d(field[None], 128).clamp(-1000, 1000)
    got = {k: v.item() for k, v in measure(grid).items()}
    assert got["sigma"] == pytest.approx(18.5, rel=0.1)
    assert got["alpha"] == pytest.approx(-2.2, abs=0.1)
    assert got["grad"] == pytest.approx(43, rel=0.06)


def test_harp_377_centres_over_the_pixels_of_the_header():
    """Over the pixels that USFLUX counts, separation within 5 % and tilt within 3 degrees of the header's centres."""
    from solquery.physics import header_values

    br, header = harp377("Br")
    bitmap, confidence = harp377("bitmap")[0], harp377("conf_disambig")[0]
    told = header_values(header)
    inside = np.where((bitmap >= 30) & (confidence >= 70), br, 0.0)
    got = {k: v.item() for k, v in measure(inside, (CEA_PIXEL_MM, CEA_PIXEL_MM)).items()}
    assert got["tuf"] == pytest.approx(told["tuf"].value, rel=1e-3)
    assert got["psep"] == pytest.approx(told["psep"].value, rel=0.05)
    assert got["tilt"] == pytest.approx(told["tilt"].value, abs=3.0)
    assert got["polarity"] == told["polarity"].value


def test_harp_377_is_seen_at_its_mu():
    from solquery.sharp import read_sharp

    path = HARP377 / "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"
    if not path.exists():
        pytest.skip("the images of HARP 377 are not here")
    patch = read_sharp(path)
    lat, lon, tip = np.radians([patch.latitude_deg, patch.longitude_deg, patch.b0_deg])
    assert patch.mu == pytest.approx(0.945, abs=1e-3)
    assert patch.mu == pytest.approx(np.sin(tip) * np.sin(lat) + np.cos(tip) * np.cos(lat) * np.cos(lon), abs=1e-3)
