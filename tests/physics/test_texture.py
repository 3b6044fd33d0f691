"""SIGMA, ALPHA and GRAD against fields made to have a known value."""

import numpy as np
import pytest
import torch

from solquery.physics import measure
from solquery.physics.texture import basis_arrays, fit_gaussian, radial_power, without_empty

torch.set_num_threads(1)


def power_law(shape, exponent, seed, pixel=(1.0, 1.0), rings=False):
    """Random phases under an isotropic power spectrum f^exponent, constant within rings of one cycle if asked."""
    ky, kx = np.fft.fftfreq(shape[0], pixel[0])[:, None], np.fft.fftfreq(shape[1], pixel[1])[None, :]
    frequency = np.hypot(ky, kx)
    frequency[0, 0] = 1.0
    if rings:
        frequency = np.rint(frequency * max(shape))
        frequency[0, 0] = 1.0
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=shape))
    spectrum = noise / np.abs(noise) * frequency ** (exponent / 2)
    spectrum[0, 0] = 0.0
    field = np.fft.ifft2(spectrum).real
    return 100.0 * field / field.std()


@pytest.mark.parametrize("exponent", [-1.0, -1.6, -2.2, -3.0])
def test_alpha_of_a_power_law(exponent):
    fields = np.stack([power_law((128, 128), exponent, seed, rings=True) for seed in range(3)])
    np.testing.assert_allclose(measure(fields, names="alpha")["alpha"], exponent, rtol=1e-4)
    # modes of the innermost rings lie off the ring's middle, which flattens a continuous law by 3 per cent
    smooth = np.stack([power_law((128, 128), exponent, seed) for seed in range(3)])
    np.testing.assert_allclose(measure(smooth, names="alpha")["alpha"], exponent, rtol=0.04)


def test_alpha_is_isotropic_on_the_sun_where_pixels_are_not_square():
    stretched = power_law((128, 128), -2.0, 5, pixel=(1.07, 2.12))
    assert measure(stretched, (1.07, 2.12), "alpha")["alpha"].item() == pytest.approx(-2.0, abs=0.05)
    long = power_law((80, 230), -2.0, 6)
    assert measure(long, names="alpha")["alpha"].item() == pytest.approx(-2.0, abs=0.05)


def test_alpha_takes_each_patch_at_its_own_scale():
    fields = np.stack([power_law((64, 64), -2.0, s) for s in range(4)])
    scale = np.array([[1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [1.0, 2.0]])
    together = measure(fields, scale, "alpha")["alpha"]
    alone = [measure(f, s, "alpha")["alpha"].item() for f, s in zip(fields, scale, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


@pytest.mark.parametrize("shape", [(32, 32), (31, 45), (128, 128)])
def test_radial_power_agrees_with_the_full_transform(shape):
    fields = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    frequency, power = radial_power(fields)
    longest = max(shape)
    ky, kx = np.fft.fftfreq(shape[0]) * longest, np.fft.fftfreq(shape[1]) * longest
    ring = np.rint(np.hypot(ky[:, None], kx[None, :])).astype(int)
    full = np.abs(np.fft.fft2(fields.numpy())) ** 2
    assert len(frequency) == min(25, longest // 2)
    for k in range(len(frequency)):
        np.testing.assert_allclose(power[:, k], full[:, ring == k + 1].mean(1), rtol=1e-4)


def test_alpha_is_unknown_for_a_constant_field():
    assert torch.isnan(measure(np.full((64, 64), 731.3), names="alpha")["alpha"]).all()


@pytest.mark.parametrize("width", [1.0, 3.0, 9.0, 40.0, 120.0])
@pytest.mark.parametrize("mean", [0.0, -13.0])
def test_sigma_of_gaussian_noise(width, mean):
    field = np.random.default_rng(4).normal(mean, width, (256, 256))
    assert measure(field, names="sigma")["sigma"].item() == pytest.approx(width, rel=0.02)


def test_sigma_follows_the_core_and_not_the_spots():
    field = np.random.default_rng(0).normal(0, 10, (128, 128))
    field[30:60, 20:50] += 1500
    field[70:100, 70:110] -= 1500
    assert np.std(field) > 400
    # the density has area one, so the eighth of the pixels in spots widens it a little
    assert measure(field, names="sigma")["sigma"].item() == pytest.approx(10, rel=0.15)


def test_sigma_leaves_missing_pixels_out():
    field = np.random.default_rng(1).normal(0, 20, (100, 100))
    field[:, :45] = np.nan
    assert measure(field, names="sigma")["sigma"].item() == pytest.approx(20, rel=0.04)


@pytest.mark.parametrize("field", [np.zeros((16, 16)), np.full((16, 16), np.nan), np.full((16, 16), 4000.0)])
def test_sigma_is_unknown_where_the_field_fills_one_bin(field):
    assert torch.isnan(measure(field, names="sigma")["sigma"]).all()


@pytest.mark.parametrize("name", ["sigma", "sigma_zero"])
def test_sigma_is_unknown_where_all_but_a_pixel_lie_in_one_bin(name):
    field = np.where(np.indices((64, 64)).sum(0) % 2, 1.0, -1.0)  # not empty, and all in the bin about zero
    field[4, 5] = 700.0
    assert torch.isnan(measure(field, names=name)[name]).all()


def test_sigma_of_mean_zero_is_the_least_squares_minimum_and_the_other_fits_the_mean():
    from scipy.optimize import minimize_scalar
    from scipy.stats import norm

    rng = np.random.default_rng(3)
    fields = rng.normal(0.0, 15.0, (3, 128, 128))
    fields[1] += 12.0
    fields[2, 40:60, 40:80] += 800.0
    got = measure(fields, names=["sigma", "sigma_zero"])
    assert got["sigma"][1].item() == pytest.approx(15.0, rel=0.03)
    edges = np.arange(-1001, 1002, 2.0)
    for k, field in enumerate(fields):
        density = np.histogram(field.clip(-1000, 1000), edges)[0] / field.size / 2

        def cost(width, density=density):
            return np.sum((np.diff(norm.cdf(edges, 0.0, width)) / 2 - density) ** 2)

        best = minimize_scalar(cost, bounds=(1.0, 200.0), method="bounded", options={"xatol": 1e-7}).x
        assert got["sigma_zero"][k].item() == pytest.approx(best, rel=1e-3)
    assert got["sigma_zero"][1] > 1.15 * got["sigma"][1]


def test_fit_recovers_exact_densities_of_any_width():
    edges = torch.arange(-501, 502, 2, dtype=torch.float64)
    means = torch.tensor([0.0, 30.0, -80.0, 3.0], dtype=torch.float64)
    widths = torch.tensor([0.7, 5.0, 60.0, 150.0], dtype=torch.float64)
    normal = torch.distributions.Normal(means[:, None], widths[:, None])
    counts = normal.cdf(edges[None, :]).diff(dim=1) * 1e5
    mean, sigma = fit_gaussian(counts, edges)
    torch.testing.assert_close(sigma, widths, rtol=2e-3, atol=0)
    torch.testing.assert_close(mean, means, rtol=1e-3, atol=1e-2)


def test_fit_is_the_least_squares_minimum():
    """No nearby mean or width fits a real-looking histogram better."""
    from scipy.optimize import minimize
    from scipy.stats import norm

    rng = np.random.default_rng(7)
    sample = np.concatenate([rng.normal(2, 12, 9000), rng.laplace(0, 150, 4000)])
    edges = np.arange(-1001, 1002, 2.0)
    counts = np.histogram(sample.clip(-1000, 1000), edges)[0].astype(float)
    density = counts / counts.sum() / 2

    def cost(p):
        return 1e4 * np.sum((np.diff(norm.cdf(edges, p[0], np.exp(p[1]))) / 2 - density) ** 2)

    best = minimize(cost, [0.0, np.log(15.0)], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12}).x
    mean, sigma = fit_gaussian(torch.tensor(counts)[None], torch.tensor(edges))
    assert mean.item() == pytest.approx(best[0], abs=1e-2)
    assert sigma.item() == pytest.approx(np.exp(best[1]), rel=1e-3)


def test_grad_of_a_ramp():
    y, x = np.mgrid[:30, :50].astype(float)
    ramp = 3.0 * y + 4.0 * x - 70.0
    assert measure(ramp, names="grad")["grad"].item() == pytest.approx(5.0, rel=1e-6)
    # G per Mm: each axis has its own scale
    expected = np.hypot(3.0 / 0.5, 4.0 / 2.0)
    assert measure(ramp, (0.5, 2.0), "grad")["grad"].item() == pytest.approx(expected, rel=1e-6)


def test_grad_agrees_with_numpy():
    field = np.random.default_rng(3).normal(0, 100, (37, 52))
    gy, gx = np.gradient(field)
    assert measure(field, names="grad")["grad"].item() == pytest.approx(np.hypot(gy, gx).mean(), rel=1e-5)


def test_sigma_does_not_see_the_border_of_a_grid_that_reaches_beyond_the_observation():
    """The same noise in a corner of an empty grid: exactly empty, and as faint as a generator leaves it."""
    rng = torch.Generator().manual_seed(8)
    noise = 12.0 * torch.randn(2, 128, 128, generator=rng)
    alone = measure(noise[:, :60, :80], names="sigma")["sigma"]
    for faint in (0.0, 0.3):
        border = faint * torch.randn(2, 128, 128, generator=rng)
        border[:, 20:80, 10:90] = noise[:, :60, :80]
        torch.testing.assert_close(measure(border, names="sigma")["sigma"], alone, rtol=0.06, atol=0.0)


def test_gaps_are_closed_and_borders_are_not_widened():
    field = torch.zeros(1, 12, 12)
    field[0, 4, 3], field[0, 4, 6] = 1.0, -2.0  # two pixels apart
    known = torch.isfinite(without_empty(field))[0]
    assert known.nonzero().tolist() == [[4, 3], [4, 4], [4, 5], [4, 6]]
    assert torch.isnan(without_empty(torch.zeros(1, 9, 9))).all()
    assert torch.isfinite(without_empty(torch.full((1, 9, 9), 3.0))).all()


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (4, 4), (7, 9), (8, 5), (13, 40), (41, 6), (96, 193), (97, 192)])
def test_the_compiled_waves_are_the_products_with_cosines_and_sines(shape):
    kernels = pytest.importorskip("solquery.physics.kernels_alpha")
    rows, columns = (waves.astype(np.float32) for waves in basis_arrays(*shape, 1.0, 25)[:2])
    field = np.random.default_rng(0).normal(5, 200, shape).astype(np.float32)
    even, odd = np.full((2, 4, shape[1]), np.nan, np.float32)
    half, out = np.empty((rows.shape[1], shape[1]), np.float32), np.empty((rows.shape[1], columns.shape[1]), np.float32)
    kernels._waves(field, np.float32(5.0), rows, columns, even, odd, half, out)
    expected = rows.T.astype(float) @ (field - 5.0).astype(float) @ columns.astype(float)
    np.testing.assert_allclose(out, expected, atol=3e-6 * np.abs(expected).max())
