"""Settings of the generator and its training: what all have, and what each method has besides."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from ..aliases import Document, Entries
from .checks import _require
from .renamed import with_current_names

__all__ = [
    "GeneratorConfig",
    "PaperGanConfig",
    "VaeGanConfig",
    "changed",
    "config_class",
    "for_its_method",
    "of_its_method",
]


@dataclass(frozen=True)
class GeneratorConfig:
    """Networks and schedule, whatever the method; a training takes a `PaperGanConfig` or a `VaeGanConfig`."""

    arch: str = "paper"
    latent_dim: int = 100
    loss: str = "bce"
    batch: int = 32
    epochs: int = 200
    #: images shown in total; overrides `epochs` where it is set
    images: int | None = None
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    #: what Adam adds to the root of its second moment: gradients well below it move the weights little
    epsilon: float = 1e-8
    #: weight of the zero-centred gradient penalty on real (R1) patches; 0 switches it off
    r1: float = 0.0
    #: half-life, in images, of the exponential moving average of the weights; 0 switches it off
    ema_halflife_images: int = 0
    width: int = 64
    precision: str = "fp32"
    #: images spent at each coarser level before the next is grown, coarsest first; empty: no growing
    grow_images: tuple[int, ...] = ()
    #: images over which a new level of the discriminator is faded in
    fade_images: int = 20_000
    #: gauss of one network unit, and the largest network unit that the generator can make; a `Preset` sets both
    unit_gauss: float = 1000.0
    limit: float = 1.0
    #: linear layers at the end of the discriminator of architecture `paper`: 2, as in the paper's code (of 100 numbers
    #: between them), or 1, as in its text
    discriminator_linear_layers: int = 2
    #: generated images are multiplied by a rectangle whose size follows from the latent vector (architecture `pyramid`
    #: only; see generator/footprint.py), for grids that reach beyond the observation
    footprint_mask: bool = False
    #: every pixel of the finest image has noise of its own (architecture `pyramid` only)
    pixel_noise: bool = False
    #: the latent vector says how much of each pattern of that noise there is
    noise_gain: bool = False
    #: the layers are told the latent vector with a correction by a small network (architecture `pyramid` only)
    latent_mapping: bool = False
    #: network units below which generated values shrink toward 0 (architecture `pyramid` only): models from before
    #: `footprint_mask` have it; 0 switches it off
    shrinkage: float = 0.0

    def __post_init__(self) -> None:
        _require(self.latent_dim >= 1, f"latent_dim must be at least 1, got {self.latent_dim}")
        _require(self.batch >= 2, f"batch must be at least 2, got {self.batch}")
        _require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        _require(self.learning_rate > 0, f"learning_rate must be positive, got {self.learning_rate}")
        _require(all(0 <= beta < 1 for beta in self.betas), f"betas must lie within 0 and 1, got {self.betas}")
        _require(self.epsilon > 0, f"epsilon must be positive, got {self.epsilon}")
        _require(self.pixel_noise or not self.noise_gain, "noise_gain is of the pixel noise: set pixel_noise too")
        for name in ("footprint_mask", "pixel_noise", "noise_gain", "latent_mapping"):
            fits = not getattr(self, name) or self.arch == "pyramid"
            _require(fits, f"architecture {self.arch!r} has no {name}, only 'pyramid'")
        layers = self.discriminator_linear_layers
        _require(layers in (1, 2), f"discriminator_linear_layers must be 1 or 2, got {layers}")
        _require(self.precision in ("fp32", "bf16"), f"precision must be 'fp32' or 'bf16', got {self.precision!r}")
        losses = _losses(type(self))
        _require(self.loss in losses, f"loss must be one of {', '.join(losses)}, got {self.loss!r}")


@dataclass(frozen=True)
class PaperGanConfig(GeneratorConfig):
    """A generator against a discriminator, alternately (paper, section 4, "Training Generative Model").

    Losses `bce`, the paper's, and `relativistic`.
    """

    #: the checkpoint is chosen among this many first epochs (loss `bce` only)
    choose_within_epochs: int = 100
    #: one generated batch serves both steps of an iteration (faster), instead of one each
    shared_batch: bool = False


@dataclass(frozen=True)
class VaeGanConfig(GeneratorConfig):
    """A variational autoencoder whose decoder is the generator, with a discriminator (loss `vae-gan`).

    Larsen et al. 2016, arXiv:1512.09300; see generator/vaegan.py.
    """

    loss: str = "vae-gan"
    #: parameters that the first latent coordinates carry in training (see generator/anchors.py)
    anchors: tuple[str, ...] = ()
    #: weight of statistics matching (see generator/statistics_matching.py); 0 switches it off
    statistics_matching: float = 0.0
    #: weight of a critic of the same statistics together (see generator/statistics_critic.py); 0 switches it off
    statistics_critic: float = 0.0
    #: weight of how differently the encoder of the search sees generated and real images (see
    #: generator/embedding_critic.py); that encoder is given to the training. 0 switches it off
    embedding_critic: float = 0.0
    #: draws of the training are distributed as the latents of patches are, and its weights whitened (see
    #: generator/whitening.py); without, draws are standard normal
    latent_moments: bool = False
    #: first images, from which the discriminator alone learns: beside a trained generator, a new discriminator would
    #: give wrong gradients
    discriminator_warmup_images: int = 0
    #: last images of the training, over which the learning rate falls to a tenth; 0: it stays
    decay_images: int = 0
    #: share of each batch that is real observations, where the archive has simulated ones beside; 0: every patch as
    #: often as any other
    real_weight: float = 0.0
    #: probability that what the discriminator is shown is shifted, mirrored, turned or zoomed (see
    #: generator/discriminator_augment.py), so that it cannot learn few patches by heart; 0 switches it off
    discriminator_augment: float = 0.0
    #: first convolutions of the discriminator that stay as the training begins with them
    frozen_discriminator_layers: int = 0
    #: the discriminator also judges mean and root mean square of its features over the patch (`PatchDiscriminator`)
    pooled_head: bool = False
    #: and, with it, how much these differ from patch to patch, among eight of a kind
    batch_spread: bool = False
    #: learning rate of the discriminator, in units of `learning_rate`
    discriminator_rate: float = 0.5
    #: weight of the squared error of reconstructions beside everything else
    reconstruction_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = "statistics_matching", "statistics_critic", "embedding_critic"
        for name in ("discriminator_warmup_images", "decay_images", *weights):
            _require(getattr(self, name) >= 0, f"{name} must not be negative, got {getattr(self, name)}")
        _require(0 <= self.real_weight < 1, f"real_weight must be at least 0 and below 1, got {self.real_weight}")
        fits = not self.latent_moments or self.arch == "pyramid"
        _require(fits, f"architecture {self.arch!r} cannot be whitened, as latent_moments has it; only 'pyramid' can")
        augment = self.discriminator_augment
        _require(0 <= augment <= 1, f"discriminator_augment is a probability, got {augment}")
        frozen = self.frozen_discriminator_layers
        _require(0 <= frozen <= 3, f"frozen_discriminator_layers must lie within 0 and 3, got {frozen}")
        _require(
            self.pooled_head or not self.batch_spread, "batch_spread is of the pooled head: set pooled_head as well"
        )
        _require(
            bool(self.statistics_matching) or not self.statistics_critic,
            "statistics_critic is given the statistics of statistics_matching: set that too",
        )
        for name in ("discriminator_rate", "reconstruction_weight"):
            _require(getattr(self, name) > 0, f"{name} must be positive, got {getattr(self, name)}")


_METHODS: dict[str, type[GeneratorConfig]] = {
    "bce": PaperGanConfig, "relativistic": PaperGanConfig, "vae-gan": VaeGanConfig,
}  # fmt: skip
_Config = TypeVar("_Config")


def _losses(kind: type[GeneratorConfig]) -> list[str]:
    """Names of the losses whose settings are of class `kind`."""
    return [loss for loss, method in _METHODS.items() if issubclass(method, kind)] or list(_METHODS)


def config_class(loss: str) -> type[GeneratorConfig]:
    """The class of the settings of a loss.

    >>> config_class("vae-gan").__name__
    'VaeGanConfig'
    """
    _require(loss in _METHODS, f"loss must be one of {', '.join(_METHODS)}, got {loss!r}")
    return _METHODS[loss]


def for_its_method(values: Entries) -> tuple[type[GeneratorConfig], Document]:
    """Stored settings of a generator under the names of today, without those of other methods; and their class.

    Until each method had a class of its own, every file held the settings of all of them.

    >>> kind, values = for_its_method({"loss": "bce", "amounts": 0.0, "batch": 32})
    >>> kind.__name__, values
    ('PaperGanConfig', {'loss': 'bce', 'batch': 32})
    """
    kind = config_class(values.get("loss", "bce"))
    all_names = {field.name for one in _METHODS.values() for field in fields(one)}
    foreign = all_names - {field.name for field in fields(kind)}
    return kind, {name: value for name, value in with_current_names(values).items() if name not in foreign}


def of_its_method(config: GeneratorConfig) -> GeneratorConfig:
    """Settings with those of the method that their loss names, at their defaults where `config` has none."""
    kind = config_class(config.loss)
    return config if isinstance(config, kind) else kind(**{f.name: getattr(config, f.name) for f in fields(config)})


def changed(config: _Config, **changes: Any) -> _Config:
    """`config` with other values of some settings.

    Raises
    ------
    ValueError
        When its method has no such setting, or the value does not fit.
    """
    if isinstance(config, GeneratorConfig):
        for name in sorted(set(changes) - {field.name for field in fields(config)}):
            having = [repr(loss) for loss, kind in _METHODS.items() if name in {field.name for field in fields(kind)}]
            only = f", only {' and '.join(having)}" if having else ""
            raise ValueError(f"loss {config.loss!r} has no {name}{only}")
    return replace(config, **changes)  # type: ignore[type-var]
