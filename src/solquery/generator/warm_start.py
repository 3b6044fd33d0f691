"""Begin with the weights of another training, also where its grid had other sides.

A convolution knows nothing of the sides of an image, so that all of them carry over. The layers that do are few: the
linear one that makes the coarsest map, those that end the inference network and the discriminator, the frozen noise,
and the footprint. The linear ones are taken at the same places on the Sun (`resample_map`), the frozen noise is drawn
anew, and the footprint is fitted to the archive.
"""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..aliases import Document
from ..model_files import is_model, read_manifest
from ..protocols import Patches
from ..training.run_folder import TrainingError
from .footprint import fit_footprint, load_weights
from .levels import resample_map, seed_shape

__all__ = ["WARMUP_IMAGES", "begin_with", "begun_settings", "carry_weights"]

#: images that a new discriminator learns from alone where the generator is a model's
WARMUP_IMAGES = 9_600

#: frozen random maps, which are drawn for each grid
_FROZEN = ".noise"
#: where the footprint network says how large a share of each side is seen
_FOOTPRINT_BIAS = "window.net.2.bias"


def begun_settings(start: str | Path, warmup: int | None = None) -> Document:
    """Settings of a `VaeGanConfig` that begins with weights: no coarse levels, and no trust in a new discriminator.

    Parameters
    ----------
    start
        Folder of a model, which has no discriminator, or of a run.
    warmup
        Images from which the discriminator alone learns; None: `WARMUP_IMAGES` where it is new.
    """
    if warmup is None:
        warmup = WARMUP_IMAGES if is_model(start) else 0
    return {"grow_images": (), "fade_images": 1, "discriminator_warmup_images": warmup}


def begin_with(
    start: str | Path, parts: dict[str, nn.Module], shape: tuple[int, int], data: Patches, seed: int
) -> dict[str, list[str]]:
    """Give new networks the weights of a model, or of another run's checkpoint, in place.

    Optimisers, random state and position stay behind. A generator that had no footprint, or that of another grid, is
    given the archive's (`fit_footprint`).

    Parameters
    ----------
    start
        Folder of a model or a run, or a checkpoint.
    parts
        ``generator``, ``average``, ``inference`` and ``discriminator``; the last keeps its weights where `start` is a
        model, which has none.
    shape
        Rows and columns of the images.
    data, seed
        The archive, for the footprint.

    Returns
    -------
    Of each part the names of the tensors that could not be copied as they are; empty where the grid is the same.

    Raises
    ------
    TrainingError
        When `start` cannot be read, or holds other networks.
    """
    start = Path(start)
    changed: dict[str, list[str]] = {}
    new = False
    try:
        stored, there = _stored(start)
        seeds = (seed_shape(there or shape), seed_shape(shape))
        for name, part in parts.items():
            if name in stored:
                fit, names = carry_weights(part, stored[name], seeds)
                new = new or fit
                if names:
                    changed[name] = names
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise TrainingError(
            f"cannot start from {start}: {first}; give a model or a checkpoint of the same networks"
        ) from None
    if new:
        fit_footprint(parts["average"], data, seed, refit="generator" in changed)
        parts["generator"].window.load_state_dict(parts["average"].window.state_dict())
    return changed


def _stored(start: Path) -> tuple[dict[str, dict[str, Tensor]], tuple[int, int] | None]:
    """States by name, and the sides of the images, where the folder tells them."""
    if is_model(start):
        states = {name: load_file(start / f"{name}.safetensors") for name in ("generator", "inference")}
        sides = read_manifest(start)["preset"]["shape"]
    else:
        checkpoint = start / "checkpoints" / "last.pt" if start.is_dir() else start
        states = torch.load(checkpoint, weights_only=True, map_location="cpu")
        told = checkpoint.parent.parent / "config.json"
        sides = json.loads(told.read_text())["shape"] if told.is_file() else None
    states["average"] = states.get("average", states["generator"])
    wanted = ("generator", "average", "inference", "discriminator")
    shape = None if sides is None else (int(sides[0]), int(sides[1]))
    return {name: states[name] for name in wanted if name in states}, shape


def carry_weights(
    network: nn.Module, stored: dict[str, Tensor], seeds: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[bool, list[str]]:
    """Load weights into a network in place, from one of another grid where needed.

    Parameters
    ----------
    network
        Generator, inference network or discriminator of loss `vae-gan`.
    stored
        State of one with the same widths.
    seeds
        Rows and columns of the coarsest map (`seed_shape`) of the stored network, and of this one.

    Returns
    -------
    Whether its footprint is to be fitted, and the names of the tensors that were not copied as they are.

    Raises
    ------
    RuntimeError
        When the networks differ in more than their grid.
    """
    if seeds[0] == seeds[1]:
        return load_weights(network, stored), []
    carried, changed = dict(stored), []
    for name, now in network.state_dict().items():
        if name not in stored:
            continue
        value = stored[name]
        if name == _FOOTPRINT_BIAS:
            # of shares of the sides; the cells of both coarsest maps are of one size
            carried[name] = value + torch.tensor(seeds[0]).log() - torch.tensor(seeds[1]).log()
        elif value.shape == now.shape:
            continue
        elif name.endswith(_FROZEN):
            carried[name] = now
        else:
            carried[name] = _resampled(value.to(now.dtype), now, *seeds)
        changed.append(name)
    load_weights(network, carried)
    return getattr(network, "window", None) is not None, changed


def _resampled(value: Tensor, now: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A linear layer's weights or biases whose outputs, or inputs, are the cells of the coarsest map."""
    cells, wanted = math.prod(old), math.prod(new)
    if value.shape[0] * wanted == now.shape[0] * cells:  # its outputs
        maps = value.reshape(-1, *old, *value.shape[1:]).movedim((1, 2), (-2, -1))
        return resample_map(maps, new).movedim((-2, -1), (1, 2)).reshape(now.shape)
    if value.ndim == 2 and value.shape[1] * wanted == now.shape[1] * cells:  # its inputs, whose sum is to stay
        maps = resample_map(value.reshape(value.shape[0], -1, *old), new) * (cells / wanted)
        return maps.reshape(now.shape)
    raise RuntimeError(f"a layer of shape {tuple(value.shape)} does not become one of {tuple(now.shape)}")
