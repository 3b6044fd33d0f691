"""Finetuning: the statistics of a trained generator's draws are moved to those of the archive, and little else.

An adversary shapes what is drawn and moves its statistics about; their average over the last of the training keeps a
share of that (fluxes a tenth too high, say). Once training is over the adversary is no longer needed: the generator is
moved, by small steps, to where the statistics of its draws are distributed as the archive's
(`StatisticsMatching.belong`), and is held to the images that it drew before, latent by latent, so that numbers are not
paid for with structure. Some thousands of images are enough, and more do harm: the statistics are ten numbers, an image
has 16,384.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn

from ..aliases import Document
from ..model_files import is_model
from ..protocols import Patches
from ..training.process_group import ProcessGroup
from ..training.run_folder import TrainingError
from .footprint import fit_footprint, load_weights
from .pyramid import compress
from .registry import build_generator
from .run_folder import GeneratorRun
from .statistics_matching import StatisticsMatching

if TYPE_CHECKING:
    from ..config import GeneratorConfig

__all__ = ["FinetuneConfig", "finetune"]

#: images between two lines of statistics
_LINE = 800


@dataclass(frozen=True)
class FinetuneConfig:
    """How a trained generator is finetuned.

    Attributes
    ----------
    images
        Drawn in all.
    learning_rate
        Of Adam; what comes out is the average of the steps, over some fifty of them.
    near
        Weight of the mean distance from the images drawn before, in transformed field (`pyramid.compress`).
    remembered
        Draws among which a new one finds its place. Fewer than in training: the generator moves with each step, and
        places among draws of long ago would make it overshoot.
    refit_footprint
        Give the footprints of a generator that has some the archive's sizes first, each draw keeping its rank.
    """

    images: int = 6400
    learning_rate: float = 1e-5
    near: float = 3.0
    remembered: int = 256
    refit_footprint: bool = False

    def __post_init__(self) -> None:
        for name in ("images", "learning_rate", "remembered"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.near < 0:
            raise TrainingError(f"near must not be negative, got {self.near}")


def _network(config: GeneratorConfig, shape: tuple[int, int], weights: Path) -> tuple[nn.Module, bool]:
    """The generator, and whether it has a footprint mask that its weights know nothing of."""
    network = build_generator(config, shape)
    new = load_weights(network, load_file(weights))
    return network.eval().to(memory_format=torch.channels_last), new


def finetune(
    run: str | Path,
    out: str | Path,
    config: GeneratorConfig,
    data: Patches,
    shape: tuple[int, int],
    settings: FinetuneConfig | None = None,
    seed: int = 0,
    progress: Callable[[Document], None] | None = None,
    provenance: Document | None = None,
) -> Path:
    """Hold the statistics of a trained generator's draws to the archive's.

    Parameters
    ----------
    run
        Folder of the finished training, or of a model; it is not changed.
    out
        A new run folder: weights, config, statistics and pictures, from which a model can be built.
    config, shape
        Of the generator. With `footprint_mask`, one that was trained without is given the archive's (`fit_footprint`).
    data
        Array-like (N, H, W) in network units: the archive whose statistics are asked for.
    settings
        See `FinetuneConfig`.
    seed
        Of the draws.
    progress
        Called with each line of statistics.
    provenance
        Kept in the new run's ``config.json``.

    Returns
    -------
    Path
        Of the weights.

    Raises
    ------
    TrainingError
        When `run` has no finished weights, or `out` holds another run.
    """
    settings = settings or FinetuneConfig()
    source = Path(run) if is_model(run) else Path(run) / "checkpoints"
    weights = source / "generator.safetensors"
    if not weights.exists():
        raise TrainingError(f"{run} has no finished weights ({weights} is missing): let its training end first")
    if Path(out).resolve() == Path(run).resolve():
        raise TrainingError(f"{out} is the run to finetune itself: name a new folder, the old weights stay")
    batch = config.batch
    (teacher, new), (student, _) = (_network(config, shape, weights) for _ in range(2))
    teacher.requires_grad_(False)
    if new or (settings.refit_footprint and teacher.window is not None):
        fit_footprint(teacher, data, seed, refit=not new)
        student.window.load_state_dict(teacher.window.state_dict())
    told = {**(provenance or {}), "finetuned": {"from": Path(run).name, **settings.__dict__}}
    random = torch.Generator().manual_seed(seed + 7)
    with GeneratorRun(out, replace(config, images=settings.images), shape, seed, data, provenance=told) as folder:
        statistics = StatisticsMatching(data, config.unit_gauss, seed, remembered=settings.remembered)
        with torch.no_grad():
            for _ in range(math.ceil(settings.remembered / batch)):
                x = teacher(torch.randn(batch, config.latent_dim, generator=random))
                if not torch.isfinite(x).all():
                    raise TrainingError(f"what {weights} draws is not finite: choose another checkpoint of the run")
                statistics.belong(statistics(x), ProcessGroup())
        average = folder.averaged(student)
        folder.picture(average, 0, None, torch.device("cpu"))
        optimise = torch.optim.Adam(student.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
        steps = math.ceil(settings.images / batch)
        for step in range(steps):
            optimise.param_groups[0]["lr"] = settings.learning_rate * min(1.0, (step + 1) / 20)
            z = torch.randn(batch, config.latent_dim, generator=random)
            with torch.no_grad():
                before = teacher(z)
            drawn = student(z)
            missed = statistics.belong(statistics(drawn), ProcessGroup())
            moved = (compress(drawn) - compress(before)).abs().mean()
            optimise.zero_grad(set_to_none=True)
            (missed + settings.near * moved).backward()
            nn.utils.clip_grad_norm_(student.parameters(), 5.0)
            optimise.step()
            folder.update(average, student, min(0.98, (step + 1) / (step + 10)))
            values = {"statistics_matching": float(missed.detach()), "moved": float(moved.detach())}
            folder.check(values, step)
            if (step + 1) % max(_LINE // batch, 1) == 0 or step + 1 == steps:
                folder.line(values, step + 1, report=progress, of_images=steps * batch)
        folder.picture(average, steps, None, torch.device("cpu"))
        inference = source / "inference.safetensors"
        if inference.exists():
            (folder.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(inference, folder.path / "checkpoints" / "inference.safetensors")
        return folder.export(average)
