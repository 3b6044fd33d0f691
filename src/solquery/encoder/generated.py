"""Let the encoder see what it will be asked with: patches drawn from a generator, beside those of the archive.

Queries made by description are not observations, and an encoder that has seen observations alone reads them a little
differently: what it takes for strong or rough in an observed patch need not be so in a drawn one. Draws among the
training patches, with targets of their own (`supervision`), bring the two readings together.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..protocols import Patches
from ..training.run_folder import write_then_rename

__all__ = ["GENERATED_SHARE", "WithGenerated", "with_generated"]

#: file of a run folder that keeps its draws, so that a stopped run goes on with the same
GENERATED_SHARE = "drawn.npy"
_BATCH = 100


class WithGenerated:
    """Two arrays (N, H, W) and (M, H, W), one after the other, read as one of N + M patches."""

    def __init__(self, first: Patches, second: Patches) -> None:
        if tuple(first.shape[1:]) != tuple(second.shape[1:]):
            raise ValueError(f"patches of shape {tuple(first.shape[1:])} and {tuple(second.shape[1:])} are not alike")
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Patch of one row (H, W), or patches (n, H, W) of a slice or an array of rows, float32."""
        if isinstance(rows, int | np.integer):
            row = range(len(self))[rows]
            of = self.first if row < len(self.first) else self.second
            return np.asarray(of[row - (0 if row < len(self.first) else len(self.first))], np.float32)
        chosen = np.arange(len(self))[rows]
        out = np.empty((len(chosen), *self.shape[1:]), np.float32)
        early = chosen < len(self.first)
        for of, mine, offset in ((self.first, early, 0), (self.second, ~early, len(self.first))):
            if mine.any():
                out[mine] = of[chosen[mine] - offset]
        return out


def with_generated(
    data: Patches, generator: nn.Module, latent_dim: int, count: int, run: str | Path, *, seed: int = 0
) -> WithGenerated:
    """The patches of `data` and `count` draws from the prior of a generator.

    Parameters
    ----------
    data
        Array-like (N, H, W) in network units.
    generator
        z (n, D) to (n, 1, H, W) in the same units.
    run
        Run folder that keeps the draws (`drawn.npy`); those there are taken as they are.

    Returns
    -------
    All N + `count` patches, read like one array.

    Raises
    ------
    ValueError
        Where the draws kept there are not `count` patches of that shape.
    """
    path = Path(run) / GENERATED_SHARE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        z = torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            made = torch.cat([generator(part)[:, 0] for part in z.split(_BATCH)]).numpy()
        content = io.BytesIO()
        np.save(content, made.astype(np.float16))
        write_then_rename(path, content.getvalue())
    drawn = np.load(path, mmap_mode="r")
    if drawn.shape != (count, *data.shape[1:]):
        raise ValueError(
            f"{path} holds draws of shape {drawn.shape}, not {(count, *data.shape[1:])}: take a new folder"
        )
    return WithGenerated(data, drawn)
