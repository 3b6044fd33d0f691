"""The self-supervised encoder: networks, augmentation, losses, training, inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .augment import augment
    from .embedding import EmbedReport, embed, embed_archive
    from .networks import Encoder, Predictor, build_encoder
    from .onnx_file import OnnxEncoder
    from .plugged import EncoderError
    from .registry import as_encoder, encoders, register_encoder
    from .training import CollapseWarning, EncoderRunError, TrainingReport, export_encoder, load_encoder, train_encoder


__all__ = [
    "CollapseWarning",
    "EmbedReport",
    "Encoder",
    "EncoderError",
    "EncoderRunError",
    "OnnxEncoder",
    "Predictor",
    "TrainingReport",
    "as_encoder",
    "augment",
    "build_encoder",
    "embed",
    "embed_archive",
    "encoders",
    "export_encoder",
    "load_encoder",
    "register_encoder",
    "train_encoder",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "augment": "augment",
        "embedding": "EmbedReport embed embed_archive",
        "networks": "Encoder Predictor build_encoder",
        "onnx_file": "OnnxEncoder",
        "plugged": "EncoderError",
        "registry": "as_encoder encoders register_encoder",
        "training": "CollapseWarning EncoderRunError TrainingReport export_encoder load_encoder train_encoder",
    },
)
