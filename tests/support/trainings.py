"""Short trainings for processes that are killed, or that train together; importable by them."""

from __future__ import annotations

import json
import sys

import numpy as np

SHAPE = (32, 32)


def configurations() -> dict:
    """A small configuration of every loss, by the loss's name."""
    from solquery.config import PaperGanConfig, VaeGanConfig

    common = {"latent_dim": 8, "width": 8, "batch": 16, "images": 480}
    grown = {**common, "arch": "pyramid", "ema_halflife_images": 100, "grow_images": (320,), "fade_images": 64}
    statistics = {"statistics_matching": 0.5, "statistics_critic": 0.5, "latent_moments": True}
    return {
        "bce": PaperGanConfig(arch="tiny", **common),
        "relativistic": PaperGanConfig(loss="relativistic", r1=1.0, **grown),
        "vae-gan": VaeGanConfig(r1=1.0, anchors=("tuf", "psep"), latent_mapping=True, **statistics, **grown),
    }


def blobs(count: int = 96) -> np.ndarray:
    """Fields of one blob each at a random place, in preset units."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    centre = rng.uniform(8, 24, (count, 2))
    return np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 18.0) for a, b in centre]).astype(np.float16)


def train(loss: str, run: str, **more) -> None:
    """Train on the blobs; every step is followed by a checkpoint, so that a kill falls into writing one as well."""
    import torch

    torch.set_num_threads(1)
    from solquery.generator import train_generator

    train_generator(configurations()[loss], blobs(), run, SHAPE, seed=4, **{"checkpoint_seconds": 0.0, **more})


if __name__ == "__main__":
    train(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))
