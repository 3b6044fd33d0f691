"""What can be translated into what: the kinds of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SolqueryError

__all__ = ["KINDS", "Kind", "TranslationError", "kind_of"]


class TranslationError(SolqueryError, ValueError):
    """A translation cannot do what was asked; the message says why and what can be done."""


@dataclass(frozen=True)
class Kind:
    """One kind of translation.

    Attributes
    ----------
    name
        E.g. ``los-to-radial``.
    given, wanted
        What the map reads and what it makes, in words.
    quantity
        Of the result: ``radial`` or ``line-of-sight``.
    reads
        Quantity of a patch that the map reads.
    where
        Pixels that it changes: ``all``, ``missing`` or ``saturated``.
    angle
        Whether it depends on the heliocentric angle, so that a patch must say where it was observed.
    """

    name: str
    given: str
    wanted: str
    reads: str
    quantity: str
    where: str = "all"
    angle: bool = True


_LOS, _BR = "line-of-sight", "radial"

#: name to kind
KINDS = {
    kind.name: kind
    for kind in (
        Kind("los-to-radial", "line-of-sight field of HMI", "radial field of HMI", _LOS, _BR),
        Kind("radial-to-los", "radial field of HMI", "line-of-sight field of HMI", _BR, _LOS),
        Kind("mdi-to-hmi", "line-of-sight field of MDI", "line-of-sight field of HMI", _LOS, _LOS),
        Kind("hmi-to-mdi", "line-of-sight field of HMI", "line-of-sight field of MDI", _LOS, _LOS),
        Kind("limb-to-clean", "radial field with noise", "radial field without noise or foreshortening", _BR, _BR),
        Kind("missing-to-filled", "radial field with a block missing", "the whole field", _BR, _BR, "missing", False),
        Kind(
            "saturated-to-unsaturated", "radial field, clipped", "radial field, not clipped", _BR, _BR, "saturated",
            False,
        ),
    )
}  # fmt: skip


def kind_of(name: str) -> Kind:
    """The kind of that name.

    Raises
    ------
    TranslationError
        Listing the kinds that there are.
    """
    if name not in KINDS:
        raise TranslationError(f"there is no kind of translation {name!r}; there are: {', '.join(KINDS)}")
    return KINDS[name]
