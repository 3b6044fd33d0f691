"""Rejection sampling: draws of a generator, accepted as often as the archive holds patches like them.

A generator draws some kinds of patch too often and others too seldom, and some of its draws look like nothing in the
archive. Small networks learn from embeddings whether a patch is of the archive or drawn. Their mean logit estimates the
logarithm of the ratio of the two densities, and a draw that is accepted with a probability in proportion to that ratio
comes from the archive's density, as far as they tell the two apart (discriminator rejection sampling, Azadi et al.
2019, arXiv:1810.06758). Nothing about the generator or its latent space changes: what is rejected can still be steered
to, inverted to, and asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..aliases import Array, Document
from ..encoder.embedding import embed
from .latents import SteeringError, in_use, prior_latents, render

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model

Progress = Callable[[str, float], None]

__all__ = ["RejectionSampler", "fit_sampler", "sampler_for"]

#: a draw with this many times the ratio of the middle one, or more, is always accepted; fewer times where hardly any
#: draw has so much
BOUND, _RARE = 8.0, 0.99
#: networks that learn the ratio, each from other regions, and the hidden units of each; their mean errs less than each
MEMBERS, HIDDEN = 5, 64
#: share of features left out at a time in training, the share of regions and draws that says when to stop
_DROPOUT, _HELD_BACK = 0.3, 0.1
_EPOCHS, _PATIENCE, _BATCH = 60, 8, 256
#: patches read, or drawn, and embedded at a time
_CHUNK = 500


def _network(features: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(hidden, 1))


class RejectionSampler(nn.Module):
    """Embeddings (N, E) to the probability (N,) with which a draw that has them is accepted.

    Parameters
    ----------
    features
        E.
    encoder
        (N, 1, H, W) in preset units to (N, E): what the network was fitted with. It is no part of the state.
    hidden
        Units of the hidden layer, those of all members.

    Attributes
    ----------
    record
        How it was fitted: what a model's ``model.json`` keeps of it.
    """

    def __init__(self, features: int, encoder: nn.Module | None = None, hidden: int = MEMBERS * HIDDEN) -> None:
        super().__init__()
        self.record: Document = {}
        self._encoder = (encoder,)  # in a tuple, so that it is no part of the state
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        #: logit of the middle draw
        self.register_buffer("middle", torch.zeros(()))
        #: ratio, in units of that of the middle draw, from which on all are accepted
        self.register_buffer("bound", torch.tensor(BOUND))
        self.network = _network(features, hidden)

    def logit(self, embeddings: Tensor) -> Tensor:
        """(N,) logarithm of the density of the archive over that of the draws, but for a constant."""
        return self.network((embeddings - self.centre) / self.spread)[:, 0]

    @torch.no_grad()
    def forward(self, embeddings: Tensor) -> Tensor:
        return ((self.logit(embeddings) - self.middle).exp() / self.bound).clamp(max=1.0)

    def acceptance(self, x: Array) -> np.ndarray:
        """Probability (N,) with which patches (N, H, W) in preset units are accepted."""
        assert self._encoder[0] is not None
        return self(torch.from_numpy(embed(self._encoder[0], x))).numpy()


def sampler_for(
    model: Model,
    archive: Archive,
    *,
    draws: int = 20_000,
    seed: int = 0,
    where: str | None = None,
    progress: Progress = lambda text, fraction: None,
) -> RejectionSampler:
    """Fit the sampler of a model to an archive: that which the generator was trained with, not a held-out one.

    Parameters
    ----------
    model
        With generator and encoder; set `model.sampler` to what is returned, and save it.
    archive, where
        Patches that draws are to be distributed as; which of them, in SQL.
    draws, seed
        Draws of the prior that are compared with them.
    progress
        Called with what is done, and the share of it that is.

    Raises
    ------
    SteeringError
        When the model has no encoder, or the archive fewer than five regions.

    Examples
    --------
    ``model.sampler = sampler_for(model, Archive.open("archive")); model.save("models/mine")``
    """
    if model.encoder is None:
        raise SteeringError(
            f"model {model.name!r} has no encoder, by which draws and patches could be compared; give it one"
        )
    table = archive.table(["id", "region"], where)
    region_of = dict(zip(table["id"].to_pylist(), table["region"].to_pylist(), strict=True))
    ids = list(region_of)
    known, held, drawn = [], [], []
    for first in range(0, len(ids), _CHUNK):
        progress("embedding the archive", 0.5 * first / len(ids))
        # those without a scale are left out where the preset needs one
        there, x = archive.prepared(model.preset, ids=ids[first : first + _CHUNK])
        if there:
            known += there
            held.append(embed(model.encoder, np.asarray(x, np.float32)))
    regions = np.array([region_of[one] for one in known], dtype=str)
    z, generator = prior_latents(draws, int(model.generator.latent_dim), seed), in_use(model).generator
    for first in range(0, draws, _CHUNK):
        progress("embedding draws", 0.5 + 0.5 * first / draws)
        x = render(generator, z[first : first + _CHUNK], model.preset.shape)[:, 0].numpy()
        drawn.append(embed(model.encoder, x))
    none = np.empty((0, drawn[0].shape[1]), np.float32)
    sampler = fit_sampler(model.encoder, np.concatenate([none, *held]), regions, np.concatenate(drawn), seed=seed)
    sampler.record |= {"encoder": model.encoder_hash, "archive": archive.uri, "where": where}
    return sampler


def fit_sampler(
    encoder: nn.Module, held: np.ndarray, regions: np.ndarray, drawn: np.ndarray, *, seed: int = 0
) -> RejectionSampler:
    """Learn how often draws are to be accepted.

    Parameters
    ----------
    encoder
        That the embeddings are of.
    held, regions
        (M, E) embeddings of an archive, and the region of each, (M,).
    drawn
        (N, E) embeddings of draws of the prior.
    seed
        Of the network, and of which regions say when it has learned enough.

    Returns
    -------
    The sampler. Its record holds the counts, `told_apart`, the area under the curve of draws against patches of regions
    that a network did not learn from, in the mean of the networks, and `accepted`, the share of draws that it accepts.

    Raises
    ------
    SteeringError
        With fewer than five regions or a hundred draws.
    """
    names = np.unique(regions)
    if len(names) < 5 or len(drawn) < 100:
        raise SteeringError(
            f"a sampler is fitted to at least 5 regions and 100 draws, got {len(names)} and {len(drawn)}; "
            "name a larger archive"
        )
    a, b = (torch.from_numpy(np.asarray(x, np.float32)) for x in (held, drawn))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sampler = RejectionSampler(held.shape[1], encoder)
        everything = torch.cat([a, b])
        sampler.centre.copy_(everything.mean(0))
        sampler.spread.copy_(everything.std(0).clamp_min(1e-6))
        real, made = ((x - sampler.centre) / sampler.spread for x in (a, b))
        found = [_member(real, regions, made, np.random.default_rng([seed, 83, k])) for k in range(MEMBERS)]
        _join(sampler.network, [network for network, *_ in found])
    with torch.no_grad():
        logits = sampler.eval().logit(b)
        sampler.middle.copy_(logits.median())
        sampler.bound.copy_((logits - sampler.middle).exp().quantile(_RARE).clamp(1.0, BOUND))
        sampler.record = {
            "patches": len(a), "regions": len(names), "draws": len(b), "seed": seed,
            "loss": float(np.mean([loss for _, loss, _ in found])),
            "told_apart": float(np.mean([area for *_, area in found])),
            "accepted": float(sampler(b).mean()),
        }  # fmt: skip
    return sampler


def _member(
    real: Tensor, regions: np.ndarray, made: Tensor, rng: np.random.Generator
) -> tuple[nn.Sequential, float, float]:
    """A network that tells patches from draws; its loss and area, on regions and draws that it did not learn from."""
    names = np.unique(regions)
    back = np.isin(regions, rng.permutation(names)[: max(1, int(_HELD_BACK * len(names)))])
    order = torch.from_numpy(rng.permutation(len(made)))
    first = max(1, int(_HELD_BACK * len(made)))
    network, ask = _network(real.shape[1], HIDDEN), (real[back], made[order[:first]])
    loss = _learn(network, (real[~back], made[order[first:]]), ask)
    with torch.no_grad():
        return network, loss, _area(*(network(part)[:, 0].numpy() for part in ask))


def _join(whole: nn.Sequential, members: list[nn.Sequential]) -> None:
    """Fill one network with others, so that its logit is the mean of theirs."""
    count = len(members)
    with torch.no_grad():
        for name in ("0.weight", "0.bias"):
            whole.state_dict()[name].copy_(torch.cat([one.state_dict()[name] for one in members]))
        last = [one.state_dict() for one in members]
        whole.state_dict()["3.weight"].copy_(torch.cat([one["3.weight"] for one in last], 1) / count)
        whole.state_dict()["3.bias"].copy_(torch.stack([one["3.bias"] for one in last]).mean(0))


def _learn(network: nn.Sequential, learn: tuple[Tensor, Tensor], ask: tuple[Tensor, Tensor]) -> float:
    """Train until patches that are left out are told no better; the weights of the best pass, and its loss."""
    x = torch.cat(learn)
    y = torch.cat([torch.ones(len(learn[0])), torch.zeros(len(learn[1]))])
    share = y.mean()
    weights = torch.where(y > 0, 0.5 / share, 0.5 / (1.0 - share))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    best, state, since = float("inf"), network.state_dict(), 0
    for _ in range(_EPOCHS):
        network.train()
        for rows in torch.randperm(len(y)).split(_BATCH):
            loss = F.binary_cross_entropy_with_logits(network(x[rows])[:, 0], y[rows], weights[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            real, made = (network(part) for part in ask)
            found = float(F.softplus(-real).mean() + F.softplus(made).mean()) / 2
        since += 1
        if found < best:
            best, since = found, 0
            state = {name: value.clone() for name, value in network.state_dict().items()}
        elif since >= _PATIENCE:
            break
    network.load_state_dict(state)
    return best


def _area(real: np.ndarray, made: np.ndarray) -> float:
    """Area under the receiver operating characteristic: how often a patch of the archive has the larger logit."""
    ordered = np.sort(made)
    below = np.searchsorted(ordered, real, "left") + np.searchsorted(ordered, real, "right")
    return float(below.mean() / (2 * len(made)))
