"""Settings of the generator and its training."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import _require

__all__ = ["GeneratorConfig"]


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
    #: what Adam adds to the root of its second moment: gradients well below it move the weights little
    epsilon: float = 1e-8
    #: weight of the zero-centred gradient penalty on real (R1) patches; 0 switches it off
    r1: float = 0.0
    #: half-life, in images, of the exponential moving average of the weights; 0 switches it off
    ema_halflife_images: int = 0
    #: the checkpoint is chosen among this many first epochs
    choose_within_epochs: int = 100
    width: int = 64
    #: linear layers at the end of the paper's discriminator: 2, as in its code (of 100 numbers between them), or 1, as
    #: in its text
    discriminator_linear_layers: int = 2
    precision: str = "fp32"
    #: images spent at each coarser level before the next is grown, coarsest first; empty: no growing
    grow_images: tuple[int, ...] = ()
    #: images over which a new level of the discriminator is faded in
    fade_images: int = 20_000
    #: first images from which the discriminator learns alone (loss `vae-gan` only): one that is new beside a generator
    #: that is not would lead it astray
    discriminator_warmup_images: int = 0
    #: parameters that the first latent coordinates carry in training (loss `vae-gan` only; see generator/anchors.py)
    anchors: tuple[str, ...] = ()
    #: gauss of one network unit, for measuring the anchors
    unit_gauss: float = 1000.0
    #: largest network unit that the generator can make
    limit: float = 1.0
    #: network units below which what is made fades to nothing, for grids that reach beyond the observation
    hush: float = 0.0
    #: what is drawn is cut to a rectangle, whose size is read off the latent vector (architecture `pyramid` only; see
    #: generator/footprint.py), for the same grids
    footprint_mask: bool = False
    #: every pixel of the finest image has noise of its own (architecture `pyramid` only)
    pixel_noise: bool = False
    #: last images of the training, over which the learning rate falls to a tenth (loss `vae-gan` only); 0: it stays
    decay_images: int = 0
    #: weight of the amounts that images are held to (loss `vae-gan` only; see generator/statistics_matching.py); 0
    #: switches it off
    statistics_matching: float = 0.0
    #: weight of how the encoder of the search sees what is drawn (loss `vae-gan` only; see
    #: generator/embedding_critic.py); it is given to the training. 0 switches it off
    embedding_critic: float = 0.0
    #: share of each batch that is real observations, where the archive has simulated ones beside (loss `vae-gan` only);
    #: 0: every patch as often as any other
    real_weight: float = 0.0
    #: probability that what the discriminator is shown is shifted, mirrored, turned or zoomed (loss `vae-gan` only; see
    #: generator/discriminator_augment.py), so that it cannot learn few patches by heart; 0 switches it off
    discriminator_augment: float = 0.0
    #: first convolutions of the discriminator that stay as the training begins with them (loss `vae-gan` only)
    frozen_discriminator_layers: int = 0
    #: one generated batch serves both steps of an iteration (faster), instead of one each (losses but `vae-gan`, whose
    #: two steps always share)
    shared_batch: bool = False

    def __post_init__(self) -> None:
        _require(self.latent_dim >= 1, f"latent_dim must be at least 1, got {self.latent_dim}")
        _require(self.batch >= 2, f"batch must be at least 2, got {self.batch}")
        _require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        _require(self.learning_rate > 0, f"learning_rate must be positive, got {self.learning_rate}")
        _require(all(0 <= beta < 1 for beta in self.betas), f"betas must lie within 0 and 1, got {self.betas}")
        _require(self.epsilon > 0, f"epsilon must be positive, got {self.epsilon}")
        _require(
            self.discriminator_warmup_images >= 0,
            f"discriminator_warmup_images must not be negative, got {self.discriminator_warmup_images}",
        )
        _require(
            self.statistics_matching >= 0, f"statistics_matching must not be negative, got {self.statistics_matching}"
        )
        _require(self.embedding_critic >= 0, f"embedding_critic must not be negative, got {self.embedding_critic}")
        _require(
            not self.footprint_mask or self.arch == "pyramid",
            f"architecture {self.arch!r} has no footprint_mask, only 'pyramid'",
        )
        fine = not self.pixel_noise or self.arch == "pyramid"
        _require(fine, f"architecture {self.arch!r} has no pixel_noise, only 'pyramid'")
        _require(self.decay_images >= 0, f"decay_images must not be negative, got {self.decay_images}")
        _require(0 <= self.real_weight < 1, f"real_weight must be at least 0 and below 1, got {self.real_weight}")
        augment = self.discriminator_augment
        _require(0 <= augment <= 1, f"discriminator_augment is a probability, got {augment}")
        frozen = self.frozen_discriminator_layers
        _require(0 <= frozen <= 3, f"frozen_discriminator_layers must lie within 0 and 3, got {frozen}")
        special = ("real_weight", "discriminator_augment", "frozen_discriminator_layers")
        used = [name for name in special if getattr(self, name)]
        _require(not used or self.loss == "vae-gan", f"loss {self.loss!r} has no {', '.join(used)}, only 'vae-gan'")
        layers = self.discriminator_linear_layers
        _require(layers in (1, 2), f"discriminator_linear_layers must be 1 or 2, got {layers}")
        losses = ("bce", "relativistic", "vae-gan")
        _require(self.loss in losses, f"loss must be one of {', '.join(losses)}, got {self.loss!r}")
        _require(self.precision in ("fp32", "bf16"), f"precision must be 'fp32' or 'bf16', got {self.precision!r}")
