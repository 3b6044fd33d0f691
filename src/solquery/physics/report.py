"""Everything that is known of one observation: values, bias, error, what the header says, verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import SolqueryError
from ..patch import Patch
from .bipole_laws import Laws, laws
from .centres import flux_centres
from .keywords import HeaderValue, header_values
from .line_of_sight import RadialEstimate, radial_estimates
from .noise import ErrorEstimate, parameter_errors
from .observed import measure_within, region_window
from .quiet import NoiseModel, estimate_noise
from .registry import get_parameter, parameters
from .sharp import measure_active, measure_region
from .systematic import Systematic, systematics

__all__ = ["PatchReport", "describe_patch"]


@dataclass(frozen=True)
class PatchReport:
    """What `describe_patch` finds; numbers in each parameter's own unit.

    Attributes
    ----------
    values
        Parameter to value.
    errors
        Parameter to bias and standard error; empty where errors were not asked for or the noise is not known.
    systematic
        Parameter to what the inversion of HMI adds to it apart from noise (`systematics`), in no part of `errors`.
    noise
        The model of the noise that the errors come from, or None.
    noise_fault
        Why there is none, in a sentence; empty where there is one.
    header
        Parameter to the value of the header, with the reason for a difference.
    active, region
        Parameters over the pixels of a bitmap: active ones, and all of the region; empty without a bitmap.
    centres
        PSEP, AXIS, TILT and POL by the header's definition of the polarities' centres (`flux_centres`); empty without a
        bitmap.
    radial
        For a line-of-sight field: estimates of the radial values; empty where they cannot be estimated.
    laws
        Verdicts on Joy's and Hale's laws.
    """

    values: dict[str, float]
    errors: dict[str, ErrorEstimate] = field(default_factory=dict)
    systematic: dict[str, Systematic] = field(default_factory=dict)
    noise: NoiseModel | None = None
    noise_fault: str = ""
    header: dict[str, HeaderValue] = field(default_factory=dict)
    active: dict[str, float] = field(default_factory=dict)
    region: dict[str, float] = field(default_factory=dict)
    centres: dict[str, float] = field(default_factory=dict)
    radial: dict[str, RadialEstimate] = field(default_factory=dict)
    laws: Laws | None = None


def describe_patch(
    patch: Patch,
    names: Iterable[str] | None = None,
    noise_gauss: float | None = None,
    errors: bool = True,
    bitmap: Any = None,
    seed: int = 0,
) -> PatchReport:
    """Measure one observation with all that qualifies the numbers.

    Parameters
    ----------
    patch
        What to measure.
    names
        Which parameters; None for all, those on demand too.
    noise_gauss
        Level of the noise in every pixel, G, correlated as the patch's quiet pixels are; None estimates it from them.
    errors
        False leaves out bias and errors, which take most of the time.
    bitmap
        (H, W) segment ``bitmap`` of the SHARP: the parameters over its active pixels and over its region are added.
    seed
        Of the draws that the errors come from.

    Raises
    ------
    ValueError
        Where every pixel is missing, or the bitmap has another shape.
    """
    if not np.isfinite(patch.field).any():
        raise ValueError("every pixel is missing; there is nothing to measure")
    wanted = [get_parameter(n).name for n in names] if names is not None else list(parameters(on_demand=True))
    window = region_window(patch)
    values = _plain(measure_within(patch.field, patch.scale_mm, wanted, window))
    noise, fault, found = None, "", {}
    if errors:
        try:
            noise = estimate_noise(patch.field, patch.scale_mm, patch.quantity)
        except SolqueryError as error:
            fault = str(error)
        if noise_gauss is not None:
            noise = (noise or NoiseModel(1.0)).at_level(noise_gauss)
        if noise is not None:
            fault = ""
            everything = {*wanted, "axis_angle"}
            found = parameter_errors(patch.field, patch.scale_mm, noise, everything, seed=seed, window=window)
    over = [{}, {}] if bitmap is None else [
        _plain(f(patch.field, bitmap, patch.scale_mm, wanted)) for f in (measure_active, measure_region)
    ]  # fmt: skip
    physical = patch.scale_mm is not None
    known = {n: v - found[n].bias if n in found and np.isfinite(found[n].bias) else v for n, v in values.items()}
    return PatchReport(
        values=values,
        errors={n: found[n] for n in wanted if n in found},
        systematic=systematics(patch, wanted, known) if physical and errors else {},
        noise=noise,
        noise_fault=fault,
        header={n: h for n, h in header_values(patch.keywords, patch.quantity).items() if physical and n in values},
        active=over[0],
        region=over[1],
        centres=_centres(patch, bitmap, wanted),
        radial=_radial(patch, wanted),
        laws=laws(patch, found.get("axis_angle", ErrorEstimate(0.0, float("inf")) if fault else None)),
    )


def _plain(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(v[0]) for name, v in values.items()}


def _centres(patch: Patch, bitmap: Any, wanted: list[str]) -> dict[str, float]:
    if bitmap is None:
        return {}
    try:
        return {n: v for n, v in flux_centres(patch, bitmap).values().items() if n in wanted}
    except SolqueryError:
        return {}


def _radial(patch: Patch, wanted: list[str]) -> dict[str, RadialEstimate]:
    if patch.quantity != "line-of-sight":
        return {}
    try:
        return {n: e for n, e in radial_estimates(patch).items() if n in wanted}
    except SolqueryError:
        return {}
