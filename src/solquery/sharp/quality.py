"""Whether QUALITY says that a frame was taken while the instrument was not itself."""

from __future__ import annotations

__all__ = ["quality_fault"]

_BAD_QUALITY = 0xFFFF0000
_ECLIPSE = 0x200


def quality_fault(quality: int) -> str | None:
    """Why a frame of this QUALITY is not to be used, or None.

    QUALITY is signed, 32 bits. A bit among the upper sixteen means missing or doubtful data, 0x200 an eclipse.
    """
    if quality & _BAD_QUALITY:
        return f"QUALITY 0x{quality & 0xFFFFFFFF:08X} marks it as bad"
    if quality & _ECLIPSE:
        return f"QUALITY 0x{quality & 0xFFFFFFFF:08X} marks an eclipse"
    return None
