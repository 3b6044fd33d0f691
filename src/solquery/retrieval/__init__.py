"""Finding patches: the self-supervised encoder, embeddings in the archive, exact search, and its baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .ann import ApproximateIndex, open_index
    from .ann_build import build_index
    from .ann_files import About, IndexingError
    from .answers import Difference, Explanation
    from .augment import augment
    from .baselines import FEATURES, euclidean, features, mahalanobis, search_parameters
    from .embedding import EmbedReport, embed, embed_archive
    from .encoder import Encoder, Predictor, build_encoder
    from .hybrid import (
        COMPARED,
        LOOK,
        WEIGHTS,
        NormalScores,
        combine,
        parameter_distances,
        parse_weights,
        search_hybrid,
    )
    from .index import EmbeddingIndex, Match, SearchError, nearest
    from .likeness import likeness
    from .loading import load_index
    from .session import SearchSession, search
    from .training import CollapseWarning, EncoderRunError, TrainingReport, export_encoder, load_encoder, train_encoder
    from .verify import LOOKED_AT, overlay, verified

__all__ = [
    "COMPARED",
    "FEATURES",
    "LOOK",
    "LOOKED_AT",
    "WEIGHTS",
    "About",
    "ApproximateIndex",
    "CollapseWarning",
    "Difference",
    "EmbedReport",
    "EmbeddingIndex",
    "Encoder",
    "EncoderRunError",
    "Explanation",
    "IndexingError",
    "Match",
    "NormalScores",
    "Predictor",
    "SearchError",
    "SearchSession",
    "TrainingReport",
    "augment",
    "build_encoder",
    "build_index",
    "combine",
    "embed",
    "embed_archive",
    "euclidean",
    "export_encoder",
    "features",
    "likeness",
    "load_encoder",
    "load_index",
    "mahalanobis",
    "nearest",
    "open_index",
    "overlay",
    "parameter_distances",
    "parse_weights",
    "search",
    "search_hybrid",
    "search_parameters",
    "train_encoder",
    "verified",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "likeness": "likeness",
        "augment": "augment",
        "ann": "ApproximateIndex open_index",
        "ann_build": "build_index",
        "ann_files": "About IndexingError",
        "answers": "Difference Explanation",
        "baselines": "FEATURES euclidean features mahalanobis search_parameters",
        "embedding": "EmbedReport embed embed_archive",
        "encoder": "Encoder Predictor build_encoder",
        "hybrid": "COMPARED LOOK WEIGHTS NormalScores combine parameter_distances parse_weights search_hybrid",
        "index": "EmbeddingIndex Match SearchError nearest",
        "loading": "load_index",
        "session": "SearchSession search",
        "training": "CollapseWarning EncoderRunError TrainingReport export_encoder load_encoder train_encoder",
        "verify": "LOOKED_AT overlay verified",
    },
)
