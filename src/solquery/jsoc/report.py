"""What a fetch tells when it is over, and how long things take, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..aliases import Header

__all__ = ["FetchReport", "duration"]


@dataclass
class FetchReport:
    """What a fetch did; `dropped` and `failed` name every frame that was given up, with the reason."""

    archive: str
    asked: Header
    frames: int = 0
    regions: int = 0
    there: int = 0
    fetched: int = 0
    dropped: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    bytes: int = 0
    requests: int = 0
    seconds: float = 0.0
    stopped: str | None = None


def duration(seconds: float) -> str:
    """Seconds as a reader takes them in: ``40 s``, ``12 min``, ``14 h 5 min``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
