"""The paper's experiments and figures on any archive, and the report of the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .demo import DESCRIPTION, run_demo
    from .realism import RealismStudy, run_realism
    from .retrieval import METHODS, PAPER, PARAMETERS, RetrievalStudy, correlate, retrieval_study, run_retrieval

__all__ = [
    "DESCRIPTION",
    "METHODS",
    "PAPER",
    "PARAMETERS",
    "RealismStudy",
    "RetrievalStudy",
    "correlate",
    "retrieval_study",
    "run_demo",
    "run_realism",
    "run_retrieval",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "demo": "DESCRIPTION run_demo",
        "realism": "RealismStudy run_realism",
        "retrieval": "METHODS PAPER PARAMETERS RetrievalStudy correlate retrieval_study run_retrieval",
    },
)
