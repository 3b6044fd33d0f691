"""Which patches a batch holds: all in turn, or a fixed share of each batch from the few that are real observations."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import SolqueryError
from ..protocols import Patches
from .run_folder import batch_order

__all__ = ["BatchRows", "images_of", "real_share", "representative_rows"]

#: of the random numbers of a mixed batch, beside those of `batch_order`
_REAL, _PLACES = 37, 41


def real_share(batch: int, weight: float, real: np.ndarray | None, together: int = 1) -> int:
    """How many patches of each batch are real.

    Parameters
    ----------
    batch, weight
        Patches in a batch, and the share of them that is to be real; 0: none are singled out.
    real
        (N,) which of the training patches are real observations; None: not known.
    together
        The number is a multiple of it, as the rest of the batch has to be.

    Raises
    ------
    SolqueryError
        When no patch is real, or all are, or there are too few of either kind for a batch.
    """
    if not weight:
        return 0
    there = 0 if real is None else int(np.count_nonzero(real))
    if real is None or not 0 < there < len(real):
        what = "all" if real is not None and there else "none"
        raise SolqueryError(
            f"a real weight of {weight:g} needs real patches beside simulated ones, and {what} of those to train on "
            "are real; ingest both into the archive, or leave --real-weight out"
        )
    share = min(round(weight * batch / together), batch // together - 1, there // together) * together
    if share < 1 or len(real) - there < batch - share:
        raise SolqueryError(
            f"{there} real and {len(real) - there} simulated patches do not make batches of {batch} of which a share "
            f"of {weight:g} is real; change --real-weight"
        )
    return share


class BatchRows:
    """Rows (B,) of the batch of each step, a function of seed and step alone.

    Without a `weight` every epoch passes all patches in another order. With one, each batch holds `real_share` real
    patches, of which none comes twice in a batch, and is filled with the others; an epoch passes the others once, and
    the real ones more often.

    Parameters
    ----------
    count, batch, seed
        Training patches; of a batch; of the order.
    real, weight
        As in `real_share`.
    """

    def __init__(self, count: int, batch: int, seed: int, real: np.ndarray | None = None, weight: float = 0.0) -> None:
        self.count, self.batch, self.seed = count, batch, seed
        self.share = real_share(batch, weight, real)
        if self.share and real is not None:
            self._real, self._rest = np.flatnonzero(real), np.flatnonzero(~np.asarray(real, bool))
        else:
            self._real, self._rest = np.empty(0, int), np.arange(count)
        self.per_epoch = len(self._rest) // (batch - self.share)
        self._epoch, self._order = -1, np.empty(0, int)

    def __call__(self, step: int) -> np.ndarray:
        epoch, k = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._rest[batch_order(self.seed, epoch, len(self._rest))]
        rest = self._order[k * (self.batch - self.share) : (k + 1) * (self.batch - self.share)]
        if not self.share:
            return np.sort(rest)
        turn, k = divmod(step, len(self._real) // self.share)
        order = np.random.default_rng([self.seed, turn, _REAL]).permutation(self._real)
        chosen = np.concatenate([rest, order[k * self.share : (k + 1) * self.share]])
        # the trainers halve a batch: real patches are to be found in both halves
        return np.random.default_rng([self.seed, step, _PLACES]).permutation(chosen)


def images_of(data: Patches, rows: np.ndarray, device: torch.device) -> torch.Tensor:
    """Rows of patches (N, H, W) as (n, 1, H, W) float32 on a device.

    What is held in float16 goes there as it is: half the bytes, and torch converts it in a quarter of numpy's time.
    """
    values = np.asarray(data[rows])
    if values.dtype != np.float16:
        values = values.astype(np.float32, copy=False)
    return torch.as_tensor(values).to(device).float()[:, None]


def representative_rows(
    count: int, most: int, rng: np.random.Generator, real: np.ndarray | None = None, weight: float = 0.0
) -> np.ndarray:
    """At most `most` rows, sorted, that stand for what a training is shown: with a `weight`, so many of them are real.

    A real patch stands there several times where there are few.
    """
    if not weight or real is None:
        return np.sort(rng.choice(count, min(count, most), replace=False))
    there, rest = np.flatnonzero(real), np.flatnonzero(~np.asarray(real, bool))
    fresh = min(len(rest), round((1 - weight) * most))
    again = rng.choice(there, round(fresh * weight / (1 - weight)), replace=True)
    return np.sort(np.concatenate([rng.choice(rest, fresh, replace=False), again]))
