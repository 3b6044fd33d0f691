"""The self-supervised encoder: networks, augmentation, losses, training, inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .augment import augment
    from .embedding import EmbedReport, embed, embed_archive
    from .networks import Encoder, Predictor, build_encoder
    from .training import CollapseWarning, EncoderRunError, TrainingReport, export_encoder, load_encoder, train_encoder


__all__ = [
    "CollapseWarning",
    "EmbedReport",
    "Encoder",
    "EncoderRunError",
    "Predictor",
    "TrainingReport",
    "augment",
    "build_encoder",
    "embed",
    "embed_archive",
    "export_encoder",
    "load_encoder",
    "train_encoder",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "augment": "augment",
        "embedding": "EmbedReport embed embed_archive",
        "networks": "Encoder Predictor build_encoder",
        "training": "CollapseWarning EncoderRunError TrainingReport export_encoder load_encoder train_encoder",
    },
)
