"""Settings of every stage and the named presets.

The classes are frozen standard-library dataclasses, so that both trainers run with numpy, torch, scipy and
safetensors alone; `validated` builds one from untrusted input (a JSON file, the command line) through pydantic.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = [
    "PRESETS",
    "AugmentConfig",
    "EncoderConfig",
    "GeneratorConfig",
    "Preset",
    "get_preset",
    "validated",
]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class GeneratorConfig:
    """How a generator is built and trained (paper, section 4, "Training Generative Model")."""

    arch: str = "paper"
    latent_dim: int = 100
    loss: str = "bce"
    batch: int = 32
    epochs: int = 200
    #: images shown in total; overrides `epochs` where it is set
    images: int | None = None
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    #: weight of the zero-centred gradient penalty on real (R1) patches; 0 switches it off
    r1: float = 0.0
    #: half-life, in images, of the exponential moving average of the weights; 0 switches it off
    ema_halflife_images: int = 0
    #: the checkpoint is chosen among this many first epochs
    choose_within_epochs: int = 100
    width: int = 64
    precision: str = "fp32"
    #: images spent at each coarser level before the next is grown, coarsest first; empty: no growing
    grow_images: tuple[int, ...] = ()
    #: images over which a new level of the discriminator is faded in
    fade_images: int = 20_000
    #: first images from which the discriminator learns alone (loss `vae-gan` only): one that is new beside a generator
    #: that is not would lead it astray
    judge_first_images: int = 0
    #: parameters that the first latent coordinates carry in training (loss `vae-gan` only; see generator/anchors.py)
    anchors: tuple[str, ...] = ()
    #: gauss of one network unit, for measuring the anchors
    unit_gauss: float = 1000.0
    #: largest network unit that the generator can make
    limit: float = 1.0
    #: network units below which what is made fades to nothing, for grids that reach beyond the observation
    hush: float = 0.0
    #: what is drawn is cut to a rectangle, whose size is read off the latent vector (architecture `pyramid` only; see
    #: generator/window.py), for the same grids
    window: bool = False
    #: every pixel of the finest image has noise of its own (architecture `pyramid` only)
    fine_grain: bool = False
    #: last images of the training, over which the learning rate falls to a tenth (loss `vae-gan` only); 0: it stays
    cool_images: int = 0
    #: weight of the amounts that images are held to (loss `vae-gan` only; see generator/amounts.py); 0 switches it off
    amounts: float = 0.0
    #: weight of how the encoder of the search sees what is drawn (loss `vae-gan` only; see generator/seeker.py); it is
    #: given to the training. 0 switches it off
    seeker: float = 0.0
    #: one generated batch serves both steps of an iteration (faster), instead of one each (losses but `vae-gan`, whose
    #: two steps always share)
    shared_batch: bool = False

    def __post_init__(self) -> None:
        _require(self.latent_dim >= 1, f"latent_dim must be at least 1, got {self.latent_dim}")
        _require(self.batch >= 2, f"batch must be at least 2, got {self.batch}")
        _require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        _require(self.learning_rate > 0, f"learning_rate must be positive, got {self.learning_rate}")
        _require(
            self.judge_first_images >= 0, f"judge_first_images must not be negative, got {self.judge_first_images}"
        )
        _require(self.amounts >= 0, f"amounts must not be negative, got {self.amounts}")
        _require(self.seeker >= 0, f"seeker must not be negative, got {self.seeker}")
        _require(not self.window or self.arch == "pyramid", f"architecture {self.arch!r} has no window, only 'pyramid'")
        fine = not self.fine_grain or self.arch == "pyramid"
        _require(fine, f"architecture {self.arch!r} has no fine_grain, only 'pyramid'")
        _require(self.cool_images >= 0, f"cool_images must not be negative, got {self.cool_images}")
        losses = ("bce", "relativistic", "vae-gan")
        _require(self.loss in losses, f"loss must be one of {', '.join(losses)}, got {self.loss!r}")
        _require(self.precision in ("fp32", "bf16"), f"precision must be 'fp32' or 'bf16', got {self.precision!r}")


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
        off: dict[str, dict[str, Any]] = {
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
    momentum: float = 0.9
    weight_decay: float = 0.0
    precision: str = "fp32"
    #: what the two views are asked to agree on: `simsiam` (the paper's), `contrastive`, `vicreg` or `barlow`
    loss: str = "simsiam"
    #: of the contrastive loss
    temperature: float = 0.1
    #: the network looks at block means of this many pixels a side; 1: at every pixel
    downsample: int = 1
    #: the network looks at block means of the field and of its logarithm, and at how much texture lies within a block
    bands: bool = False
    #: parameters that some numbers of the embedding are taught to follow, so that a search keeps them
    physics: tuple[str, ...] = ()
    #: numbers of the embedding for each of them
    physics_dims: int = 3
    #: weight of that lesson beside the loss
    physics_weight: float = 1.0
    #: patches that follow each other in the archive and are shown in one batch: frames of a region, a few hours apart,
    #: which a loss that tells the patches of a batch apart ('contrastive') thereby learns to tell apart
    siblings: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        _require(self.siblings >= 1, f"siblings must be at least 1, got {self.siblings}")
        _require(self.batch % self.siblings == 0, f"a batch of {self.batch} holds no whole {self.siblings} siblings")
        _require(self.batch >= 2, f"batch must be at least 2, got {self.batch}")
        _require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        _require(self.learning_rate > 0, f"learning_rate must be positive, got {self.learning_rate}")
        _require(self.precision in ("fp32", "bf16"), f"precision must be 'fp32' or 'bf16', got {self.precision!r}")
        losses = ("simsiam", "contrastive", "vicreg", "barlow")
        _require(self.loss in losses, f"loss must be one of {', '.join(losses)}, got {self.loss!r}")
        _require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        _require(self.downsample >= 1, f"downsample must be at least 1, got {self.downsample}")
        _require(self.downsample == 1 or not self.bands, "bands and downsample exclude each other")
        taught = len(self.physics) * self.physics_dims
        _require(
            taught <= self.embedding_dim, f"physics takes {taught} numbers of {self.embedding_dim}; lower physics_dims"
        )


@dataclass(frozen=True)
class Preset:
    """One way of turning a patch in gauss into network input, and the networks that go with it.

    `paper` stretches every patch to `shape`, clips at `clip_gauss` and divides by `unit_gauss` (paper, section 2).
    With a `scale_mm` nothing is stretched: a grid of that scale is laid around the region (archive/prepare.py). With a
    `knee_gauss` nothing is clipped: fields beyond it are bent smoothly toward `clip_gauss`, and `to_gauss` bends back.
    """

    name: str
    shape: tuple[int, int] = (128, 128)
    #: the strongest field a network is shown
    clip_gauss: float = 1000.0
    unit_gauss: float = 1000.0
    #: Mm per pixel (y, x) of the grid; None: patches are stretched to it and lose their scale
    scale_mm: tuple[float, float] | None = None
    #: below it the field stays as it is; None: a hard clip
    knee_gauss: float | None = None
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        _require(self.unit_gauss > 0, f"unit_gauss must be positive, got {self.unit_gauss}")
        knee = self.knee_gauss
        _require(knee is None or 0 < knee < self.clip_gauss, f"knee_gauss must lie below clip_gauss, got {knee}")
        _require(self.scale_mm is None or min(self.scale_mm) > 0, f"scale_mm must be positive, got {self.scale_mm}")

    @property
    def physical(self) -> bool:
        """Whether a pixel of the grid has a size, so that fluxes are maxwell and lengths megametres."""
        return self.scale_mm is not None

    @property
    def display_gauss(self) -> float:
        """Where the grey scale of a picture ends: a kilogauss shows spots and network alike."""
        return min(self.clip_gauss, 1000.0)

    @property
    def limit(self) -> float:
        """Largest network unit, e.g. 1 for `paper`."""
        return self.clip_gauss / self.unit_gauss

    def from_gauss(self, grid: Any) -> Any:
        """Grid field in G, numpy array or torch tensor, to network units within +-`limit`."""
        if self.knee_gauss is None:
            return grid.clip(-self.clip_gauss, self.clip_gauss) / self.unit_gauss
        core = grid.clip(-self.knee_gauss, self.knee_gauss)
        room = self.clip_gauss - self.knee_gauss
        # slope one at the knee, so that field and its gradient are continuous there
        return (core + room * _tanh((grid - core) / room)) / self.unit_gauss

    def to_gauss(self, x: Any) -> Any:
        """Network units back to G (what was clipped stays clipped)."""
        gauss = x * self.unit_gauss
        if self.knee_gauss is None:
            return gauss
        core = gauss.clip(-self.knee_gauss, self.knee_gauss)
        room = self.clip_gauss - self.knee_gauss
        # beyond 3.8 times `room` above the knee float32 cannot tell the bent values apart
        return core + room * _atanh(((gauss - core) / room).clip(-0.999, 0.999))


def _tanh(x: Any) -> Any:
    return x.tanh() if hasattr(x, "tanh") else np.tanh(x)


def _atanh(x: Any) -> Any:
    return x.atanh() if hasattr(x, "atanh") else np.arctanh(x)


_QUICK_GENERATOR = GeneratorConfig(
    arch="pyramid",
    loss="vae-gan",
    images=400_000,
    learning_rate=5e-4,
    betas=(0.5, 0.99),
    r1=0.2,
    ema_halflife_images=5_000,
    precision="bf16",
    grow_images=(50_000, 0),  # at 32 x 32, then at full size: 64 x 64 alone taught little
    fade_images=5_000,
    anchors=("tuf", "r", "psep"),
)
_QUICK_ENCODER = EncoderConfig(
    width=32,
    batch=128,
    images=110_000,
    learning_rate=0.12,
    precision="bf16",
    loss="contrastive",
    downsample=2,
)

_PHYSICAL_SCALE = (1.822125, 1.822125)
_PHYSICAL_ENCODER = replace(
    _QUICK_ENCODER,
    downsample=1,
    bands=True,
    # R six times, PSEP and SIGMA twice: they are what a search by look alone loses
    physics=("tuf", *("r",) * 6, "psep", "psep", "tpf", "tnf", "sigma", "sigma", "alpha", "grad"),
    physics_dims=4,
    physics_weight=3.0,
    augment=AugmentConfig.physical(_PHYSICAL_SCALE, shift_mm=18.22125, plain_share=0.5),
)

PRESETS: dict[str, Preset] = {
    "paper": Preset("paper"),
    # the paper's data and encoder with a generator that learns faster per second (see generator/pyramid.py)
    "quick": Preset(
        "quick",
        generator=_QUICK_GENERATOR,
        encoder=_QUICK_ENCODER,
    ),
    # what a user should get: maxwell and megametres (docs/physical.md says how the numbers were chosen)
    "physical": Preset(
        "physical",
        clip_gauss=4000.0,
        knee_gauss=3000.0,
        scale_mm=_PHYSICAL_SCALE,
        generator=replace(
            _QUICK_GENERATOR,
            limit=4.0,
            window=True,
            fine_grain=True,
            anchors=("tuf", "r", "psep", "sigma", "tilt", "net_flux"),
            amounts=0.3,
        ),
        encoder=_PHYSICAL_ENCODER,
    ),
    "tiny": Preset(
        "tiny",
        shape=(32, 32),
        generator=GeneratorConfig(arch="tiny", latent_dim=16, batch=16, epochs=2, width=8),
        encoder=EncoderConfig(
            width=4,
            embedding_dim=16,
            projection_hidden=32,
            prediction_hidden=16,
            batch=16,
            epochs=2,
            augment=AugmentConfig(shift_px=2.5),
        ),
    ),
}


def get_preset(name: str | Preset) -> Preset:
    """The preset of that name; a preset is returned as it is."""
    if isinstance(name, Preset):
        return name
    if name not in PRESETS:
        raise ValueError(f"no preset named {name!r}; there are: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def validated(kind: type, values: dict[str, Any]) -> Any:
    """An instance of the settings class `kind` from untrusted `values`, checked and converted by pydantic.

    Raises
    ------
    ValueError
        Naming each field that is unknown or does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{kind.__name__} has no setting {', '.join(unknown)}; it has: {', '.join(sorted(known))}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{kind.__name__}: {where + ': ' if where else ''}{first['msg']}") from None
