"""Finding patches: exact and approximate search, baselines, hybrid ranking, reranking, explanation.

The package can be called as the function `search`, which is ``solquery.search`` as well.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..lazy import lazily

if TYPE_CHECKING:
    from .approximate import ApproximateIndex, open_index
    from .approximate_build import build_index
    from .approximate_files import About, IndexingError
    from .baselines import FEATURES, euclidean, features, mahalanobis, search_parameters
    from .explanation import Difference, Explanation
    from .hybrid import (
        COMPARED,
        EMBEDDING,
        WEIGHTS,
        NormalScores,
        combine,
        parameter_distances,
        parse_weights,
    )
    from .index import EmbeddingIndex, Match, SearchError, nearest
    from .loading import load_index
    from .matches import Matches
    from .rerank import RERANK_DEPTH, best_correlation, reranked
    from .session import SearchSession
    from .verbs import search, search_hybrid
    from .visual_similarity import visual_similarity


__all__ = [
    "COMPARED", "EMBEDDING", "FEATURES", "RERANK_DEPTH", "WEIGHTS", "About", "ApproximateIndex", "Difference",
    "EmbeddingIndex", "Explanation", "IndexingError", "Match", "Matches", "NormalScores", "SearchError",
    "SearchSession", "best_correlation", "build_index", "combine", "euclidean", "features", "load_index", "mahalanobis",
    "nearest", "open_index", "parameter_distances", "parse_weights", "reranked", "search", "search_hybrid",
    "search_parameters", "visual_similarity",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "approximate": "ApproximateIndex open_index",
        "approximate_build": "build_index",
        "approximate_files": "About IndexingError",
        "baselines": "FEATURES euclidean features mahalanobis search_parameters",
        "explanation": "Difference Explanation",
        "hybrid": "COMPARED EMBEDDING NormalScores WEIGHTS combine parameter_distances parse_weights",
        "index": "EmbeddingIndex Match SearchError nearest",
        "loading": "load_index",
        "rerank": "RERANK_DEPTH best_correlation reranked",
        "matches": "Matches",
        "session": "SearchSession",
        "verbs": "search search_hybrid",
        "visual_similarity": "visual_similarity",
    },
)


class _Callable(type(sys.modules[__name__])):  # type: ignore[misc]
    """`solquery.search` is a function, and the package of that name once it is imported: both can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return sys.modules[__name__].search(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
