"""The error of every reader of FITS files."""

from __future__ import annotations

from ..errors import SolqueryError

__all__ = ["UnreadableFits"]


class UnreadableFits(SolqueryError, ValueError):
    """A file that holds no usable magnetogram; the message names the file and the reason."""
