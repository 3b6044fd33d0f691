"""Settings of the encoder, its augmentation and its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..aliases import Document
from .checks import _require
from .renamed import weights_of

__all__ = ["AugmentConfig", "EncoderConfig"]


@dataclass(frozen=True)
class AugmentConfig:
    """What the embedding must not depend on; every invariance can be switched off (paper, section 4).

    Lengths are in pixels, as the networks see them; `physical` takes megametres.
    """

    #: along x; along y it is as far on the Sun
    shift_px: float = 10.0
    zoom: tuple[float, float] = (0.8, 1.2)
    rotation_deg: float = 20.0
    vertical_flip: bool = True
    #: share of second views in training that are the patch as it is: what is searched has not been through the
    #: interpolation that every changed copy has, and a network that sees texture must not tell them apart by that
    plain_share: float = 0.0
    #: height of a pixel on the Sun, in units of its width: on a grid where it is not 1 a rotation is no rotation of
    #: the pixels
    pixel_aspect: float = 1.0

    @classmethod
    def physical(cls, scale_mm: tuple[float, float], shift_mm: float, **others: Any) -> AugmentConfig:
        """Limits on the Sun, for a grid of `scale_mm` Mm per pixel (y, x): a shift of `shift_mm` Mm, turns in degrees.

        >>> AugmentConfig.physical((2.0, 2.0), shift_mm=18.0).shift_px
        9.0
        """
        height, width = scale_mm
        _require(min(height, width) > 0, f"scale_mm must be positive, got {scale_mm}")
        return cls(shift_px=shift_mm / width, pixel_aspect=height / width, **others)

    def without(self, *names: str) -> AugmentConfig:
        """The same without some of the invariances `shift`, `zoom`, `rotation`, `flip`: matches are exact in those.

        >>> AugmentConfig().without("zoom", "rotation").rotation_deg
        0.0
        """
        off: dict[str, Document] = {
            "shift": {"shift_px": 0.0},
            "zoom": {"zoom": (1.0, 1.0)},
            "rotation": {"rotation_deg": 0.0},
            "flip": {"vertical_flip": False},
        }
        for name in names:
            _require(name in off, f"no invariance named {name!r}; there are: {', '.join(off)}")
        return replace(self, **{key: value for name in names for key, value in off[name].items()})

    def __post_init__(self) -> None:
        _require(self.pixel_aspect > 0, f"pixel_aspect must be positive, got {self.pixel_aspect}")
        _require(self.shift_px >= 0, f"shift_px must not be negative, got {self.shift_px}")
        _require(0 < self.zoom[0] <= 1 <= self.zoom[1], f"zoom must enclose 1, got {self.zoom}")
        _require(0 <= self.plain_share <= 1, f"plain_share must lie within 0 and 1, got {self.plain_share}")
        _require(self.rotation_deg >= 0, f"rotation_deg must not be negative, got {self.rotation_deg}")


@dataclass(frozen=True)
class EncoderConfig:
    """How the self-supervised encoder is built and trained (paper, sections 3 and 4, SimSiam)."""

    arch: str = "resnet18"
    width: int = 64
    embedding_dim: int = 100
    projection_hidden: int = 512
    prediction_hidden: int = 128
    batch: int = 64
    epochs: int = 100
    images: int | None = None
    learning_rate: float = 0.0125
    #: learning rate of the prediction head, in units of `learning_rate`; a head that keeps up with the encoder keeps
    #: the embedding from losing dimensions (Tian et al. 2021, arXiv:2102.06810)
    prediction_rate: float = 1.0
    momentum: float = 0.9
    precision: str = "fp32"
    #: what the two views are asked to agree on: `simsiam` (the paper's), `contrastive`, `vicreg` or `barlow`
    loss: str = "simsiam"
    #: of the contrastive loss
    temperature: float = 0.1
    #: the network looks at means over blocks of this many pixels a side, which need not be whole; 1: at every pixel
    downsample: int | float = 1
    #: the network looks at block means of the field and of its logarithm, and at how much texture lies within a block
    bands: bool = False
    #: supervised parameters and their weights, as ``{"tuf": 1, "r": 6}``: numbers of the embedding are trained to
    #: follow them, so that a search keeps them
    physics: Mapping[str, int] = field(default_factory=dict)
    #: numbers of the embedding for each of them, times its weight
    physics_dims: int = 3
    #: weight of their supervision beside the loss
    physics_weight: float = 1.0
    #: patches that follow each other in the archive and are shown in one batch: frames of a region, a few hours apart,
    #: which a loss that tells the patches of a batch apart ('contrastive') thereby learns to tell apart
    frames_per_region: int = 1
    #: share of each batch that is real observations, where the archive has simulated ones beside; 0: every patch as
    #: often as any other
    real_weight: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        _require(0 <= self.real_weight < 1, f"real_weight must be at least 0 and below 1, got {self.real_weight}")
        _require(self.frames_per_region >= 1, f"frames_per_region must be at least 1, got {self.frames_per_region}")
        _require(
            self.batch % self.frames_per_region == 0,
            f"a batch of {self.batch} holds no whole {self.frames_per_region} frames_per_region",
        )
        _require(self.batch >= 2, f"batch must be at least 2, got {self.batch}")
        _require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        _require(self.learning_rate > 0, f"learning_rate must be positive, got {self.learning_rate}")
        _require(self.prediction_rate > 0, f"prediction_rate must be positive, got {self.prediction_rate}")
        _require(self.precision in ("fp32", "bf16"), f"precision must be 'fp32' or 'bf16', got {self.precision!r}")
        losses = ("simsiam", "contrastive", "vicreg", "barlow")
        _require(self.loss in losses, f"loss must be one of {', '.join(losses)}, got {self.loss!r}")
        _require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        _require(self.downsample >= 1, f"downsample must be at least 1, got {self.downsample}")
        _require(self.downsample == 1 or not self.bands, "bands and downsample exclude each other")
        object.__setattr__(self, "physics", weights_of(self.physics))
        taught = sum(self.physics.values()) * self.physics_dims
        _require(
            taught <= self.embedding_dim, f"physics takes {taught} numbers of {self.embedding_dim}; lower physics_dims"
        )
