"""From the filters of the page to the condition that an archive takes; nothing of a client gets in unquoted."""

from __future__ import annotations

from datetime import timedelta

from ..physics import get_parameter
from .schemas import Between, Filters

__all__ = ["where_of"]


def _limits(column: str, limits: Between) -> list[str]:
    out = []
    if limits.low is not None:
        out.append(f"{column} >= {limits.low!r}")
    if limits.high is not None:
        out.append(f"{column} <= {limits.high!r}")
    return out


def where_of(filters: Filters) -> str | None:
    """SQL condition on the columns of an archive, or None where everything may match.

    Raises
    ------
    UnknownParameter
        For a limit on a parameter that nobody registered.
    """
    parts: list[str] = []
    if filters.source != "any":
        parts.append(f"source = '{filters.source}'")
    if filters.quantity != "any":
        parts.append(f"quantity = '{filters.quantity}'")
    if filters.since is not None:
        parts.append(f"t_utc >= timestamp '{filters.since.isoformat()} 00:00:00'")
    if filters.until is not None and filters.until.year < 9999:
        # the whole of the last day
        parts.append(f"t_utc < timestamp '{(filters.until + timedelta(days=1)).isoformat()} 00:00:00'")
    for column in ("latitude_deg", "longitude_deg"):
        limits = getattr(filters, column)
        if limits is not None:
            parts += _limits(column, limits)
    if filters.mu_min is not None:
        parts.append(f"mu >= {float(filters.mu_min)!r}")
    for name, limits in filters.parameters.items():
        parts += _limits(get_parameter(name).name, limits)
    for name, limits in filters.grid.items():
        parts += _limits(f"grid_{get_parameter(name).name}", limits)
    if filters.noaa is not None:
        parts.append(f"array_has(noaa, {int(filters.noaa)})")
    if filters.region is not None:
        parts.append("region = '" + filters.region.replace("'", "''") + "'")
    return " AND ".join(parts) or None
