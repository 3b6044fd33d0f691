"""Settings from untrusted values: a JSON file, the command line."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar, cast

from ..aliases import Document
from .generator import GeneratorConfig, for_its_method
from .renamed import with_current_names

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["validated"]


_T = TypeVar("_T", bound="DataclassInstance")


def validated(kind: type[_T], values: Document) -> _T:
    """An instance of the settings class `kind` from untrusted `values`, checked and converted by pydantic.

    Names that settings had before are understood (`RENAMED`). A `GeneratorConfig` becomes one of its loss's class.

    Raises
    ------
    ValueError
        Naming each field that is unknown or does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    if issubclass(kind, GeneratorConfig):
        of_method, values = for_its_method(values)
        kind = cast("type[_T]", of_method)
    values = with_current_names(values)
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{kind.__name__} has no setting {', '.join(unknown)}; it has: {', '.join(sorted(known))}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{kind.__name__}: {where + ': ' if where else ''}{first['msg']}") from None
