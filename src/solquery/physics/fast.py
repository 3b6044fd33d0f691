"""The heavy definitions once more, fused into one pass over each patch and compiled by numba, for the CPU.

`measure` uses them where numba is installed and the fields are in main memory; they give what the definitions in
torch give, within rounding, and the tests hold the two against each other. Numba is imported when the first patch is
measured. Kernels release the interpreter's lock; patches are shared out over as many threads as torch may use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ..patch import MX_PER_G_MM2

if TYPE_CHECKING:
    from .registry import Parameter

__all__ = ["available", "chosen_for", "covered", "measure_fast", "spare"]

_FLUX = ("tuf", "tpf", "tnf", "net_flux", "r")
_SCHRIJVER = ("r_schrijver", "r_value")


@cache
def _kernels() -> ModuleType | None:
    """The compiled kernels, or None where numba is missing or switched off (``SOLQUERY_NUMBA=0``)."""
    if os.environ.get("SOLQUERY_NUMBA", "1") == "0":
        return None
    try:
        from . import kernels
    except ImportError:
        return None
    return kernels


#: patches that are still to be measured without the kernels
_spared = 0


def spare(patches: int) -> None:
    """Measure the next so many patches by the definitions: what measures no more ends before the kernels are loaded.

    Values then differ by rounding from those of the kernels.
    """
    global _spared
    _spared = patches


def available() -> bool:
    """Whether the compiled kernels can be used."""
    return _kernels() is not None


def chosen_for(patches: int) -> bool:
    """Whether the kernels are to measure so many patches; those that are spared (`spare`) are counted down."""
    global _spared
    _spared = _spared - patches if patches <= _spared else 0
    return not _spared and available()


@cache
def _originals() -> dict[str, object]:
    """Name to the definition in torch that a kernel stands for."""
    from . import geometry, integral, inversion_lines, region, schrijver, sigma_zero, texture, transport

    modules = {
        region: ("flux", "flux_area"),
        integral: ("tuf", "tpf", "tnf", "net_flux", "area", "imbalance"),
        geometry: ("psep", "tilt", "polarity", "axis_angle", "r"),
        texture: ("sigma", "grad", "alpha"),
        sigma_zero: ("sigma_zero",),
        inversion_lines: ("pil_length", "pil_gradient"),
        transport: ("separation",),
        schrijver: _SCHRIJVER,
    }
    return {name: getattr(module, name) for module, names in modules.items() for name in names}


def covered(chosen: Iterable[Parameter]) -> list[Parameter]:
    """Those of the parameters that the kernels measure: not the ones whose definition a user has replaced."""
    return [p for p in chosen if _originals().get(p.name) is p.function]


@lru_cache(maxsize=32)
def _basis(height: int, width: int, ratio: float) -> tuple[np.ndarray, ...]:
    """What `kernels_alpha.slopes` wants to know of a grid."""
    from .texture import ALPHA_CYCLES, basis_arrays

    rows, columns, member = basis_arrays(height, width, ratio, ALPHA_CYCLES)
    weight = member.max(2)
    ring = np.where(weight > 0, member.argmax(2), -1)
    frequency = np.log(np.arange(1.0, member.shape[2] + 1))
    return rows.astype(np.float32), columns.astype(np.float32), ring, weight, frequency


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="measure")


def _own(
    clean: np.ndarray, part: slice, layouts: list[tuple[int, int, int, float, float]], kind: np.ndarray, own: np.ndarray
) -> None:
    """Sums of the regions' own field over the patches of `part`, into `own` (N, 2)."""
    from .kernels_flux import own_sums

    for k, layout in enumerate(layouts):
        which = np.flatnonzero(kind[part] == k)
        if len(which):
            own_sums(clean[part], which, *layout, own[part])


def _layouts(scale: np.ndarray | None, n: int) -> tuple[list[tuple[int, int, int, float, float]], np.ndarray]:
    """What `kernels_flux.own_sums` wants to know of each kind of scale, and the kind (N,) of each patch."""
    from .region import DENSITY_MM, layout, steps

    kinds, which = np.unique(steps(scale, n), axis=0, return_inverse=True)
    out = []
    for y_mm, x_mm in kinds.tolist():
        by, bx, reach = layout((y_mm, x_mm))
        out.append((by, bx, reach, DENSITY_MM / (by * y_mm), DENSITY_MM / (bx * x_mm)))
    return out, which.reshape(-1)


def _threads() -> int:
    """As many as torch may use; where it is not loaded, as it would choose."""
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdigit() and int(said) else len(os.sched_getaffinity(0))


def measure_fast(
    fields: np.ndarray, scale: np.ndarray | None, names: set[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Covered parameters of fields (N, H, W) float32, with scale (N, 2) float64 or None.

    Returns
    -------
    Name to (N,) float64, and the fields with 0 G where a pixel is missing, which other definitions can go on with.
    """
    kernels = _kernels()
    assert kernels is not None
    raw = np.ascontiguousarray(fields)
    n = len(raw)
    clean = np.empty_like(raw)
    steps = np.ones((n, 2)) if scale is None else np.ascontiguousarray(scale, dtype=np.float64)
    sums = np.zeros((n, kernels.COLUMNS))
    lines = bool(names & {"pil_length", "pil_gradient"})
    flags = ("sigma" in names, "grad" in names, "r" in names, lines, "separation" in names)
    from .geometry import R_DILATION_PX
    from .inversion_lines import LINE_DILATION_PX, block_px
    from .kernels_alpha import slopes

    blocks = block_px(scale, n)
    reach = (R_DILATION_PX if scale is None else LINE_DILATION_PX) // 2

    # anisotropy of the grid, by which the rings of ALPHA are drawn
    ratios, kind = np.unique(steps[:, 0] / steps[:, 1], return_inverse=True)
    bases = [_basis(*raw.shape[1:], float(ratio)) for ratio in ratios] if "alpha" in names else []
    own = np.zeros((n, 2))
    layouts, like = _layouts(scale, n) if names & {"flux", "flux_area"} else ([], np.zeros(n, dtype=np.int64))

    def work(part: slice) -> None:
        kernels.measure_patches(raw[part], clean[part], steps[part], blocks[part], reach, sums[part], *flags)
        for k, basis in enumerate(bases):
            which = np.flatnonzero(kind[part] == k)
            if len(which):
                slopes(clean[part], which, *basis, sums[part])
        _own(clean, part, layouts, like, own)

    threads = min(_threads(), n)
    if threads > 1 and raw.size > 2**16:
        edges = np.linspace(0, n, threads + 1).astype(int)
        list(_pool(threads).map(work, [slice(a, b) for a, b in pairwise(edges)]))
    else:
        work(slice(0, n))
    got = {name: values for name, values in _finished(sums, own, scale, kernels).items() if name in names}
    if wanted := names & set(_SCHRIJVER):
        from .schrijver import of_arrays

        got |= {name: values for name, values in of_arrays(clean, scale).items() if name in wanted}
    if "sigma_zero" in names:
        from .sigma_zero import of_arrays as about_zero

        got["sigma_zero"] = about_zero(raw, clean)
    return got, clean


def _finished(
    sums: np.ndarray, own: np.ndarray, scale: np.ndarray | None, kernels: ModuleType
) -> dict[str, np.ndarray]:
    """Parameters from the sums (N, COLUMNS) and (N, 2) that the kernels have made."""
    column = dict(zip(kernels.NAMES, sums.T, strict=True))
    pixel = np.ones(len(sums)) if scale is None else scale[:, 0] * scale[:, 1]
    y_mm, x_mm = (1.0, 1.0) if scale is None else scale.T
    flux = pixel * MX_PER_G_MM2 if scale is not None else pixel
    out = {name: column[name] * flux for name in _FLUX}
    out |= {"area": column["count"] * pixel, "flux": own[:, 0] * flux, "flux_area": own[:, 1] * pixel}
    with np.errstate(invalid="ignore", divide="ignore"):
        dy = (column["plus_y"] / column["tpf"] - column["minus_y"] / column["tnf"]) * y_mm
        dx = (column["plus_x"] / column["tpf"] - column["minus_x"] / column["tnf"]) * x_mm
        both = (column["tpf"] > 0) & (column["tnf"] > 0)
        out["imbalance"] = np.where(both, np.abs(column["net_flux"]) / column["tuf"], np.nan)
        out["psep"] = np.hypot(dy, dx)
        leads = np.where(dx == 0, np.nan, np.sign(dx))
        out["polarity"] = leads
        out["tilt"] = np.degrees(np.arctan2(dy * leads, dx * leads))
        apart = np.where((dy == 0) & (dx == 0), np.nan, 1.0)
        out["axis_angle"] = np.degrees(np.arctan2(dy, dx)) * apart
    out |= {name: column[name] for name in ("sigma", "grad", "pil_length", "pil_gradient", "separation", "alpha")}
    return {name: np.ascontiguousarray(values) for name, values in out.items()}
