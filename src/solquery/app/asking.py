"""One line of text that finds and makes: region numbers, days and places, words of the vocabulary, and numbers.

``"NOAA 11158"``, ``"HARP 377"``, ``"2011-02-15"`` and ``"N20W13"`` are about observations; ``"strong"``,
``"flux 3e22"`` and ``"30 Mm"`` about the physics of a patch. Each piece of the text comes back with what it was taken
for; what was not understood is marked and holds nothing else up.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from ..aliases import Document
from ..physics import get_parameter
from ..steering import Directions, OutOfReach, SteeringError, parse_description, vocabulary

__all__ = ["Asked", "Part", "understand"]

#: half the width of the box that a place stands for, in degrees
_AROUND_DEG = 5.0
_MONTHS = {name.lower(): k for k, name in enumerate(calendar.month_abbr) if name}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_NUMBER = r"[-+−]?\d+(?:[.,]\d+)?(?:\s?[×x*]\s?10\^?[-+]?\d+|[eE][-+]?\d+)?"

#: what people call a parameter
_CALLED = {
    "total unsigned flux": "tuf",
    "unsigned flux": "tuf",
    "total flux": "tuf",
    "flux": "tuf",
    "net flux": "net_flux",
    "positive flux": "tpf",
    "negative flux": "tnf",
    "polarity separation": "psep",
    "separation": "psep",
    "tilt angle": "tilt",
    "tilt": "tilt",
    "area": "area",
}
#: units that name a parameter when no other word does, as a multiple of the parameter's unit
_UNITS = {
    "mx": ("tuf", 1.0),
    "wb": ("tuf", 1e8),
    "mm": ("psep", 1.0),
    "km": ("psep", 1e-3),
    "deg": ("tilt", 1.0),
    "degrees": ("tilt", 1.0),
    "degree": ("tilt", 1.0),
    "°": ("tilt", 1.0),
    "mm2": ("area", 1.0),
    "mm²": ("area", 1.0),
}
#: what people say of regions, in words of the vocabulary
_SAID = {
    "strongest": "very strong",
    "big": "large",
    "bright": "strong",
    "widely spaced": "widely separated",
    "dipole": "bipole",
    "anti-hale": "",
}
_SOURCES = {
    "real": "real",
    "observed": "real",
    "observation": "real",
    "observations": "real",
    "simulated": "simulated",
}
_QUANTITIES = {"radial": "radial", "line-of-sight": "line-of-sight", "los": "line-of-sight"}
#: what people say of opposite polarities within one penumbra
_DELTA = re.compile(r"(?:beta-gamma-delta|βγδ|(?:delta|δ)(?:[\s-]+(?:spots?|regions?))?)(?![\w-])", re.IGNORECASE)
#: R as a share of a flux, of the region alone and of all pixels. Of NOAA 11158, 11261 and 11429, known for their delta
#: spots, `solquery params` gives 4.4 to 5.8 % of the former and 2.4 to 3.2 % of the latter in radial fields of HMI; of
#: NOAA 11428, 11776 and 11969, 1.0 to 3.7 % of the former.
_DELTA_SHARE = {"flux": 0.05, "tuf": 0.03}
#: percentile of the flux where none is asked for: delta spots are of strong regions
_DELTA_FLUX = 90.0
#: words that ask for nothing
_IDLE = frozenset(
    ("a", "about", "active", "an", "and", "around", "at", "field", "find", "frame", "frames", "from", "has", "having")
)
_IDLE |= {"in", "is", "like", "magnetic", "me", "near", "of", "on", "one", "or", "patch", "region", "regions", "show"}
_IDLE |= {"spot", "spots", "that", "the", "to", "which", "whose", "with"}


@dataclass(frozen=True)
class Part:
    """A piece of the text and what it was taken for.

    Attributes
    ----------
    text
        As it was written.
    kind
        ``region``, ``noaa``, ``time``, ``place``, ``source``; ``word``, ``number``; or ``unknown``.
    meaning
        For people; why not, of what is unknown.
    """

    text: str
    kind: str
    meaning: str


@dataclass
class Asked:
    """What a text asks for: which observations (`filters`), and which physics (`describe`, `set`)."""

    parts: list[Part] = field(default_factory=list)
    #: as `/api/search` takes them
    filters: Document = field(default_factory=dict)
    #: words of the vocabulary
    words: list[str] = field(default_factory=list)
    #: parameter to number, in the unit of the grid
    set: dict[str, float] = field(default_factory=dict)
    #: which parts ask for a delta spot: what that is depends on the flux, wherever it stands
    deltas: list[int] = field(default_factory=list)


def _number(text: str) -> float:
    clean = re.sub(r"\s", "", text.replace("−", "-").replace(",", "."))
    return float(re.sub(r"[×x*]10\^?", "e", clean))


def _day(asked: Asked, match: re.Match[str]) -> Part:
    year, month, day = int(match["y"]), int(match["m"]), match["d"]
    try:
        first = date(year, month, int(day) if day else 1)
    except ValueError:
        return Part(match[0], "unknown", "no day of the calendar")
    last = first if day else date(year, month, calendar.monthrange(year, month)[1])
    asked.filters |= {"since": first.isoformat(), "until": last.isoformat()}
    return Part(match[0], "time", first.isoformat() if day else f"{first.isoformat()} to {last.isoformat()}")


def _written_day(asked: Asked, match: re.Match[str]) -> Part:
    month = _MONTHS[match["m"][:3].lower()]
    try:
        day = date(int(match["y"]), month, int(match["d"]))
    except ValueError:
        return Part(match[0], "unknown", "no day of the calendar")
    asked.filters |= {"since": day.isoformat(), "until": day.isoformat()}
    return Part(match[0], "time", day.isoformat())


def _noaa(asked: Asked, match: re.Match[str]) -> Part:
    number = int(match["n"])
    # since 2002 the number has five digits, and its first is often left out
    number += 10_000 if number < 10_000 else 0
    asked.filters["noaa"] = number
    return Part(match[0], "noaa", f"NOAA {number}")


def _region(asked: Asked, match: re.Match[str]) -> Part:
    kind = "SIM" if match["k"].upper() == "SIM" else "HARP"
    asked.filters["region"] = f"{kind} {match['n']}"
    return Part(match[0], "region", asked.filters["region"])


def _place(asked: Asked, match: re.Match[str]) -> Part:
    latitude = float(match["a"]) * (1 if match["ns"].upper() == "N" else -1)
    longitude = float(match["b"]) * (1 if match["ew"].upper() == "W" else -1)
    if abs(latitude) > 90 or abs(longitude) > 180:
        return Part(match[0], "unknown", "no place on the Sun")
    for name, middle in (("latitude_deg", latitude), ("longitude_deg", longitude)):
        asked.filters[name] = {"low": middle - _AROUND_DEG, "high": middle + _AROUND_DEG}
    return Part(match[0], "place", f"within {_AROUND_DEG:g}° of it in latitude and longitude")


#: the time of day, which is read over: a day is looked for
_CLOCK = r"[T_ ]\d\d:\d\d(?::\d\d)?(?:_?(?:TAI|UTC?|Z))?"
_DATE = rf"(?P<y>(?:19|20)\d\d)[-./](?P<m>\d\d)(?:[-./](?P<d>\d\d)(?:{_CLOCK})?)?"
_MONTH = r"(?P<m>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_FINDS: tuple[tuple[re.Pattern[str], Callable[[Asked, re.Match[str]], Part]], ...] = tuple(
    (re.compile(pattern + r"(?![\w])", re.IGNORECASE), work)
    for pattern, work in (
        (r"(?:NOAA(?:\s*AR)?|AR)\s*#?\s*(?P<n>\d{4,5})", _noaa),
        (r"(?P<k>HARP|SHARP|HARPNUM)\s*#?=?\s*(?P<n>\d{1,6})", _region),
        (r"(?P<k>SIM)\s*(?P<n>\d+-\d+)", _region),
        (_DATE, _day),
        (rf"(?P<d>\d{{1,2}})\.?\s+{_MONTH}\s+(?P<y>(?:19|20)\d\d)", _written_day),
        (rf"{_MONTH}\s+(?P<d>\d{{1,2}}),?\s+(?P<y>(?:19|20)\d\d)", _written_day),
        (r"(?P<ns>[NS])\s?(?P<a>\d{1,2})\s?(?P<ew>[EW])\s?(?P<b>\d{1,3})", _place),
    )
)


def _named(directions: Directions) -> dict[str, str]:
    """What people call the parameters of a model, in lower case."""
    out: dict[str, str] = {}
    for name in directions.names:
        about = get_parameter(name)
        out |= {name.lower().replace("_", " "): name, name.lower(): name, about.title.lower(): name}
        out[about.symbol.lower()] = name
    called = {words: name for words, name in _CALLED.items() if name in directions.names}
    if "flux" in directions.names:
        # the region's own flux, which is what people mean, where the model can be asked for it
        called |= dict.fromkeys(("flux", "unsigned flux"), "flux")
    return out | called


def _written(value: float) -> str:
    """Four digits at most, with a power of ten as people write it: 3×10²²."""
    text = f"{value:.4g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_RAISED)}" if exponent else text


def _set(asked: Asked, directions: Directions, text: str, name: str, number: str, unit: str) -> Part:
    """A number for a parameter, in its unit or one of the same kind."""
    own = directions.unit(name)
    value, given = _number(number), unit.lower()
    if given:
        physical = own.replace(" ", "").lower()
        owner, times = _UNITS.get(given, ("", 1.0))
        if given != physical and (owner == "" or get_parameter(owner).unit != own):
            return Part(text, "unknown", f"{get_parameter(name).title} is in {own or 'no unit'}")
        value *= times if given != physical else 1.0
    asked.set[name] = value
    return Part(text, "number", f"{get_parameter(name).title} {_written(value)} {own}".strip())


def _number_part(asked: Asked, directions: Directions, text: str) -> tuple[Part, int] | None:
    """A number with the name or the unit of its parameter at the beginning of a text, and how long it is."""
    names = _named(directions)
    called = "|".join(re.escape(words) for words in sorted(names, key=len, reverse=True))
    units = "|".join(re.escape(word) for word in sorted(_UNITS, key=len, reverse=True))
    with_name = rf"(?P<name>{called})\s*(?:=|:|of|about|around|~|≈)?\s*(?P<v>{_NUMBER})\s*(?P<u>{units})?(?![\w.])"
    match = re.match(with_name, text, re.IGNORECASE)
    if match:
        name = names[match["name"].lower()]
        return _set(asked, directions, match[0], name, match["v"], match["u"] or ""), match.end()
    match = re.match(rf"(?P<v>{_NUMBER})\s*(?P<u>{units})(?![\w.])", text, re.IGNORECASE)
    if match:
        name = _UNITS[match["u"].lower()][0]
        name = "flux" if name == "tuf" and "flux" in directions.names else name
        if name in directions.names and get_parameter(name).unit == directions.unit(name):
            return _set(asked, directions, match[0], name, match["v"], match["u"]), match.end()
        return Part(match[0], "unknown", "this model has no parameter in that unit"), match.end()
    return None


def _delta(asked: Asked, directions: Directions) -> None:
    """Numbers for a delta spot: R as a share of the flux that is asked for, and both polarities alike."""
    if not asked.deltas:
        return
    flux = next((name for name in _DELTA_SHARE if name in asked.set), None)
    flux = flux or next((name for name in _DELTA_SHARE if name in directions.names), None)
    if flux is None or flux not in directions.names or "r" not in directions.names:
        meaning, kind = "this model cannot be asked for it", "unknown"
    else:
        value = asked.set.setdefault(flux, directions.quantile(flux, _DELTA_FLUX))
        asked.set.setdefault("r", _DELTA_SHARE[flux] * value)
        try:
            parse_description(" ".join([*asked.words, "bipole"]), directions)
            asked.words += [] if "bipole" in asked.words else ["bipole"]
        except (SteeringError, OutOfReach):
            pass  # it is said to be unbalanced, or the model does not know
        about, unit = get_parameter(flux), directions.unit(flux)
        meaning = f"R {_written(asked.set['r'])} {unit}, {100 * asked.set['r'] / value:.2g} % of {about.symbol}"
        meaning, kind = f"{meaning} {_written(value)} {unit}; both polarities", "word"
    for k in asked.deltas:
        asked.parts[k] = Part(asked.parts[k].text, kind, meaning)


def _word_part(asked: Asked, directions: Directions, text: str) -> tuple[Part | None, int]:
    """The longest known phrase at the beginning of a text; else its first word, unknown, or None where it is idle."""
    known = vocabulary()
    delta = _DELTA.match(text)
    if delta:
        asked.deltas.append(len(asked.parts))
        return Part(delta[0], "word", "delta spot"), delta.end()
    phrases = {**{phrase: phrase for phrase in known}, **_SAID}
    for phrase in sorted(phrases, key=len, reverse=True):
        match = re.match(re.escape(phrase).replace(r"\ ", r"[\s-]+") + r"(?![\w-])", text, re.IGNORECASE)
        meant = phrases[phrase]
        if match is None or not meant:
            continue
        try:
            parse_description(" ".join([*asked.words, meant]), directions)
        except (SteeringError, OutOfReach) as error:
            why = "contradicts what is before it" if "contradict" in str(error) else "this model cannot be asked for it"
            return Part(match[0], "unknown", why), match.end()
        if meant not in asked.words:
            asked.words.append(meant)
        taken = known[meant] if meant == phrase else f"taken as {meant}: {known[meant]}"
        return Part(match[0], "word", taken), match.end()
    match = re.match(r"[^\s,;]+", text)
    assert match is not None
    word = match[0]
    if word.lower() in _SOURCES:
        asked.filters["source"] = _SOURCES[word.lower()]
        return Part(word, "source", f"{asked.filters['source']} patches only"), match.end()
    if word.lower() in _QUANTITIES:
        asked.filters["quantity"] = _QUANTITIES[word.lower()]
        return Part(word, "source", f"{asked.filters['quantity']} fields only"), match.end()
    return (None if word.lower() in _IDLE else Part(word, "unknown", "not understood")), match.end()


def understand(text: str, directions: Directions) -> Asked:
    """Read a line of text.

    Parameters
    ----------
    text
        Pieces in any order, with or without commas.
    directions
        Of the model: its parameters, their units, and what words like "strong" are worth.

    Returns
    -------
    Asked
        With every piece but words such as "a" or "with"; nothing is an error.
    """
    asked, at = Asked(), 0
    while at < len(text):
        rest = text[at:]
        blank = re.match(r"[\s,;.]+", rest)
        if blank:
            at += blank.end()
            continue
        for pattern, work in _FINDS:
            match = pattern.match(rest)
            if match:
                asked.parts.append(work(asked, match))
                at += match.end()
                break
        else:
            number = _number_part(asked, directions, rest)
            part, length = number if number else _word_part(asked, directions, rest)
            if part is not None:
                asked.parts.append(part)
            at += length
    _delta(asked, directions)
    return asked
