"""The paper's choice among the epochs of a training: the one whose discriminator is least accurate.

"For further inference, we pick the epoch, from first 100 epochs, for which the discriminator shows the least accuracy
in distinguishing generated data from real" (paper, section 4). The text does not say on which real patches. Accuracy is
therefore measured on patches of the training and, where they are given, on patches of regions that the training does
not see: a discriminator that has learned its patches by heart is better on the first than on the second.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..aliases import Document
from ..config import PaperGanConfig
from ..protocols import Patches
from ..training.diversity import evaluating
from ..training.run_folder import batch_order, export_weights

__all__ = ["ACCURACY_PATCHES", "EpochChoice", "discriminator_accuracy"]

#: real patches of each kind that the discriminator is asked about, and as many generated ones
ACCURACY_PATCHES = 512


def discriminator_accuracy(discriminator: nn.Module, generator: nn.Module, real: torch.Tensor, seed: int) -> float:
    """Share of real and generated patches that the discriminator tells apart rightly (paper, section 4).

    Parameters
    ----------
    discriminator, generator
        Of one training, at one moment.
    real
        (N, 1, H, W) in preset units; as many are generated.
    seed
        Of the latents.
    """
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(len(real), generator.latent_dim, generator=draw).to(real.device)
    right = 0
    with evaluating(discriminator, generator):
        for start in range(0, len(real), 64):
            part = slice(start, start + 64)
            right += int((discriminator(real[part]) > 0).sum()) + int((discriminator(generator(z[part])) <= 0).sum())
    return right / (2 * len(real))


def _some(data: Patches, seed: int) -> torch.Tensor:
    """(N, 1, H, W) of at most `ACCURACY_PATCHES` rows."""
    rows = batch_order(seed, -1 % 2**31, len(data))[:ACCURACY_PATCHES]
    return torch.as_tensor(np.asarray(data[np.sort(rows)], np.float32))[:, None]


class EpochChoice:
    """Follows the accuracy of a run's discriminator and keeps the generator of the best epochs.

    Parameters
    ----------
    config
        Says among how many first epochs to choose (``choose_within_epochs``).
    data, held_out
        (N, H, W) patches in preset units: those of the training, and others or None.
    seed
        Of the run.
    folder
        For ``chosen.safetensors`` (by patches of the training) and ``chosen-held-out.safetensors``.
    noted
        What the checkpoint that the run goes on from holds.
    """

    def __init__(
        self, config: PaperGanConfig, data: Patches, held_out: Patches | None, seed: int, folder: Path, noted: Document
    ) -> None:
        self.within, self.seed, self.folder = config.choose_within_epochs, seed, folder
        judged = {"": data} if held_out is None else {"": data, "held_out_": held_out}
        self.judged = {kind: _some(patches, seed) for kind, patches in judged.items()}
        #: what a checkpoint notes: least accuracy so far, and its epoch
        self.best: Document = {}
        for kind in self.judged:
            self.best[f"best_{kind}accuracy"] = noted.get(f"best_{kind}accuracy", math.inf)
            self.best[f"best_{kind}epoch"] = noted.get(f"best_{kind}epoch", -1)

    def after(self, epoch: int, discriminator: nn.Module, generator: nn.Module) -> Document:
        """Measure after `epoch` (from 1), keep the weights where they are the best so far; for a line of statistics."""
        device = next(generator.parameters()).device
        line: Document = {}
        for kind, patches in self.judged.items():
            accuracy = discriminator_accuracy(discriminator, generator, patches.to(device), self.seed)
            if epoch <= self.within and accuracy < self.best[f"best_{kind}accuracy"]:
                self.best |= {f"best_{kind}accuracy": accuracy, f"best_{kind}epoch": epoch}
                name = "chosen.safetensors" if kind == "" else "chosen-held-out.safetensors"
                export_weights(generator, self.folder / name)
            name = "discriminator_accuracy" if kind == "" else "held_out_discriminator_accuracy"
            line |= {name: round(accuracy, 4), f"{kind}chosen_epoch": self.best[f"best_{kind}epoch"]}
        return line
