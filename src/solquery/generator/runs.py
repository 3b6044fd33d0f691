"""The run folder: settings, statistics, checkpoints, sample pictures; every file appears by write-then-rename."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ..config import GeneratorConfig
from ..errors import SolqueryError

__all__ = [
    "RunFolder",
    "TrainingError",
    "batch_order",
    "draw_picture",
    "export_weights",
    "trim_stats",
    "write_then_rename",
]


class TrainingError(SolqueryError):
    """Training cannot start or go on."""


def write_then_rename(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside `path`, then rename: a reader or a crash never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)


def batch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order of the patches in an epoch, a function of the three numbers alone."""
    return np.random.default_rng([seed, epoch, 31]).permutation(count)


def trim_stats(path: Path, images: int) -> None:
    """Drop lines written after the checkpoint that the run goes on from."""
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if json.loads(line)["images"] <= images]
        write_then_rename(path, lambda part: part.write_text("".join(line + "\n" for line in kept)))


def export_weights(network: nn.Module, path: Path) -> None:
    """Weights of `network` as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    write_then_rename(path, lambda part: save_file(tensors, part))


def draw_picture(network: nn.Module, path: Path, level: int | None, device: torch.device) -> None:
    """The same 36 latents, six by six, as a grey PNG (skipped where Pillow is missing)."""
    try:
        from PIL import Image
    except ImportError:
        return
    z = torch.randn(36, network.latent_dim, generator=torch.Generator().manual_seed(36)).to(device)
    with torch.no_grad():
        x = (network(z) if level is None else network(z, level=level))[:, 0].float().cpu().numpy()
    h, w = x.shape[1:]
    sheet = x.reshape(6, 6, h, w)[:, :, ::-1].transpose(0, 2, 1, 3).reshape(6 * h, 6 * w)
    grey = np.round((np.clip(sheet / 0.8, -1, 1) + 1) * 127.5).astype(np.uint8)
    write_then_rename(path, lambda part: Image.fromarray(grey).save(part, format="PNG"))


class RunFolder:
    """One run on disk; refuses a folder that holds other settings or data."""

    def __init__(self, run: str | Path, config: GeneratorConfig, shape: tuple[int, int], seed: int, data: Any) -> None:
        self.path, self.config = Path(run), config
        count = len(data)
        if count < config.batch:
            raise TrainingError(
                f"{count} patches cannot fill a batch of {config.batch}: add patches or lower the batch"
            )
        if tuple(data[0].shape) != tuple(shape):
            raise TrainingError(
                f"patches are {tuple(data[0].shape)}, the preset wants {tuple(shape)}: prepare them again"
            )
        numbers = json.loads(json.dumps(dataclasses.asdict(config)))
        resolved = {"generator": numbers, "shape": list(shape), "seed": seed, "patches": count}
        settings = self.path / "config.json"
        if settings.exists() and json.loads(settings.read_text()) != resolved:
            raise TrainingError(f"{self.path} holds a run with other settings or data: choose another --run folder")
        write_then_rename(settings, lambda part: part.write_text(json.dumps(resolved, indent=2) + "\n"))
        self.checkpoint = self.path / "checkpoints" / "last.pt"
        self.stats = self.path / "stats.jsonl"

    def averaged(self, network: nn.Module) -> nn.Module:
        """A copy that follows the network as a moving average (or exactly, without a half-life)."""
        return copy.deepcopy(network).eval()

    def update(self, average: nn.Module, network: nn.Module, keep: float) -> None:
        """Move the average toward the network; `keep` is the weight of what it was."""
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)

    def resume(self, held: dict[str, Any], random: torch.Generator, device: torch.device) -> int:
        """Load the last checkpoint, if any, into everything in `held`; the step to go on from."""
        step = 0
        if self.checkpoint.exists():
            packed = torch.load(self.checkpoint, weights_only=True, map_location=device)
            for name, part in held.items():
                part.load_state_dict(packed[name])
            random.set_state(packed["random"].cpu())
            step = packed["step"]
        trim_stats(self.stats, step * self.config.batch)
        return step

    def save(self, held: dict[str, Any], random: torch.Generator, step: int) -> None:
        """Write a checkpoint of everything in `held`."""
        packed = {name: part.state_dict() for name, part in held.items()} | {"random": random.get_state(), "step": step}
        write_then_rename(self.checkpoint, lambda part: torch.save(packed, part))

    def check(self, values: dict[str, float], step: int) -> None:
        """Stop at a loss that is no longer finite; the last good checkpoint stays."""
        if not all(math.isfinite(value) for value in values.values()):
            raise TrainingError(
                f"the loss is no longer finite after {step * self.config.batch} images; {self.checkpoint} holds the "
                "last good state: lower learning_rate or raise r1, in a new run folder"
            )

    def line(self, values: dict[str, float], step: int, *, report: Callable | None, **more: Any) -> None:
        """One line of statistics, and the same to whoever watches."""
        entry = {"images": step * self.config.batch} | {k: round(v, 5) for k, v in values.items()} | more
        with self.stats.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if report is not None:
            report(entry)

    def picture(self, network: nn.Module, step: int, level: int | None, device: torch.device) -> None:
        """A sheet of samples under `samples/`, named by the images shown so far."""
        draw_picture(network, self.path / "samples" / f"{step * self.config.batch:09d}.png", level, device)

    def export(self, network: nn.Module) -> Path:
        """The weights to use, as `checkpoints/generator.safetensors`."""
        path = self.path / "checkpoints" / "generator.safetensors"
        export_weights(network, path)
        return path
