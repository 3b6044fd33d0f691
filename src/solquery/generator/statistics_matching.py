"""Statistics matching: flux, area and texture of what is drawn are distributed as the archive has them.

An adversarial loss sees whether an image could be real, and hardly whether the hundred images of a minute have strong
and weak, rough and smooth ones in the right shares: a generator that keeps to the middle of each statistic is seldom
found out. Statistics are numbers, so they can be asked for as numbers. A reconstruction should have those of its
original. A draw from the prior has no original; but as the statistics of many draws are to be distributed as those of
the archive, each draw has its place among the others, and the archive's value at that place is where it belongs: the
optimal transport of one distribution of numbers into another, one statistic at a time (as the sliced Wasserstein
distance does with projections; Rabin et al. 2011, doi:10.1007/978-3-642-24785-9_37). The places are taken among the
last draws.

Each statistic may be right and two of them wrong together, such as much flux where the texture is that of little. So
mixtures of all statistics are asked for as well: directions drawn once, at random, among statistics made uncorrelated.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..protocols import Patches
from ..training.mixing import images_of, representative_rows
from ..training.process_group import ProcessGroup
from .textures import TEXTURES, measure_textures

__all__ = ["STATISTICS", "StatisticsMatching", "measure_statistics"]

#: names of the statistics, in the order of the columns of `measure_statistics`
STATISTICS = ("tuf", "tpf", "tnf", "r", "psep", "core", "wings", "area", "alpha", "grad", *TEXTURES)
#: weight of a texture beside a statistic of flux or length, and of a mixture
TEXTURE_WEIGHT, MIXTURE_WEIGHT = 0.4, 0.1
#: mixtures for every statistic; variance (in spreads squared) below which a combination of statistics counts as none
MIXTURES, NO_VARIANCE = 2, 0.02
#: widths in gauss of the windows about zero that the weak-field core is weighed with
CORE_GAUSS = {"core": 10.0, "wings": 30.0}
#: flux density that counts as none: G summed over pixels
FAINT = 1000.0
#: gauss at which a pixel counts half as observed
OBSERVED_GAUSS = 2.0
#: spreads from the median beyond which a statistic is cut off: two stray patches are not to bend the mixtures
FARTHEST = 6.0
#: draws that a new one finds its place among, and patches of the archive that are measured
REMEMBERED = 1024
MEASURED = 4096


def _width(share: Tensor, window: float) -> Tensor:
    """Logarithm of the width of a normal core of which a normal window of width `window` keeps `share`."""
    share = share.clamp(1e-3, 0.999)
    return 0.5 * torch.log(window**2 * (share**-2 - 1.0))


def measure_statistics(gauss: Tensor) -> Tensor:
    """Statistics of fields (N, H, W) in G: (N, A), logarithms but for ALPHA and area, through which gradients pass.

    Flux and R in gauss times pixels, smooth as in `smooth_measure`; the polarity separation in pixels; the width of the
    weak-field core as seen through two windows (what SIGMA measures, which has no gradient); the share of the grid that
    is observed; the slope of the power spectrum; the mean gradient; the textures of the observed part
    (`measure_textures`). NaN where a patch has no such thing.
    """
    from ..physics.smooth import smooth_measure
    from ..physics.texture import radial_power, without_empty

    gauss = gauss.float()
    smooth = smooth_measure(gauss, None, ["tuf", "tpf", "tnf", "r"])
    out = {name: torch.log(value + FAINT) for name, value in smooth.items()}
    with torch.no_grad():
        bipolar = torch.isfinite(smooth_measure(gauss, None, ["psep"])["psep"]).nonzero()[:, 0]
        observed = torch.isfinite(without_empty(gauss)).float()
    # measured where there is one only: a gradient of nothing is not zero but NaN
    apart = torch.log(smooth_measure(gauss[bipolar], None, ["psep"])["psep"] + 3.0)
    out["psep"] = torch.full_like(out["tuf"], torch.nan).index_put((bipolar,), apart)
    count = observed.sum((1, 2)).clamp_min(1.0)
    square = gauss.square()
    for name, window in CORE_GAUSS.items():
        out[name] = _width((observed * torch.exp(-0.5 * square / window**2)).sum((1, 2)) / count, window)
    out["area"] = (square / (square + OBSERVED_GAUSS**2)).mean((1, 2))
    cycles, power = radial_power(gauss)
    floor = 1e-9 * power.detach().sum(1, keepdim=True) + 1e-3
    x = torch.log(cycles)
    x = (x - x.mean()) / (x - x.mean()).square().sum()
    out["alpha"] = torch.log(power + floor) @ x
    dy, dx = torch.gradient(gauss, dim=(1, 2))
    out["grad"] = torch.log((dy.square() + dx.square() + 1.0).sqrt().mean((1, 2)))
    columns = torch.stack(
        [value.to(torch.float32) for value in (out[name] for name in STATISTICS[: -len(TEXTURES)])], 1
    )
    return torch.cat([columns, measure_textures(gauss, observed)], 1)


def _mixtures(scores: Tensor, seed: int) -> Tensor:
    """(A, M): combinations of the columns of scores (N, A), each of about unit variance."""
    variance, axes = torch.linalg.eigh(torch.cov(scores.T))
    white = axes / variance.clamp_min(NO_VARIANCE).sqrt()
    random = torch.Generator().manual_seed(seed + 19)
    turns = [torch.linalg.qr(torch.randn(white.shape, generator=random, dtype=white.dtype))[0] for _ in range(MIXTURES)]
    return white @ torch.cat(turns, 1)


class StatisticsMatching(nn.Module):
    """The archive's statistics, and those of the last draws; its state is saved with the checkpoint.

    Parameters
    ----------
    data
        Array-like (N, H, W) in network units of `unit_gauss` gauss each.
    seed
        Of the patches that are measured where there are many.
    batch
        Patches measured at a time.
    remembered
        Draws among which a new one finds its place.
    real, weight
        Which patches are real, and the share that they have in what is measured (`representative_rows`).
    device
        Where the archive is measured, which takes most of a minute on one core; None: there.
    """

    def __init__(
        self, data: Patches, unit_gauss: float, seed: int, batch: int = 256, remembered: int = REMEMBERED,
        real: np.ndarray | None = None, weight: float = 0.0, device: torch.device | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.unit_gauss = unit_gauss
        rng = np.random.default_rng(seed)
        rows = representative_rows(len(data), MEASURED, rng, real, weight)
        parts = []
        with torch.no_grad():
            for start in range(0, len(rows), batch):
                fields = images_of(data, rows[start : start + batch], device or torch.device("cpu"))[:, 0]
                parts.append(measure_statistics(fields * unit_gauss).cpu())
        values = torch.cat(parts).double()
        centre = values.nanmedian(0).values.nan_to_num()  # an archive of one polarity has no separation at all
        values = torch.where(torch.isfinite(values), values, centre)
        spread = values.std(0).clamp_min(1e-6)
        places = (torch.arange(remembered, dtype=torch.float64) + 0.5) / remembered
        scores = ((values - centre) / spread).clamp(-FARTHEST, FARTHEST)
        mixtures = _mixtures(scores, seed)
        together = torch.cat([scores, scores @ mixtures], 1)
        table = torch.quantile(together, places, dim=0).float()
        weights = torch.ones(table.shape[1])
        weights[len(STATISTICS) - len(TEXTURES) : len(STATISTICS)] = TEXTURE_WEIGHT
        weights[len(STATISTICS) :] = MIXTURE_WEIGHT
        #: statistics and mixtures (M, A + M) of the patches that were measured; measured again by a run that goes on
        self.register_buffer("archive", together.float(), persistent=False)
        self.register_buffer("centre", centre.float())
        self.register_buffer("spread", spread.float())
        self.register_buffer("mixtures", mixtures.float())
        self.register_buffer("weights", weights)
        #: the archive's quantiles (R, A + M), in spreads from its median, of statistics and of their mixtures
        self.register_buffer("table", table)
        # before there are draws, the archive itself: nothing is then asked of the first ones but what it has
        self.register_buffer("drawn", table.clone())
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """(N, A + M) of images (N, 1, H, W) in network units: statistics in spreads from the median, and mixtures.

        A statistic that an image has not is 0.
        """
        scores = torch.nan_to_num((measure_statistics(x[:, 0] * self.unit_gauss) - self.centre) / self.spread)
        return torch.cat([scores, scores @ self.mixtures], 1)

    def _gap(self, values: Tensor, wanted: Tensor) -> Tensor:
        return (F.smooth_l1_loss(values, wanted, reduction="none") * self.weights).sum(1).mean()

    def match(self, made: Tensor, real: Tensor) -> Tensor:
        """What reconstructions miss of the statistics and mixtures of their originals, summed; (N, A + M) of both."""
        return self._gap(made, real.detach())

    def belong(self, values: Tensor, processes: ProcessGroup) -> Tensor:
        """How far the statistics (N, A + M) of draws are from where they belong, summed; they are remembered."""
        with torch.no_grad():
            below = (self.drawn[None] < values[:, None]).float().mean(1)
            # between the quantiles: those of the table stand at (k + 1/2) / R
            count = len(self.table)
            place = (below * count - 0.5).clamp(0.0, count - 1.0)
            low = place.floor().long().clamp(max=count - 2)
            share = place - low
            wanted = self.table.gather(0, low) * (1 - share) + self.table.gather(0, low + 1) * share
            everyone = processes.gather(values.detach())
            rows = (self.oldest + torch.arange(len(everyone), device=values.device)) % count
            self.drawn[rows] = everyone
            self.oldest += len(everyone)
        return self._gap(values, wanted)
