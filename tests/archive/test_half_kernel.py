"""A field in 16 bits and what its row tells of it: the compiled pass gives what numpy gives, to the bit."""

import sys

import numba  # noqa: F401  (the compiled pass is used where it is loaded)
import numpy as np
import pytest

from solquery.archive import records
from solquery.archive.records import CLIP_GAUSS, encode_field


def fields():
    rng = np.random.default_rng(0)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    exact = halves[np.isfinite(halves)]
    bits = exact.view(np.uint32).astype(np.int64)
    # beside each number of 16 bits, and beside the middle between it and the next
    beside = np.concatenate([bits + step for step in (-2, -1, 1, 2, 4095, 4096, 4097)]).clip(0, 2**32 - 1)
    near = beside.astype(np.uint32).view(np.float32)
    any_bits = rng.integers(0, 2**32, 2**16, dtype=np.uint32).view(np.float32)
    small = rng.normal(0, 1e-6, 2**16).astype(np.float32)
    missing = np.where(rng.random(2**16) < 0.1, np.nan, rng.normal(0, 900, 2**16)).astype(np.float32)
    some = {"exact": exact, "near": near, "any": any_bits, "small": small, "missing": missing}
    return {name: values[~(np.abs(values) > records.LARGEST_GAUSS) | np.isinf(values)] for name, values in some.items()}


@pytest.mark.parametrize(("name", "values"), fields().items())
def test_the_compiled_pass_gives_what_numpy_gives(name, values, monkeypatch):
    field = values[: len(values) // 2 * 2].reshape(2, -1)
    known = np.isfinite(field)
    expected = (
        encode_field(np.where(known, field, np.float32(np.nan))), int(known.sum()),
        int((np.abs(field[known]) > CLIP_GAUSS).sum()), float(np.abs(field[known]).max()),
    )  # fmt: skip
    assert records._encoded(field) == expected
    assert records._encoded(np.asfortranarray(field)) == expected
    monkeypatch.delitem(sys.modules, "numba")
    assert records._encoded(field) == expected


def test_a_field_without_a_number_has_none(monkeypatch):
    nothing = np.full((2, 3), np.inf, np.float32)
    assert records._encoded(nothing)[1:3] == (0, 0)
    monkeypatch.delitem(sys.modules, "numba")
    assert records._encoded(nothing)[1:3] == (0, 0)
