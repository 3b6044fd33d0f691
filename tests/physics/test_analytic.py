"""Fields whose parameters are known on paper, to 1e-4, and what must not change them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery.physics import measure, parameters

torch.set_num_threads(1)
quick = settings(max_examples=20, deadline=None, derandomize=True)
EXACT = {"rel": 1e-4}


def grid(shape, scale=1.0):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    return (y - (shape[0] - 1) / 2) * scale, (x - (shape[1] - 1) / 2) * scale


def value(field, name, scale=None):
    return measure(field, scale, name)[name][0].item()


def test_disc_has_the_flux_of_its_pixels():
    y, x = grid((90, 120))
    disc = np.where(np.hypot(y, x) < 25.3, 800.0, 0.0)
    pixels = float((disc > 0).sum())
    got = {k: v.item() for k, v in measure(disc, (0.5, 0.8)).items()}
    for name in ("tuf", "tpf", "net_flux"):
        assert got[name] == pytest.approx(pixels * 800 * 0.5 * 0.8 * 1e16, **EXACT)
    assert got["area"] == pytest.approx(pixels * 0.4, **EXACT)
    assert got["tnf"] == got["r"] == got["pil_length"] == 0
    assert np.isnan([got[k] for k in ("psep", "tilt", "polarity", "separation", "imbalance")]).all()


def test_gaussian_has_its_integral():
    y, x = grid((201, 201))
    bell = 2000 * np.exp(-(y**2 + x**2) / (2 * 12.0**2))
    assert value(bell, "tuf", (0.4, 0.4)) == pytest.approx(2 * np.pi * 12**2 * 2000 * 0.16e16, **EXACT)
    assert value(bell, "net_flux") == pytest.approx(2 * np.pi * 12**2 * 2000, **EXACT)


def test_checkerboard_is_balanced_and_all_inversion_line():
    y, x = np.indices((24, 36))
    board = np.where((y + x) % 2 == 0, 500.0, -500.0)
    got = {k: v.item() for k, v in measure(board).items()}
    assert got["tuf"] == pytest.approx(24 * 36 * 500, **EXACT)
    assert got["tpf"] == got["tnf"] == got["tuf"] / 2
    assert got["net_flux"] == got["imbalance"] == 0
    assert got["r"] == got["tuf"]
    # along a row and along a column the field is alternating: central differences vanish, at the border it is 1,000 G
    inner, sides, corners = 22 * 34, 2 * (22 + 34), 4
    total = inner * 0 + sides * 1000 + corners * np.hypot(1000, 1000)
    assert got["grad"] == pytest.approx(total / (24 * 36), **EXACT)


@pytest.mark.parametrize("degrees", [-170, -95, -30, 0, 12.5, 60, 90, 179])
def test_rotated_bipole(degrees):
    """Two narrow spots, compact so that nothing of them is beyond the border."""
    y, x = grid((160, 160))
    step = 35.0 * np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])

    def spot(at):
        return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * 7.0**2))

    # so strong that the cut at 150 G, which goes through pixels, moves no centroid
    field = 30_000 * (spot(step) - spot(-step))
    got = {k: v.item() for k, v in measure(field, (0.7, 0.7), parameters(on_demand=True)).items()}
    assert got["psep"] == pytest.approx(70 * 0.7, rel=1e-4)
    assert got["separation"] == pytest.approx(70 * 0.7, rel=1e-2)
    turned = (got["axis_angle"] - degrees + 180) % 360 - 180
    assert turned == pytest.approx(0, abs=0.01)
    assert got["tuf"] == pytest.approx(2 * 2 * np.pi * 7**2 * 30_000 * 0.49e16, **EXACT)


def test_inversion_line_of_a_ramp_has_its_length_and_gradient_at_any_angle():
    for degrees in (0, 17, 45, 90):
        y, x = grid((64, 64))
        ramp = 200 * (np.cos(np.radians(degrees)) * x + np.sin(np.radians(degrees)) * y)
        # through the middle, from border to border, of pixel centres 63 apart
        long = 63 / max(abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees))))
        assert value(ramp, "pil_length") == pytest.approx(long, rel=1e-4)
        assert value(ramp, "pil_gradient") == pytest.approx(200 * long, rel=1e-4)


def test_inversion_line_round_a_disc_has_its_circumference():
    y, x = grid((120, 120), 1.5)
    ring = 300 * (30.0 - np.hypot(y, x))
    assert value(ring, "pil_length", (1.5, 1.5)) == pytest.approx(2 * np.pi * 30, rel=3e-3)
    assert value(ring, "pil_gradient", (1.5, 1.5)) == pytest.approx(2 * np.pi * 30 * 300, rel=3e-3)


def test_weak_inversion_lines_do_not_count():
    _, x = grid((40, 60))
    assert value(20 * x, "pil_length") == 0
    assert value(20 * x, "r") == 0


def test_transport_sees_two_bipoles_where_centroids_cancel():
    y, x = grid((100, 100))

    def spot(at):
        return 1500 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * 4.0**2))

    quadrupole = spot((20, 15)) - spot((20, -15)) - spot((-20, 15)) + spot((-20, -15))
    assert value(quadrupole, "psep") == pytest.approx(0, abs=1e-3)
    assert value(quadrupole, "separation") == pytest.approx(30, rel=0.02)


def fields_of(seed, shape=(42, 56)):
    coarse = torch.randn(2, 1, 5, 7, generator=torch.Generator().manual_seed(seed)) * 500
    return torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[:, 0].double()


def close(got, wanted, rel=1e-4, floor=1e-4):
    torch.testing.assert_close(got, wanted, rtol=rel, atol=floor, equal_nan=True)


def angles_close(got, wanted):
    close((got - wanted + 180.0) % 360.0 - 180.0, torch.where(torch.isnan(wanted), wanted, torch.zeros_like(wanted)))


@quick
@given(st.integers(0, 10_000), st.sampled_from([None, (1.5, 1.5), (1.6, 1.4)]))
def test_polarity_flip(seed, scale):
    names = [*parameters(), "axis_angle"]
    plain, turned = measure(fields_of(seed), scale, names), measure(-fields_of(seed), scale, names)
    close(turned["tpf"], plain["tnf"], floor=0)
    close(turned["tnf"], plain["tpf"], floor=0)
    close(turned["net_flux"], -plain["net_flux"], floor=1e-6 * float(plain["tuf"].max()))
    angles_close(turned["axis_angle"], plain["axis_angle"] + 180.0)
    close(turned["separation"], plain["separation"], rel=2e-2)
    for name in ("tuf", "imbalance", "psep", "area", "r", "pil_length", "pil_gradient", "alpha", "grad"):
        close(turned[name], plain[name], floor=1e-9)


@quick
@given(st.integers(0, 10_000))
def test_transposition(seed):
    names = [*parameters(), "axis_angle"]
    plain = measure(fields_of(seed), (1.5, 1.5), names)
    other = measure(fields_of(seed).mT.contiguous(), (1.5, 1.5), names)
    for name in set(parameters()) - {"tilt", "polarity", "separation", "sigma"}:
        close(other[name], plain[name])
    close(other["separation"], plain["separation"], rel=1e-6)
    angles_close(other["axis_angle"], 90.0 - plain["axis_angle"])


@quick
@given(st.integers(0, 10_000), st.integers(0, 9), st.integers(0, 9))
def test_shift(seed, down, right):
    """Field moved within an empty frame."""
    base = torch.zeros(2, 80, 90, dtype=torch.float64)
    first, second = base.clone(), base.clone()
    first[:, 12:54, 12:68] = fields_of(seed)
    second[:, 12 + down : 54 + down, 12 + right : 68 + right] = fields_of(seed)
    a, b = measure(first), measure(second)
    for name in set(parameters()) - {"separation", "flux"}:
        close(b[name], a[name])
    # so do the blocks in which its density is worked out
    close(b["flux"], a["flux"], rel=0.05)
    # the cells of the transport stay where they are
    close(b["separation"], a["separation"], rel=0.25)


@quick
@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_refinement_of_the_grid(seed, times):
    """Every pixel cut into several: the same field on the Sun."""
    coarse = fields_of(seed)
    fine = coarse.repeat_interleave(times, 1).repeat_interleave(times, 2)
    a, b = measure(coarse, (1.5, 1.5)), measure(fine, (1.5 / times, 1.5 / times))
    for name in ("tuf", "tpf", "tnf", "net_flux", "area", "psep", "tilt", "polarity", "imbalance"):
        close(b[name], a[name])
    # on the finer grid a smaller quiet spot is taken for a border
    close(b["sigma"], a["sigma"], rel=0.02)
    # averaged back to the pixels of 2 arcsec
    for name in ("pil_length", "pil_gradient"):
        close(b[name], a[name])


@quick
@given(st.integers(0, 10_000))
def test_doubling_the_scale(seed):
    fields = fields_of(seed)
    a, b = measure(fields, (1.5, 1.4)), measure(fields, (3.0, 2.8))
    for name in ("tuf", "tpf", "tnf", "net_flux", "area", "r"):
        close(b[name], 4 * a[name], rel=1e-6, floor=0)
    for name in ("psep", "separation", "pil_length"):
        close(b[name], 2 * a[name])
    for name in ("tilt", "polarity", "imbalance", "sigma", "alpha", "pil_gradient"):
        close(b[name], a[name])


@quick
@given(st.integers(0, 10_000))
def test_single_precision_is_enough(seed):
    """Definitions evaluated in float64 against what `measure` gives."""
    fields = fields_of(seed).float().double()
    scale = torch.tensor([[1.5, 1.4]], dtype=torch.float64).expand(2, 2)
    got = measure(fields, (1.5, 1.4), parameters(on_demand=True))
    for name, about in parameters(on_demand=True).items():
        # where the clipped pixels are the peak of the histogram, SIGMA is the width of one bin, and that to a tenth
        rel = torch.where(got["sigma"] < 2.0, 0.1, 1e-4).max().item() if name == "sigma" else 1e-4
        wanted = about.function(fields, scale)
        torch.testing.assert_close(got[name], wanted, rtol=rel, atol=1e-4, equal_nan=True, msg=name)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ValueError, match="positive and finite in both axes, got"):
        measure(np.zeros((4, 4)), scale)


def test_nothing_to_measure_gives_the_defined_value():
    """0 where there is none of it, NaN where it cannot be told; as docs/parameters.md says."""
    for field in (np.full((16, 16), np.nan), np.full((16, 16), np.inf), np.zeros((16, 16))):
        got = {k: v.item() for k, v in measure(field, (1.0, 1.0), parameters(on_demand=True)).items()}
        for name, about in parameters(on_demand=True).items():
            assert np.isnan(got[name]) if about.without.startswith("NaN") else got[name] == 0.0, name
