"""Flux, separation, tilt and R against fields whose values are known otherwise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from solquery.physics import measure
from solquery.physics.geometry import dilate

torch.set_num_threads(1)
quick = settings(max_examples=25, deadline=None, derandomize=True)


def bipole(shape, scale, plus_mm, minus_mm, width_mm=6.0, peak=2000.0, plus_share=1.0):
    """Two Gaussians on a grid; positions (y, x) in Mm from the centre of pixel (0, 0)."""
    y = np.arange(shape[0])[:, None] * scale[0]
    x = np.arange(shape[1])[None, :] * scale[1]

    def spot(at):
        return peak * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * width_mm**2))

    return plus_share * spot(plus_mm) - spot(minus_mm)


def random_fields(seed, n=2, shape=(40, 56)):
    """Smooth fields with both polarities well above 150 G."""
    coarse = torch.randn(n, 1, 5, 7, generator=torch.Generator().manual_seed(seed)) * 400
    return torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[:, 0]


def value(fields, name, scale=None):
    return measure(fields, scale, name)[name].numpy()


@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.07, 2.12), (0.9, 0.364425)])
def test_bipole_has_its_analytic_flux_separation_and_tilt(scale):
    extent = (90.0, 160.0)
    shape = tuple(round(e / s) for e, s in zip(extent, scale, strict=True))
    angle, distance, middle = np.radians(23.0), 60.0, np.array([44.0, 80.0])
    half = 0.5 * distance * np.array([np.sin(angle), np.cos(angle)])
    field = bipole(shape, scale, middle + half, middle - half)
    got = {k: v.item() for k, v in measure(field, scale).items()}
    flux = 2 * np.pi * 6.0**2 * 2000.0 * 1e16
    assert got["tuf"] == pytest.approx(2 * flux, rel=0.01)
    assert abs(got["net_flux"]) < 0.001 * flux
    # what lies above the threshold: 1 - threshold / peak of a Gaussian's flux, within a pixel's raggedness
    assert got["tpf"] == pytest.approx(flux * (1 - 150 / 2000), rel=0.01)
    assert got["tnf"] == pytest.approx(flux * (1 - 150 / 2000), rel=0.01)
    assert got["area"] == pytest.approx(2 * 2 * np.pi * 6.0**2 * np.log(2000 / 150), rel=0.03)
    assert got["psep"] == pytest.approx(distance, rel=0.01)
    assert got["tilt"] == pytest.approx(23.0, rel=0.01)
    assert got["polarity"] == 1.0
    assert got["r"] == 0.0


@pytest.mark.parametrize("degrees", [-80, -45, 0, 45, 80, 100, 135, 180, 225, 260])
def test_tilt_and_polarity_together_give_the_full_direction(degrees):
    """The vector from negative to positive polarity has angle tilt, or tilt + 180 where the negative one leads."""
    step = 25.0 * np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])
    middle = np.array([48.0, 48.0])
    got = measure(bipole((97, 97), (1.0, 1.0), middle + step, middle - step, width_mm=4.0), (1.0, 1.0))
    tilt, polarity = got["tilt"].item(), got["polarity"].item()
    assert -90 < tilt < 90
    angle = tilt if polarity > 0 else tilt + 180
    assert (angle - degrees + 180) % 360 - 180 == pytest.approx(0, abs=0.5)


def test_units_with_and_without_scale():
    field = np.zeros((10, 12), np.float32)
    field[2, 3], field[2, 9] = 200.0, -400.0
    on_grid = {k: v.item() for k, v in measure(field).items()}
    physical = {k: v.item() for k, v in measure(field, (0.5, 2.0)).items()}
    assert (on_grid["tuf"], on_grid["tpf"], on_grid["tnf"], on_grid["net_flux"]) == (600, 200, 400, -200)
    assert (on_grid["area"], on_grid["psep"], on_grid["polarity"]) == (2, 6, -1)
    # one gauss over one square megametre is 1e16 maxwell, and a pixel here has 0.5 x 2 Mm
    assert physical["tuf"] == pytest.approx(600e16)
    assert physical["area"] == pytest.approx(2.0)
    assert physical["psep"] == pytest.approx(12.0)


@pytest.mark.parametrize("field", [np.zeros((8, 8)), np.full((8, 8), 300.0), np.full((8, 8), -140.0)])
def test_what_needs_two_polarities_is_nan_without_them_and_r_is_zero(field):
    got = measure(field)
    assert all(np.isnan(got[name].item()) for name in ("psep", "tilt", "polarity", "alpha"))
    assert got["r"].item() == 0.0


def test_neither_polarity_leads_on_one_meridian():
    field = np.zeros((9, 9))
    field[2, 4], field[6, 4] = 500, -500
    got = measure(field)
    assert got["psep"].item() == 4.0
    assert np.isnan(got["polarity"].item())
    assert np.isnan(got["tilt"].item())


def test_missing_pixels_count_as_no_field():
    fields = random_fields(3)
    holed = fields.clone()
    holed[:, 5:15, 20:] = torch.nan
    holed[:, 0, 0] = torch.inf
    names = ["tuf", "tpf", "tnf", "net_flux", "psep", "tilt", "polarity", "area", "r", "alpha", "grad"]
    zeroed = torch.where(torch.isfinite(holed), holed, 0.0)
    for name, got in measure(holed, names=names).items():
        torch.testing.assert_close(got, measure(zeroed, names=name)[name], rtol=0, atol=0)


@quick
@given(st.integers(0, 10_000), st.sampled_from([None, (0.5, 0.5), (1.1, 2.0)]))
def test_symmetries(seed, scale):
    fields = random_fields(seed)
    plain = measure(fields, scale)
    flipped, mirrored, reversed_ = (measure(f.contiguous(), scale) for f in (fields.flip(1), fields.flip(2), -fields))
    same = ["tuf", "psep", "area", "r", "grad", "alpha", "sigma"]
    close = {"rtol": 1e-5, "atol": 1e-6, "equal_nan": True}
    for name in same:
        for other in (flipped, mirrored, reversed_):
            tolerance = {**close, "rtol": 1e-3} if name == "sigma" else close
            torch.testing.assert_close(other[name], plain[name], **tolerance)
    # north-south: tilt turns round, who leads does not change
    torch.testing.assert_close(flipped["polarity"], plain["polarity"], **close)
    torch.testing.assert_close(flipped["tilt"], -plain["tilt"], rtol=0, atol=1e-2, equal_nan=True)
    # east-west: the follower now leads, on the mirrored slope
    torch.testing.assert_close(mirrored["polarity"], -plain["polarity"], **close)
    torch.testing.assert_close(mirrored["tilt"], -plain["tilt"], rtol=0, atol=1e-2, equal_nan=True)
    # sign: the axis stays, the other sign leads, and the polarities' fluxes are exchanged
    torch.testing.assert_close(reversed_["polarity"], -plain["polarity"], **close)
    torch.testing.assert_close(reversed_["tilt"], plain["tilt"], rtol=0, atol=1e-2, equal_nan=True)
    torch.testing.assert_close(reversed_["tpf"], plain["tnf"], **close)
    torch.testing.assert_close(reversed_["net_flux"], -plain["net_flux"], rtol=1e-5, atol=1e-6 * plain["tuf"].max())


@quick
@given(st.integers(0, 10_000), st.floats(0.2, 5.0))
def test_flux_grows_with_the_pixels_area_and_separation_with_its_side(seed, side):
    fields = random_fields(seed)
    grid, physical = measure(fields), measure(fields, (side, side))
    for name, factor in [("tuf", side**2 * 1e16), ("r", side**2 * 1e16), ("psep", side), ("grad", 1 / side)]:
        torch.testing.assert_close(physical[name], grid[name] * factor, rtol=1e-5, atol=0, equal_nan=True)
    for name in ("tilt", "polarity", "alpha", "sigma"):
        torch.testing.assert_close(physical[name], grid[name], rtol=1e-9, atol=1e-9, equal_nan=True)


@quick
@given(st.integers(0, 10_000), st.sampled_from([(40, 56), (128, 128), (9, 30)]))
def test_r_agrees_with_morphology_written_out(seed, shape):
    fields = random_fields(seed, shape=shape) * 0.5
    square = np.ones((7, 7), bool)
    for field, got in zip(fields.numpy(), value(fields, "r"), strict=True):
        near = binary_dilation(field > 150, square) & binary_dilation(field < -150, square)
        assert got == pytest.approx(np.abs(field[near]).sum(dtype=np.float64), rel=1e-6)


def test_r_of_an_inversion_line_depends_on_the_gap():
    """Each mask reaches 3 pixels out, so the two meet across at most 5 weak columns."""
    for gap, meets in [(0, True), (5, True), (6, False)]:
        field = np.full((16, 40), 100.0)
        field[:, 10:18] = 500.0
        field[:, 18 + gap : 28 + gap] = -500.0
        assert (value(field, "r")[0] > 0) == meets
    field = np.zeros((16, 40))
    field[:, 10:18], field[:, 18:28] = 500.0, -500.0
    assert value(field, "r")[0] == 16 * 6 * 500.0


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 11])
def test_dilation_of_any_odd_size(size):
    mask = torch.rand(2, 20, 23, generator=torch.Generator().manual_seed(size)) > 0.97
    expected = [binary_dilation(m, np.ones((size, size), bool)) for m in mask.numpy()]
    np.testing.assert_array_equal(dilate(mask.to(torch.uint8), size).numpy(), np.array(expected))


def test_dilation_of_even_size_is_refused():
    with pytest.raises(ValueError, match="odd and positive, got 4"):
        dilate(torch.zeros(1, 8, 8, dtype=torch.uint8), 4)
