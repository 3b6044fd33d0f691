"""Physical parameters of magnetic patches: definitions, units and batched measurement.

``measure(fields, scale_mm)`` gives every registered parameter; `parameter` adds one.
"""

from __future__ import annotations

# importing a module of definitions is what registers them
from . import geometry, integral, texture
from . import inversion_lines as _inversion_lines  # noqa: F401
from . import transport as _transport  # noqa: F401
from .registry import (
    DuplicateParameter,
    Parameter,
    UnknownParameter,
    get_parameter,
    measure,
    parameter,
    parameters,
    unit_of,
)

__all__ = [
    "DuplicateParameter",
    "Parameter",
    "UnknownParameter",
    "geometry",
    "get_parameter",
    "integral",
    "measure",
    "parameter",
    "parameters",
    "texture",
    "unit_of",
]
