"""A patch: a magnetic field in gauss with its scale, place and time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from .aliases import Document
from .notebook import GREY, picture, rows_of

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = ["MX_PER_G_MM2", "Patch", "observation_time"]

#: one gauss over one square megametre, in maxwell (1 Mm = 1e8 cm)
MX_PER_G_MM2 = 1e16


@dataclass(frozen=True, repr=False)
class Patch:
    """One observation, simulation or generated image of a region.

    Attributes
    ----------
    field
        (ny, nx) float32, gauss. Row 0 is the southernmost, column 0 the easternmost. NaN: missing or off the limb.
    scale_mm
        (y, x) megametres per pixel, or None for a grid without physical scale (preset `paper` stretches).
    id
        Unique in an archive, e.g. ``sharp-377-20110215T020000-Br`` or ``sim-7-00012-003``.
    region
        What frames of one region share, e.g. ``HARP 377``, ``NOAA 11158``, ``SIM 7-12``. Split and group by this.
    source
        ``real``, ``simulated`` or ``generated``; ``sketch`` and ``translated`` for what no archive takes.
    quantity
        ``radial`` (Br) or ``line-of-sight``.
    t_rec
        Time as JSOC writes it, e.g. ``2011.02.15_02:00:00_TAI``; empty where unknown.
    latitude_deg, longitude_deg
        Stonyhurst position of the centre; NaN where unknown. An observer away from the Earth has `HGLN_OBS` in
        `keywords`.
    mu
        Cosine of the heliocentric angle of the centre; NaN where unknown.
    truth
        Simulated patches: the ingredients they were made from.
    """

    field: np.ndarray
    scale_mm: tuple[float, float] | None
    id: str
    region: str
    source: str
    quantity: str = "radial"
    segment: str = "Br"
    t_rec: str = ""
    harpnum: int | None = None
    noaa: tuple[int, ...] = ()
    latitude_deg: float = float("nan")
    longitude_deg: float = float("nan")
    carrington_deg: float = float("nan")
    b0_deg: float = float("nan")
    mu: float = float("nan")
    quality: int = 0
    # the attribute `field` is an annotation only: the name is still that of dataclasses here
    keywords: Document = field(default_factory=dict)  # type: ignore[operator]
    truth: Document = field(default_factory=dict)  # type: ignore[operator]
    credit: str = ""
    file: str = ""

    def __repr__(self) -> str:
        ny, nx = self.field.shape
        told = [f"{ny} x {nx}", self.source, self.quantity]
        if self.scale_mm is not None:
            told.insert(1, f"{ny * self.scale_mm[0]:.0f} x {nx * self.scale_mm[1]:.0f} Mm")
        told += filter(None, [self.t_rec, self._translated()])
        return f"<Patch {self.id!r}: {', '.join(told)}>"

    def _translated(self) -> str:
        """By which map a translated patch was made, and with which error; empty for any other."""
        made = self.truth.get("translation")
        if not isinstance(made, dict):
            return ""
        error = made.get("error", {}).get("rms_gauss")
        return f"by {made.get('name')}" + ("" if error is None else f" with an error of {error:.0f} G")

    def _repr_html_(self) -> str:
        """The patch in a notebook: its picture with its scale, and what is known of it."""
        ny, nx = self.field.shape
        rows = {
            "region": self.region,
            "source": f"{self.source}, {self.quantity} field {self._translated()}".rstrip(),
            "time": self.t_rec,
        }
        if self.scale_mm is not None:
            y_mm, x_mm = self.scale_mm
            rows["size"] = f"{nx * x_mm:.0f} × {ny * y_mm:.0f} Mm, {x_mm:.3g} Mm per pixel"
        else:
            rows["size"] = f"{nx} × {ny} pixels, no physical scale"
        if np.isfinite([self.latitude_deg, self.longitude_deg]).all():
            rows["place"] = f"latitude {self.latitude_deg:.1f}°, longitude {self.longitude_deg:.1f}°"
        if np.isfinite(self.field).any():
            low, high = float(np.nanmin(self.field)), float(np.nanmax(self.field))
            rows["field"] = f"{low:,.0f} to {high:,.0f} G"
        # the package puts what finds limits there when it is loaded, which this does
        from .sharp.header import LIMITS

        rows["limits"] = "; ".join(text for find in LIMITS for _, text in find(self))
        rows["credit"] = self.credit
        shown = picture(self.field, f"magnetogram of {self.region}", min(max(2 * nx, 160), 480))
        caption = f"{escape(self.id)} · {GREY}"
        return f'<figure style="margin:0">{shown}<figcaption>{caption}</figcaption></figure>{rows_of(rows)}'

    @property
    def time(self) -> datetime | None:
        """Time of the observation in UTC, or None where `t_rec` holds none."""
        return observation_time(self.t_rec)

    @property
    def missing_fraction(self) -> float:
        """Share of the pixels that are missing (not finite)."""
        return float(1.0 - np.isfinite(self.field).mean())

    def with_field(self, values: np.ndarray, scale_mm: tuple[float, float] | None, **changes: Any) -> Patch:
        """A copy with another field (ny, nx) in gauss, its scale, and whatever else changes with it."""
        return replace(self, field=np.asarray(values, dtype=np.float32), scale_mm=scale_mm, **changes)

    def to_map(self) -> GenericMap:
        """The patch as a sunpy Map with Carrington cylindrical equal-area coordinates.

        What the patch lacks of place, time and scale is filled in, as a map needs it; ``meta["nominal"]`` lists it.

        Raises
        ------
        ImportError
            When sunpy is missing: ``pip install "solquery[sun]"``.
        """
        from .sharp.cards import map_of

        return map_of(self)


#: seconds to add to a time scale for TAI; UTC takes the leap seconds of its day
_TO_TAI = {"TAI": 0.0, "TT": -32.184, "TDT": -32.184, "ET": -32.184, "TDB": -32.184, "GPS": 19.0, "IAT": 0.0}
_SCALE = re.compile(r"(?:_| ?)(TAI|TT|TDT|ET|TDB|GPS|IAT|UTC|UT|GMT|Z)$", re.IGNORECASE)


def observation_time(t_rec: str) -> datetime | None:
    """A time as JSOC or FITS writes it, as UTC.

    Parameters
    ----------
    t_rec
        ``2011.02.15_02:00:00_TAI``, ``2011.02.15_02:00:00_UTC`` or ``2011-02-15T02:00:00[Z]`` (read as UTC), with an
        offset (``+01:00``) or a time scale (``_TT``, ``_TDB``, ``_GPS``) behind it.

    Returns
    -------
    datetime or None
        With time zone UTC; None where the text is no time.
    """
    text = t_rec.strip()
    found = _SCALE.search(text)
    scale = found[1].upper() if found else "UTC"
    bare = (text[: found.start()] if found else text).rstrip("_ ")
    bare = bare.replace("_", "T").replace(" ", "T", 1)
    day, _, clock = bare.partition("T")
    try:
        moment = datetime.fromisoformat(f"{day.replace('.', '-')} {clock or '00:00:00'}")
        # a time scale is no zone: nothing has both
        if moment.tzinfo is not None and found:
            return None
        moment = moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        if scale in _TO_TAI:
            moment += timedelta(seconds=_TO_TAI[scale])
            moment -= timedelta(seconds=_tai_minus_utc(moment))
    except (ValueError, OverflowError):
        return None
    return moment


def _tai_minus_utc(moment: datetime) -> float:
    """Seconds between the two on a day, by the table of leap seconds that astropy keeps."""
    import erfa

    table = erfa.leap_seconds.get()
    known = (table["year"] < moment.year) | ((table["year"] == moment.year) & (table["month"] <= moment.month))
    return float(table["tai_utc"][known][-1]) if known.any() else 10.0
