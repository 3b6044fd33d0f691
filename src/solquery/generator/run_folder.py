"""The run folder of a generator: its settings, the moving average of its weights, sample pictures, kept weights."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..aliases import Document
from ..config import GeneratorConfig, PaperGanConfig, for_its_method
from ..protocols import Patches
from ..training.diversity import evaluating
from ..training.process_group import ProcessGroup
from ..training.run_folder import RunFolder, TrainingError, export_weights, fingerprint, write_then_rename

__all__ = ["GeneratorRun", "sheet_of"]

#: snapshots of the weights are kept at multiples of so many steps, later of twice, four times … as many
KEEP_STEPS = 256
KEEP_AT_MOST = 16


def sheet_of(network: nn.Module, level: int | None, device: torch.device) -> np.ndarray:
    """The same 36 latents, six by six, north up, as grey values (6 H, 6 W)."""
    z = torch.randn(36, network.latent_dim, generator=torch.Generator().manual_seed(36)).to(device)
    with evaluating(network):
        x = (network(z) if level is None else network(z, level=level))[:, 0].float().cpu().numpy()
    h, w = x.shape[1:]
    sheet = x.reshape(6, 6, h, w)[:, :, ::-1].transpose(0, 2, 1, 3).reshape(6 * h, 6 * w)
    return np.round((np.clip(sheet / 0.8, -1, 1) + 1) * 127.5).astype(np.uint8)


class GeneratorRun(RunFolder):
    """The run of a generator with its settings, for patches (N, H, W) of the preset's `shape`."""

    remedy = " or raise r1"

    def __init__(
        self,
        run: str | Path,
        config: GeneratorConfig,
        shape: tuple[int, int],
        seed: int,
        data: Patches,
        processes: ProcessGroup | None = None,
        provenance: Document | None = None,
    ) -> None:
        self.config = config
        self.fills_a_batch(data, config.batch)
        if tuple(data[0].shape) != tuple(shape):
            raise TrainingError(
                f"patches are {tuple(data[0].shape)}, the preset wants {tuple(shape)}: prepare them again"
            )
        settings = {
            "generator": dataclasses.asdict(config),
            "shape": list(shape),
            "seed": seed,
            "patches": len(data),
            "data": fingerprint(data),
            "provenance": provenance or {},
        }
        super().__init__(run, settings, batch=config.batch, learning_rate=config.learning_rate, processes=processes)

    def brought_up(self, there: Document) -> Document:
        kind, stored = for_its_method(there["generator"])
        known = json.loads(json.dumps(dataclasses.asdict(kind())))
        if kind is PaperGanConfig:
            known["shared_batch"] = True  # before there was a choice, one batch served both steps
        return there | {"generator": known | stored}

    def averaged(self, network: nn.Module) -> nn.Module:
        """A copy that follows the network as a moving average (or exactly, without a half-life)."""
        return copy.deepcopy(network).eval()

    def update(self, average: nn.Module, network: nn.Module, keep: float) -> None:
        """Move the average toward the network; `keep` is the weight of what it was."""
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)

    def picture(self, network: nn.Module, step: int, level: int | None, device: torch.device) -> None:
        """A sheet of samples under `samples/`, named by the images shown so far (a PNG; skipped without Pillow)."""
        if not self.processes.leads:
            return
        images = step * self.batch
        grey = sheet_of(network, level, device)
        if self._events is not None:
            self._events.picture(grey, images)
        try:
            from PIL import Image
        except ImportError:
            return
        content = io.BytesIO()
        Image.fromarray(grey).save(content, format="PNG")
        write_then_rename(self.path / "samples" / f"{images:09d}.png", content.getvalue())

    def keep(self, step: int, last: bool = False, **networks: nn.Module) -> None:
        """Weights of this step under `checkpoints/kept/`, among which one is chosen afterwards.

        They stand at even distances, which double whenever there are more than 16 of them: a function of the step
        alone, so that a run that was killed keeps the same ones.
        """
        apart = KEEP_STEPS
        while step > KEEP_AT_MOST * apart:
            apart *= 2
        if not self.processes.leads or (step % apart and not last):
            return
        folder = self.path / "checkpoints" / "kept"
        for name, network in networks.items():
            export_weights(network, folder / f"{step * self.batch:09d}-{name}.safetensors")
        for file in folder.glob("*.safetensors"):
            images = int(file.name.split("-")[0])
            if images % (apart * self.batch) and images != step * self.batch:
                file.unlink(missing_ok=True)

    def export(self, network: nn.Module) -> Path:
        """The weights to use, as `checkpoints/generator.safetensors`."""
        path = self.path / "checkpoints" / "generator.safetensors"
        if self.processes.leads:
            export_weights(network, path)
            (self.path / "choice.json").unlink(missing_ok=True)  # it told of other weights
        return path
