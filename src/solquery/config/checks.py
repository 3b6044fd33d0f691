"""Checks of settings."""

from __future__ import annotations


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
