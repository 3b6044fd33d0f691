"""The footprint of an observation: a rectangle beyond which nothing was seen.

On a grid with a scale an observation is a rectangle about the middle, and the rest is empty. A network that is to draw
that border pixel by pixel draws it ragged, and too large: an average over what it is unsure of is larger than any one
rectangle. But a rectangle is two numbers. They are read off the latent vector, and what is drawn is cut there, so that
its size is a quantity of the region like any other: steered, inverted, and distributed as the archive's.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..protocols import Patches

__all__ = ["FootprintMask", "drawn_sizes", "fit_footprint", "footprint_error", "load_weights", "seen_sizes"]

#: a footprint that reaches beyond the grid by so much has no edge on it
BEYOND = 1.15
#: field (preset units) above which a pixel of a drawn patch counts as observed
_FAINT = 0.002
#: pixels; smaller ones have no inside
_SMALLEST = 6.0


class FootprintMask(nn.Module):
    """Latents (N, D) to height and width (N, 2) in pixels of the finest grid, and to the mask they make.

    Starts out wider than the grid: a network that has not learned it has no border.
    """

    def __init__(self, latent_dim: int, shape: tuple[int, int], hidden: int = 64) -> None:
        super().__init__()
        self.shape = (int(shape[0]), int(shape[1]))
        self.net = nn.Sequential(nn.Linear(latent_dim, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 2))
        nn.init.zeros_(self.net[2].weight)
        nn.init.constant_(self.net[2].bias, math.log(BEYOND))

    def sizes(self, z: Tensor) -> Tensor:
        """(N, 2) height and width in pixels of the finest grid."""
        with torch.autocast(z.device.type, enabled=False):  # in bfloat16 a size would come in steps of half a pixel
            shares = self.net(z.to(self.net[0].weight.dtype))
        sides = torch.tensor(self.shape, dtype=shares.dtype, device=shares.device)
        shares = torch.maximum(shares.clamp(max=math.log(2.0)), (_SMALLEST / sides).log())
        return sides * shares.exp()

    def forward(self, z: Tensor, shape: tuple[int, int]) -> Tensor:
        """``(N, 1, *shape)``: 1 inside, 0 outside, the share of a pixel that is inside on the edge."""
        sizes = self.sizes(z)
        along = []
        for axis in (0, 1):
            half = sizes[:, axis, None] * (0.5 * shape[axis] / self.shape[axis])
            along.append((half - _from_middle(shape[axis], z.device) + 0.5).clamp(0.0, 1.0))
        down, across = along
        return (down[:, :, None] * across[:, None, :])[:, None]


def _from_middle(side: int, device: torch.device) -> Tensor:
    """(side,) distance of the centre of each pixel of an axis from its middle, in pixels."""
    return (torch.arange(side, device=device) + 0.5 - 0.5 * side).abs()


def seen_sizes(x: Tensor) -> Tensor:
    """(N, 2) height and width of the centred rectangle that holds all that is not zero in patches (N, H, W)."""
    x = x.detach()
    there = x != 0
    along = ((axis, _from_middle(x.shape[3 - axis], x.device) + 0.5) for axis in (2, 1))
    return torch.stack([2.0 * (there.any(axis) * from_middle).amax(1) for axis, from_middle in along], 1)


def drawn_sizes(x: Tensor) -> Tensor:
    """The same for patches (N, H, W) whose border is ragged: as far as what is drawn fills, along both middle lines."""
    filled = F.avg_pool2d((x.detach().abs() > _FAINT).float()[:, None], 3, 1, 1)[:, 0] > 0.5
    out = []
    for lines in (filled.transpose(1, 2), filled):
        across, side = lines.shape[1:]
        middle, band = side // 2, max(across // 12, 1)
        along = lines[:, across // 2 - band : across // 2 + band].float().mean(1) > 0.8
        # as far as both sides reach: a rectangle about the middle
        first = along.float().argmax(1)
        last = side - 1 - along.flip(1).float().argmax(1)
        half = torch.minimum(middle - first, last + 1 - middle).clamp(_SMALLEST / 2, side / 2)
        out.append(2.0 * half)
    return torch.stack(out, 1)


def footprint_error(sizes: Tensor, seen: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mean squared error of the logarithm of sizes (N, 2); one that fills the grid of `shape` may be larger."""
    gap = torch.log(sizes) - torch.log(seen.clamp_min(_SMALLEST))
    free = (seen >= torch.tensor(shape, dtype=seen.dtype, device=seen.device)) & (gap > 0)
    return torch.where(free, torch.zeros_like(gap), gap).square().mean()


def load_weights(network: nn.Module, stored: dict[str, Tensor]) -> bool:
    """Load weights, which may be of a time before the network had these parts; whether a footprint is to be fitted.

    Weights know the footprint mask as ``window``, the pixel noise as ``fine_grain``, the correction of the latent
    vector as ``mapping``, and the discriminator's head of pooled features and of their spread as ``pooled`` and
    ``spread``.
    """
    parts = ("window", "fine_grain", "mapping", "pooled", "spread")
    young = tuple(f"{name}." for name in parts if getattr(network, name, None) is not None)
    new = {name: value for name, value in network.state_dict().items() if young and name.startswith(young)}
    network.load_state_dict({**new, **stored})
    return any(name.startswith("window.") and name not in stored for name in new)


def fit_footprint(
    generator: nn.Module, data: Patches, seed: int = 0, count: int = 4096, batch: int = 64, steps: int = 1500,
    refit: bool = False,
) -> dict[str, float]:  # fmt: skip
    """Give a trained generator the windows of an archive, in place.

    Each of many draws keeps its rank in height and in width and takes the archive's size of that rank; the network
    learns to tell those sizes from the latent vector.

    Parameters
    ----------
    generator
        With a footprint mask (`window`), not fitted yet, and weights of one that was trained without.
    refit
        The mask was fitted to other observations: draws keep the rank of its sizes, and no image is made.
    data
        Array-like (N, H, W) in network units: the archive.
    seed, count, batch, steps
        Of the draws; how many; how many at a time; of Adam on all of them.

    Returns
    -------
    `error`: root mean square of the logarithm of the sizes on draws that were not learned from.
    """
    window = generator.window
    sides = torch.tensor(generator.shape, dtype=torch.float32)
    place = next(window.parameters()).device
    rng = np.random.default_rng([seed, 83])
    rows = np.sort(rng.choice(len(data), min(len(data), count), replace=False))
    parts = np.array_split(rows, max(len(rows) // 256, 1))
    seen = torch.cat([seen_sizes(torch.as_tensor(np.asarray(data[part], np.float32))) for part in parts])
    seen = torch.where(seen >= sides, BEYOND * sides, seen)
    z = torch.randn(count, generator.latent_dim, generator=torch.Generator().manual_seed(seed + 83)).to(place)
    with torch.no_grad():
        if refit:
            drawn = window.sizes(z).cpu()
        else:
            drawn = torch.cat([drawn_sizes(generator(part)[:, 0]) for part in z.split(batch)]).cpu()
    # equal sizes in the order of the area of both
    order = (drawn + 1e-3 * drawn.prod(1, keepdim=True).sqrt()).argsort(0).argsort(0)
    wanted = torch.stack([torch.quantile(seen[:, k], (order[:, k] + 0.5) / count) for k in (0, 1)], 1).to(place)
    learn, ask = slice(0, count * 7 // 8), slice(count * 7 // 8, count)
    learned = window.net[0].weight.requires_grad
    window.requires_grad_(True)
    nn.init.kaiming_uniform_(window.net[0].weight, a=math.sqrt(5))
    with torch.no_grad():
        window.net[2].bias.copy_((wanted / sides.to(place)).log().mean(0))
    optimise = torch.optim.AdamW(window.parameters(), lr=2e-3, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimise, 4e-3, total_steps=steps)
    mixing = torch.Generator().manual_seed(seed + 84)
    for _ in range(steps):
        some = torch.randint(0, learn.stop, (256,), generator=mixing)
        loss = (window.sizes(z[some]).log() - wanted[some].log()).square().mean()
        optimise.zero_grad(set_to_none=True)
        loss.backward()
        optimise.step()
        schedule.step()
    with torch.no_grad():
        told = window.sizes(z).log()
        error = float((told[ask] - wanted[ask].log()).square().mean().sqrt())
        # a fit is shy: what it tells spreads less than what is wanted, and is stretched about the middle
        middle = told.mean(0) - sides.log().to(place)
        stretch = wanted.log().std(0) / told.std(0).clamp_min(1e-6)
        window.net[2].weight *= stretch[:, None]
        window.net[2].bias.copy_(middle + stretch * (window.net[2].bias - middle))
    window.requires_grad_(learned)
    return {"error": error}
