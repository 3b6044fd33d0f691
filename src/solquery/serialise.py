"""Results as JSON: values with their units, plain types, and the keys that had another name before."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import Any, SupportsFloat

from .aliases import Document

__all__ = ["OLD_NAMES", "finite", "json_text", "plain", "quantity", "with_old_names"]

#: key of a document, and the name that it had before; both are written for one release
OLD_NAMES = {
    "correlation": "overlay",
    "measured": "got",
    "model": "bundle",
    "models": "bundles",
    "requested": "asked",
    "rerank": "verify",
    "visual_similarity": "likeness",
    "visual_similarity_queries": "likeness_queries",
}


def plain(value: object) -> Any:
    """`value` as JSON can hold it: numbers of numpy and torch unwrapped, NaN and infinity as null, dates as text."""
    kind = type(value)  # what most of a document is made of, without a look at what else it could be
    if kind is float:
        return value if math.isfinite(value) else None  # type: ignore[arg-type]
    if value is None or kind in (str, int, bool):
        return value
    if hasattr(value, "tolist") and not isinstance(value, str | bytes):  # numpy array or scalar, torch tensor
        value = value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def finite(value: SupportsFloat | None) -> float | None:
    """A number as JSON can hold it: None for NaN, infinity and what is not known."""
    return float(value) if value is not None and math.isfinite(float(value)) else None


def quantity(value: SupportsFloat | None, unit: str, **more: object) -> Document:
    """A value with its unit; unknown ones (None, NaN) become null.

    >>> quantity(3e22, "Mx")
    {'value': 3e+22, 'unit': 'Mx'}
    """
    return {"value": finite(value), "unit": unit, **more}


def with_old_names(document: object) -> Any:
    """A document whose renamed keys stand under their old names as well.

    >>> with_old_names({"answers": [{"requested": {"tuf": 1.0}}]})
    {'answers': [{'requested': {'tuf': 1.0}, 'asked': {'tuf': 1.0}}]}
    """
    if isinstance(document, list):
        return [with_old_names(part) for part in document]
    if not isinstance(document, dict):
        return document
    out = {key: with_old_names(value) for key, value in document.items()}
    return out | {old: out[new] for new, old in OLD_NAMES.items() if new in out and old not in out}


def json_text(document: object, indent: int = 2) -> str:
    """The document as JSON for a user, without a line break at its end."""
    return json.dumps(with_old_names(plain(document)), indent=indent, ensure_ascii=False, allow_nan=False)
