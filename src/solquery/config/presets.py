"""The named presets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .encoder import AugmentConfig, EncoderConfig
from .generator import PaperGanConfig, VaeGanConfig
from .preset import Preset

__all__ = ["FORMER_MEANINGS", "PRESETS", "get_preset", "preset_of_run"]


_QUICK_GENERATOR = VaeGanConfig(
    arch="pyramid",
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
    # R, PSEP and SIGMA weigh more: they are what a search by appearance alone loses
    physics={"tuf": 1, "r": 6, "psep": 2, "tpf": 1, "tnf": 1, "sigma": 2, "alpha": 1, "grad": 1},
    physics_dims=4,
    physics_weight=3.0,
    augment=AugmentConfig.physical(_PHYSICAL_SCALE, shift_mm=18.22125, plain_share=0.5),
)


#: what the name of a preset meant before another grid took it, in models and archives that were made then
FORMER_MEANINGS = {"physical": "physical-square"}

_PHYSICAL = Preset(
    "physical",
    shape=(96, 192),
    clip_gauss=4000.0,
    knee_gauss=3000.0,
    scale_mm=_PHYSICAL_SCALE,
    generator=replace(
        _QUICK_GENERATOR,
        footprint_mask=True,
        pixel_noise=True,
        anchors=("tuf", "r", "psep", "sigma", "tilt", "net_flux"),
        statistics_matching=0.3,
        noise_gain=True,
        pooled_head=True,
        batch_spread=True,
        discriminator_rate=1.5,
        reconstruction_weight=0.7,
    ),
    encoder=_PHYSICAL_ENCODER,
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
    "physical": _PHYSICAL,
    # the same on the square grid that it had before, which cuts a third of the real regions: for models made then
    "physical-square": replace(_PHYSICAL, name="physical-square", shape=(128, 128)),
    "tiny": Preset(
        "tiny",
        shape=(32, 32),
        generator=PaperGanConfig(arch="tiny", latent_dim=16, batch=16, epochs=2, width=8),
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


def preset_of_run(name: str | Preset, shape: Sequence[int]) -> Preset:
    """The preset of a training by its name and the sides of its images: what the name meant then, where that differs.

    >>> preset_of_run("physical", (128, 128)).name
    'physical-square'
    """
    preset = get_preset(name)
    former = FORMER_MEANINGS.get(preset.name)
    return PRESETS[former] if former is not None and tuple(shape) == PRESETS[former].shape else preset
