"""Physical parameters of magnetic patches: definitions, units and batched measurement.

``measure(fields, scale_mm)`` gives every registered parameter; `parameter` adds one, in a file of your own too
(`load_plugin`). `quantities` and `qtable` give astropy Quantities, `parameter_errors` bias and standard error, `laws`
verdicts on Hale's and Joy's laws, and `describe_patch` all of it for one observation.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# importing a module of definitions is what registers them; their order here is that of every table
from ..plugins import PluginError, load_from_environment, load_plugin, plugin_names

# isort: off
from . import region  # FLUX is the first parameter
from . import fast, geometry, integral, inversion_lines, registry, schrijver, texture, sigma_zero, transport

# isort: on
from .registry import (
    DuplicateParameter,
    Parameter,
    UnknownParameter,
    get_parameter,
    measure,
    measure_arrays,
    measure_on_grid,
    parameter,
    parameters,
    unit_of,
)

__all__ = [
    "DuplicateParameter",
    "ErrorEstimate",
    "FluxCentres",
    "Laws",
    "NoiseModel",
    "Parameter",
    "PatchReport",
    "PluginError",
    "RadialEstimate",
    "Systematic",
    "UnknownParameter",
    "Verdict",
    "describe_patch",
    "estimate_noise",
    "flux_centres",
    "geometry",
    "get_parameter",
    "hale",
    "header_values",
    "integral",
    "inversion_lines",
    "joy",
    "laws",
    "load_plugin",
    "measure",
    "measure_active",
    "measure_arrays",
    "measure_on_grid",
    "measure_patch",
    "measure_region",
    "parameter",
    "parameter_errors",
    "parameters",
    "plugin_names",
    "qtable",
    "quantities",
    "radial_estimates",
    "region",
    "region_window",
    "schrijver",
    "sigma_zero",
    "smooth_measure",
    "solar_cycle",
    "systematics",
    "texture",
    "transport",
    "uncertainty",
    "unit_of",
]

#: what is not needed for measuring is loaded when it is used
_HOME = {
    "ErrorEstimate": "noise",
    "Laws": "bipole_laws",
    "PatchReport": "report",
    "NoiseModel": "quiet",
    "RadialEstimate": "line_of_sight",
    "Verdict": "bipole_laws",
    "FluxCentres": "centres",
    "Systematic": "systematic",
    "systematics": "systematic",
    "flux_centres": "centres",
    "describe_patch": "report",
    "estimate_noise": "quiet",
    "hale": "bipole_laws",
    "header_values": "keywords",
    "joy": "bipole_laws",
    "laws": "bipole_laws",
    "measure_active": "sharp",
    "measure_patch": "observed",
    "measure_region": "sharp",
    "region_window": "observed",
    "parameter_errors": "noise",
    "qtable": "units",
    "quantities": "units",
    "radial_estimates": "line_of_sight",
    "smooth_measure": "smooth",
    "solar_cycle": "bipole_laws",
    "uncertainty": "noise",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


registry.accelerate(fast)
load_from_environment()
