"""What the package raises when the user has to do something about it."""

from __future__ import annotations

__all__ = ["NameTaken", "SolqueryError"]


class SolqueryError(Exception):
    """A failure that a person can act on; the message says what, where, and what to do next."""


class NameTaken(SolqueryError, ValueError):
    """A name that is registered already."""
