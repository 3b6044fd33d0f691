"""The compiled kernels give what the definitions in torch give."""

import numpy as np
import pytest
import torch

from solquery.physics import fast, get_parameter, measure, measure_arrays, parameter, parameters, registry
from solquery.simulator import simulate_region

pytest.importorskip("numba")
torch.set_num_threads(1)


def in_torch(monkeypatch, *arguments):
    with monkeypatch.context() as m:
        m.setattr(fast, "available", lambda: False)
        return measure(*arguments)


def noisy(shape, seed, n=3):
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(0, 500, (n, 1, 6, 7)))
    smooth = torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[:, 0]
    return (smooth + torch.from_numpy(rng.normal(0, 20, (n, *shape)))).float()


@pytest.mark.parametrize("shape", [(128, 128), (31, 45), (57, 130), (7, 8), (2, 2)])
@pytest.mark.parametrize("scaled", [False, True])
def test_kernels_agree_with_torch(monkeypatch, shape, scaled):
    assert fast.available()
    fields = noisy(shape, seed=shape[0])
    fields[1, 0, 1], fields[2, 1, 1], fields[2, 0, 0] = torch.nan, torch.inf, -torch.inf
    scale = torch.tensor([[0.36, 0.36], [0.36, 0.5], [1.5, 1.45]]) if scaled else None
    names = list(parameters(on_demand=True))
    quick, slow = measure(fields, scale, names), in_torch(monkeypatch, fields, scale, names)
    for name in names:
        torch.testing.assert_close(quick[name], slow[name], rtol=1e-5, atol=1e-5, equal_nan=True, msg=name)


def test_kernels_agree_on_simulated_regions(monkeypatch):
    for k in range(3):
        (patch,) = simulate_region(11, k, 1)
        names = list(parameters(on_demand=True))
        quick = measure(patch.field, patch.scale_mm, names)
        slow = in_torch(monkeypatch, patch.field, patch.scale_mm, names)
        for name in names:
            torch.testing.assert_close(quick[name], slow[name], rtol=2e-6, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("field", [np.zeros((9, 9)), np.full((9, 9), 300.0), np.full((9, 9), np.nan)])
def test_kernels_agree_where_there_is_nothing(monkeypatch, field):
    quick, slow = measure(field), in_torch(monkeypatch, field)
    for name in parameters():
        torch.testing.assert_close(quick[name], slow[name], rtol=1e-6, atol=1e-9, equal_nan=True, msg=name)


def test_arrays_are_measured_as_tensors_are():
    fields = noisy((40, 61), 2, n=5).numpy()
    fields[1, 3, 4] = np.nan
    names = list(parameters(on_demand=True))
    arrays, tensors = measure_arrays(fields, (0.4, 0.36), names), measure(fields, (0.4, 0.36), names)
    for name in names:
        assert isinstance(arrays[name], np.ndarray)
        np.testing.assert_array_equal(arrays[name], tensors[name].numpy(), err_msg=name)
    with pytest.raises(ValueError, match="positive and finite"):
        measure_arrays(fields, (0.4, -1.0))
    with pytest.raises(ValueError, match="real numbers"):
        measure_arrays(fields.astype(complex))


def test_threads_share_the_patches_out():
    fields = noisy((64, 64), 5, n=37)
    one = measure(fields, (1.4, 1.4))
    torch.set_num_threads(2)
    try:
        two = measure(fields, (1.4, 1.4))
    finally:
        torch.set_num_threads(1)
    for name in parameters():
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=0, equal_nan=True)


def test_a_definition_that_a_user_replaces_is_the_one_measured(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    assert fast.covered([get_parameter("tuf")])
    parameter("tuf", "Mx", replace=True)(lambda fields, scale: fields.amax((1, 2)))
    assert not fast.covered([get_parameter("tuf")])
    assert measure(np.array([[1.0, 7.0], [2.0, 3.0]]), names="tuf")["tuf"].item() == 7.0


def test_without_numba_torch_measures(monkeypatch):
    monkeypatch.setenv("SOLQUERY_NUMBA", "0")
    fast._kernels.cache_clear()
    try:
        assert not fast.available()
        assert measure(np.full((4, 4), 200.0), names="tuf")["tuf"].item() == 3200.0
    finally:
        fast._kernels.cache_clear()


def test_kernels_agree_where_a_grid_reaches_beyond_the_observation(monkeypatch):
    """Empty borders, faint ones, holes and lone pixels: SIGMA leaves out the same pixels."""
    rng = np.random.default_rng(3)
    fields = np.zeros((5, 60, 70), np.float32)
    fields[0, 10:40, 20:60] = rng.normal(0, 30, (30, 40))
    fields[1, :35, :50] = rng.normal(0, 30, (35, 50))
    fields[1, 36:] = rng.normal(0, 0.2, (24, 70))
    fields[2] = rng.normal(0, 30, (60, 70))
    fields[2, 20:25, 30:35] = 0.0
    fields[2, 40:44, 10:60] = 0.0
    fields[2, :3, 40:50] = 0.0
    fields[3, 30, 40], fields[3, 31, 44], fields[3, 0, 0] = 5.0, -7.0, 40.0
    fields[4] = rng.normal(0, 0.75, (60, 70))
    fields[4, 5, 5] = np.nan
    quick, slow = measure(fields, names="sigma"), in_torch(monkeypatch, fields, None, "sigma")
    torch.testing.assert_close(quick["sigma"], slow["sigma"], rtol=1e-5, atol=1e-6, equal_nan=True)
    assert torch.isfinite(quick["sigma"][:3]).all()
