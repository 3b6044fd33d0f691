"""Where else an observation can be seen: JSOC, Helioviewer, SolarMonitor, HEK; and the line that fetches it."""

from __future__ import annotations

import math
import shlex
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from ..aliases import Entries
from ..sharp.identity import record_of

__all__ = ["fetch_line", "links_of", "record_set"]

#: apparent radius of the Sun at one astronomical unit, in arcseconds
_RADIUS_ARCSEC = 959.6
_SEGMENTS = {"radial": "Br", "line-of-sight": "magnetogram"}


def record_set(row: Entries) -> str | None:
    """The JSOC record set of a frame, as ``hmi.sharp_cea_720s[377][2011.02.15_02:00:00_TAI]{Br}``; else None."""
    series, number = record_of(str(row.get("id") or ""), str(row.get("series") or ""), row.get("harpnum"))
    if row.get("source") != "real" or not number or not row.get("t_rec"):
        return None
    segment = _SEGMENTS.get(str(row.get("quantity") or ""), "")
    return f"{series}[{number}][{row['t_rec']}]" + (f"{{{segment}}}" if segment else "")


def fetch_line(row: Entries, archive: str | None) -> str | None:
    """The `solquery fetch` line that gets the region of a frame within the day of the frame; None where none does."""
    if not (record_set(row) or "").startswith("hmi.sharp_cea_720s["):
        return None
    day = str(row["t_rec"])[:10].replace(".", "-")
    line = ["solquery", "fetch", "--archive", archive or "archive", "--harp", str(row["harpnum"])]
    line += ["--start", day, "--end", day, "--cadence", "12m"]
    if _SEGMENTS.get(str(row.get("quantity"))) == "magnetogram":
        line += ["--segment", "magnetogram"]
    return shlex.join(line)


def _on_disk(latitude: float, longitude: float, b0: float) -> tuple[float, float]:
    """Arcseconds west and north of disk centre of a Stonyhurst place, the Sun at one astronomical unit."""
    lat, lon, tilt = (math.radians(v) for v in (latitude, longitude, b0))
    x = math.cos(lat) * math.sin(lon)
    y = math.sin(lat) * math.cos(tilt) - math.cos(lat) * math.cos(lon) * math.sin(tilt)
    return _RADIUS_ARCSEC * x, _RADIUS_ARCSEC * y


def links_of(row: Entries) -> list[dict[str, str]]:
    """Pages about an observation.

    Parameters
    ----------
    row
        Of the archive: source, harpnum, t_rec, t_utc (datetime), noaa, latitude_deg, longitude_deg, b0_deg.

    Returns
    -------
    list of dict
        ``title`` and ``url``; empty for what is no observation.
    """
    time = row.get("t_utc")
    if row.get("source") != "real" or not isinstance(time, datetime):
        return []
    out = []
    record = record_set(row)
    if record:
        out.append({"title": "JSOC", "url": f"http://jsoc.stanford.edu/ajax/lookdata.html?ds={quote(record)}"})
    latitude, longitude, tilt = (float(row.get(name) or 0.0) for name in ("latitude_deg", "longitude_deg", "b0_deg"))
    known = row.get("latitude_deg") is not None and math.isfinite(latitude) and math.isfinite(longitude)
    x, y = _on_disk(latitude, longitude, tilt if math.isfinite(tilt) else 0.0) if known else (0.0, 0.0)
    seen = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "imageScale": "0.6" if known else "2.4",
        "centerX": f"{x:.0f}",
        "centerY": f"{y:.0f}",
        "imageLayers": "[SDO,HMI,magnetogram,1,100]",
        "eventLayers": "[AR,all,1]",
    }
    out.append({"title": "Helioviewer", "url": f"https://helioviewer.org/?{urlencode(seen)}"})
    day = {"date": time.strftime("%Y%m%d")}
    if row.get("noaa"):
        day["region"] = str(row["noaa"][0])
    page = "region.php" if "region" in day else "index.php"
    out.append({"title": "SolarMonitor", "url": f"https://www.solarmonitor.org/{page}?{urlencode(day)}"})
    events = {
        "cosec": "2",
        "cmd": "search",
        "type": "column",
        "event_type": "ar,fl,ce",
        "event_starttime": (time - timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%S"),
        "event_endtime": (time + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%S"),
        "event_coordsys": "helioprojective",
        "x1": f"{x - 150:.0f}" if known else "-1200",
        "x2": f"{x + 150:.0f}" if known else "1200",
        "y1": f"{y - 150:.0f}" if known else "-1200",
        "y2": f"{y + 150:.0f}" if known else "1200",
    }
    out.append({"title": "HEK", "url": f"https://www.lmsal.com/hek/her?{urlencode(events)}"})
    return out
