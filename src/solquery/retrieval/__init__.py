"""Finding patches: the self-supervised encoder, embeddings in the archive, exact search, and its baselines."""

from __future__ import annotations

from .ann import ApproximateIndex, open_index
from .ann_build import build_index
from .ann_files import About, IndexingError
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
from .index import EmbeddingIndex, Match, SearchError, load_index, nearest, search
from .likeness import likeness
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
    "EmbedReport",
    "EmbeddingIndex",
    "Encoder",
    "EncoderRunError",
    "IndexingError",
    "Match",
    "NormalScores",
    "Predictor",
    "SearchError",
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
