"""Asking for a patch: numbers, or words such as "strong, widely separated bipole, leading polarity negative"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document, Entries
from ..physics import get_parameter, unit_of
from ..serialise import quantity
from .directions import Directions
from .latents import SteeringError

if TYPE_CHECKING:
    from astropy.units import Quantity

__all__ = [
    "DERIVED", "VOCABULARY", "Derived", "Target", "UnknownWord", "as_target", "in_grid_unit", "measured_names",
    "number_or_quantity", "parse_description", "quantities", "unit_of_target", "vocabulary", "with_derived",
]  # fmt: skip


class UnknownWord(SteeringError):
    """A word of a description that is not in the vocabulary."""


@dataclass(frozen=True)
class Target:
    """One thing asked of a patch.

    Attributes
    ----------
    name
        A parameter, or one of `DERIVED`.
    value
        As `generate` takes numbers: in Mx and Mm at native scale, of a calibrated model.
    relation
        ``"="``, or a limit: ``"<="``, ``">="``.
    word
        The word it comes from; empty for a number.
    """

    name: str
    value: float
    relation: str = "="
    word: str = ""

    def __post_init__(self) -> None:
        if self.relation not in ("=", "<=", ">="):
            raise ValueError(f"relation must be '=', '<=' or '>=', got {self.relation!r}")
        if not np.isfinite(self.value):
            raise SteeringError(f"{self.name} was asked to be {self.value}; ask for a finite number")


@dataclass(frozen=True)
class Derived:
    """A quantity that words ask for and that is made of parameters; it has no direction of its own."""

    name: str
    needs: tuple[str, ...]
    #: parameters whose directions move it
    moved_by: tuple[str, ...]
    function: Callable[..., np.ndarray]
    unit: str
    meaning: str


DERIVED: dict[str, Derived] = {
    "imbalance": Derived(
        "imbalance",
        ("net_flux", "tuf", "psep"),
        ("net_flux", "tuf"),
        # unknown without both polarities: a patch of one sign is no bipole, and neither is an empty one
        lambda net, tuf, psep: np.where(np.isnan(psep), np.nan, np.abs(net) / np.where(tuf > 0, tuf, np.nan)),
        "",
        "|net flux| / TUF, where both polarities are present",
    ),
    "tilt_size": Derived("tilt_size", ("tilt",), ("tilt",), np.abs, "deg", "|tilt|"),
}

# phrase -> (name, how, number, meaning); how: percentile of the generated population, or a value with its relation
_Entry = tuple[str, str, float, str]

VOCABULARY: dict[str, _Entry] = {
    "very strong": ("tuf", "percentile", 98, "unsigned flux at its 98th percentile"),
    "strong": ("tuf", "percentile", 90, "unsigned flux at its 90th percentile"),
    "moderate": ("tuf", "percentile", 50, "median unsigned flux"),
    "weak": ("tuf", "percentile", 10, "unsigned flux at its 10th percentile"),
    "very weak": ("tuf", "percentile", 2, "unsigned flux at its 2nd percentile"),
    "widely separated": ("psep", "percentile", 90, "polarity separation at its 90th percentile"),
    "wide": ("psep", "percentile", 90, "polarity separation at its 90th percentile"),
    "compact": ("psep", "percentile", 10, "polarity separation at its 10th percentile"),
    "large": ("area", "percentile", 90, "area of strong field at its 90th percentile"),
    "small": ("area", "percentile", 10, "area of strong field at its 10th percentile"),
    "complex": ("r", "percentile", 90, "flux near inversion lines (R) at its 90th percentile"),
    "simple": ("r", "percentile", 10, "flux near inversion lines (R) at its 10th percentile"),
    "bipole": ("imbalance", "<=", 0.15, "both polarities, |net flux| at most 15 % of TUF"),
    "bipolar": ("imbalance", "<=", 0.15, "both polarities, |net flux| at most 15 % of TUF"),
    "balanced": ("imbalance", "<=", 0.15, "both polarities, |net flux| at most 15 % of TUF"),
    "unbalanced": ("imbalance", ">=", 0.4, "|net flux| at least 40 % of TUF"),
    "tilted": ("tilt_size", ">=", 20.0, "tilt of at least 20 degrees, either way"),
    "untilted": ("tilt_size", "<=", 5.0, "tilt of at most 5 degrees"),
    "leading polarity negative": ("polarity", "=", -1.0, "the negative polarity lies further west"),
    "negative leading polarity": ("polarity", "=", -1.0, "the negative polarity lies further west"),
    "leading negative": ("polarity", "=", -1.0, "the negative polarity lies further west"),
    "negative leading": ("polarity", "=", -1.0, "the negative polarity lies further west"),
    "negative polarity leading": ("polarity", "=", -1.0, "the negative polarity lies further west"),
    "leading polarity positive": ("polarity", "=", 1.0, "the positive polarity lies further west"),
    "positive leading polarity": ("polarity", "=", 1.0, "the positive polarity lies further west"),
    "leading positive": ("polarity", "=", 1.0, "the positive polarity lies further west"),
    "positive leading": ("polarity", "=", 1.0, "the positive polarity lies further west"),
    "positive polarity leading": ("polarity", "=", 1.0, "the positive polarity lies further west"),
}

_IGNORED = frozenset(
    ("a", "an", "and", "active", "field", "has", "having", "in", "is", "magnetic", "of", "one", "patch", "region")
)
_IGNORED |= {"regions", "that", "the", "which", "whose", "with"}


def vocabulary() -> dict[str, str]:
    """What `parse_description` understands: phrase to meaning."""
    return {phrase: entry[3] for phrase, entry in VOCABULARY.items()}


def measured_names(targets: Mapping[str, Target] | list[str]) -> list[str]:
    """Registered parameters that have to be measured to judge these names (derived ones give what they need)."""
    out: list[str] = []
    for name in targets:
        for needed in DERIVED[name].needs if name in DERIVED else (name,):
            if needed not in out:
                out.append(needed)
    return out


def with_derived(values: Mapping[str, np.ndarray], names: Entries | list[str]) -> dict[str, np.ndarray]:
    """The named quantities, derived ones computed, from measured parameters (N,)."""
    out = {}
    for name in names:
        derived = DERIVED.get(name)
        out[name] = derived.function(*(values[need] for need in derived.needs)) if derived else values[name]
    return out


def _check(name: str, directions: Directions) -> None:
    for needed in DERIVED[name].needs if name in DERIVED else (name,):
        directions.index(needed)


def in_grid_unit(name: str, asked: Quantity, physical: bool) -> float:
    """A quantity (astropy) as a number in the unit that generated patches are measured in.

    Raises
    ------
    SteeringError
        When its unit is of another kind, saying what fits.
    """
    import astropy.units as u

    wanted = unit_of_target(name, physical)
    try:
        return float(asked.to_value(u.Unit(wanted)))
    except (ValueError, TypeError, u.UnitConversionError):
        unit = str(asked.unit) or "no unit"
        raise SteeringError(
            f"{name} of a generated patch is in {wanted or 'no unit'}, not {unit}"
            + ("" if physical else "; its grid has no physical scale, choose a model of preset physical for Mx and Mm")
        ) from None


def number_or_quantity(name: str, text: str) -> float | Quantity:
    """A text as a number, or as a quantity of astropy where a unit stands behind it: ``"2e22 Mx"``, ``"40 Mm"``.

    Raises
    ------
    SteeringError
        When it is neither.
    """
    try:
        return float(text)
    except ValueError:
        pass
    import astropy.units as u

    try:
        return u.Quantity(text)
    except (TypeError, ValueError):
        raise SteeringError(f'{name} was asked to be {text!r}; ask for a number, or write e.g. "2e22 Mx"') from None


def as_target(name: str, asked: float | str | Quantity | Target, directions: Directions) -> Target:
    """A `Target` from a number, a quantity, a text such as ``"2e22 Mx"``, or a `Target`, as `generate` takes them.

    Raises
    ------
    UnknownParameter, NoDirection, SteeringError
        For a name that nobody registered or that has no direction; for a number that cannot be.
    """
    if name not in DERIVED and name not in directions.names:
        get_parameter(name)
    _check(name, directions)
    if isinstance(asked, Target):
        if asked.name != name:
            raise ValueError(f"the target of {name!r} is one for {asked.name!r}")
        target = asked
    else:
        if isinstance(asked, str):
            asked = number_or_quantity(name, asked)
        if hasattr(asked, "to_value"):
            asked = in_grid_unit(name, asked, directions.physical)
        try:
            target = Target(name, float(asked))
        except (TypeError, ValueError) as error:
            if isinstance(error, SteeringError):
                raise
            raise SteeringError(f"{name} was asked to be {asked!r}; ask for a number") from None
    if name in directions.names and directions.is_binary(name):
        possible = np.unique(directions.quantiles[directions.index(name)])
        if target.value not in possible:
            text = " or ".join(f"{value:g}" for value in possible)
            raise SteeringError(f"{name} is {text}, it was asked to be {target.value:g}")
    return target


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[\w'+-]+", text.lower()) if word.strip("-+'")]


def parse_description(text: str, directions: Directions) -> dict[str, Target]:
    """Turn a description into targets: parameter name to `Target`.

    Phrases of `VOCABULARY` are looked up, the longest first; case, commas and words like "a" or "with" do not count.
    Percentiles are those of the patches that the generator makes.

    Raises
    ------
    UnknownWord
        With the vocabulary.
    SteeringError
        When nothing is asked, or two words ask different things of one parameter.
    """
    words = [word for word in _words(text) if word not in _IGNORED]
    longest = max(len(phrase.split()) for phrase in VOCABULARY)
    targets: dict[str, Target] = {}
    k = 0
    while k < len(words):
        for size in range(min(longest, len(words) - k), 0, -1):
            phrase = " ".join(words[k : k + size])
            if phrase in VOCABULARY:
                break
        else:
            known = {word for phrase in VOCABULARY for word in phrase.split()}
            close = difflib.get_close_matches(words[k], sorted(known), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close and close[0] != words[k] else ""
            raise UnknownWord(f"{words[k]!r} is not in the vocabulary{hint}; it has: {', '.join(sorted(VOCABULARY))}")
        name, how, number, _ = VOCABULARY[phrase]
        _check(name, directions)
        if how == "percentile":
            target = Target(name, directions.quantile(name, number), "=", phrase)
        else:
            target = Target(name, number, how, phrase)
        before = targets.get(name)
        if before is not None and (before.value, before.relation) != (target.value, target.relation):
            raise SteeringError(f"{before.word!r} and {phrase!r} contradict each other; leave one out")
        targets.setdefault(name, target)
        k += size
    if not targets:
        raise SteeringError(f"the description {text!r} asks for nothing; it may use: {', '.join(sorted(VOCABULARY))}")
    return targets


def unit_of_target(name: str, physical: bool = False) -> str:
    """Unit of a parameter, with a physical scale or on a bare grid, or of a derived quantity."""
    return DERIVED[name].unit if name in DERIVED else unit_of(name, physical)


def quantities(values: Entries, physical: bool = False) -> dict[str, Document]:
    """Parameters and derived quantities with their units, at a physical scale or on the grid, as JSON can hold them."""
    return {name: quantity(value, unit_of_target(name, physical)) for name, value in values.items()}
