"""A process that measures a few patches does without the kernels, and gets the same numbers but for rounding."""

from __future__ import annotations

import numpy as np
import pytest

from solquery.physics import fast, measure


@pytest.fixture(autouse=True)
def nothing_spared():
    yield
    fast.spare(0)


def test_spared_patches_are_measured_by_the_definitions_and_counted(monkeypatch):
    if not fast.available():
        pytest.skip("numba is missing")
    used = []
    kernels = fast.measure_fast
    monkeypatch.setattr(fast, "measure_fast", lambda *a: used.append(len(a[0])) or kernels(*a))
    fields = np.random.default_rng(3).normal(0, 150, (3, 48, 64)).astype(np.float32)
    quick = measure(fields, (1.8, 1.8))
    assert used == [3]
    fast.spare(5)
    slow = measure(fields, (1.8, 1.8))
    assert used == [3]
    for name, values in quick.items():
        np.testing.assert_allclose(slow[name], values, rtol=1e-6, atol=1e-6, equal_nan=True, err_msg=name)
    measure(fields, (1.8, 1.8))  # more than are left: from here on the kernels are worth loading
    measure(fields[:1], (1.8, 1.8))
    assert used == [3, 3, 1]
