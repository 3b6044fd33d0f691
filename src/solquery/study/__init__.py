"""The paper's experiments and figures on any archive, and the report of the demo. The demo is loaded on use."""

from __future__ import annotations

from typing import Any

from .retrieval import METHODS, PAPER, PARAMETERS, RetrievalStudy, correlate, retrieval_study, run_retrieval

__all__ = [
    "DESCRIPTION",
    "METHODS",
    "PAPER",
    "PARAMETERS",
    "RetrievalStudy",
    "correlate",
    "retrieval_study",
    "run_demo",
    "run_retrieval",
]


def __getattr__(name: str) -> Any:
    if name not in ("DESCRIPTION", "run_demo"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import demo

    return getattr(demo, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
