"""How real is a generator: its patches held beside patches it has never seen.

Every number stands beside its floor, the same number between two halves of the held-out patches, split by region:
nothing generated can be expected to fit better than the Sun fits itself.

Distributions of parameters are compared by the two-sample Kolmogorov-Smirnov and Wasserstein distances. In the space of
an encoder: Fréchet distance (Heusel et al. 2017, arXiv:1706.08500), kernel distance (Bińkowski et al. 2018,
arXiv:1801.01401), precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al.
2020, arXiv:2002.09797). The inception network of those papers knows nothing of magnetograms; the encoder of the model
takes its place, so that values compare generators under one encoder and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..aliases import Document

__all__ = [
    "compare_embeddings", "compare_parameters", "halves", "memorisation", "radial_spectrum", "reach",
    "spectrum_distance",
]  # fmt: skip

_NEIGHBOURS = 5
_CHUNK = 512


def halves(regions: Sequence[str], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two halves in which no region occurs twice.

    Raises
    ------
    ValueError
        With fewer than two regions.
    """
    names = np.unique(np.asarray(regions))
    if len(names) < 2:
        raise ValueError(f"patches of at least two regions are needed for a comparison, got {len(names)}")
    order = np.random.default_rng(seed).permutation(len(names))
    first = np.isin(np.asarray(regions), names[order[: len(names) // 2]])
    return np.flatnonzero(first), np.flatnonzero(~first)


def _distances(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """KS and Wasserstein distance of two samples; the latter in standard deviations of the second."""
    from scipy.stats import ks_2samp, wasserstein_distance

    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if len(a) < 10 or len(b) < 10:
        # defined on one side and hardly ever on the other: nothing in common
        return (1.0 if max(len(a), len(b)) >= 10 else float("nan")), float("nan")
    spread = b.std()
    wasserstein = wasserstein_distance(a, b) / spread if spread > 0 else float("nan")
    return float(ks_2samp(a, b).statistic), float(wasserstein)


def compare_parameters(
    made: Mapping[str, np.ndarray], held: Mapping[str, np.ndarray], regions: Sequence[str], seed: int = 0
) -> dict[str, Document]:
    """Distances between the parameters of generated and held-out patches.

    Parameters
    ----------
    made, held
        Parameter name to (N,) and (M,); NaN is left out.
    regions
        (M,) of the held-out patches.
    seed
        Of the split that gives the floor.

    Returns
    -------
    Parameter name to `ks`, `wasserstein` (in standard deviations of the held-out), both with `_floor`,
    `percentiles`: where the held-out 1st and 99th percentile lie among the generated, in per cent, and what
    `reach` says.
    """
    one, other = halves(regions, seed)
    out: dict[str, Document] = {}
    for name, values in held.items():
        values, drawn = np.asarray(values, np.float64), np.asarray(made[name], np.float64)
        ks, wasserstein = _distances(drawn, values)
        ks_floor, wasserstein_floor = _distances(values[one], values[other])
        known, ends = drawn[np.isfinite(drawn)], np.nanpercentile(values, (1, 99))
        out[name] = {
            "ks": ks,
            "ks_floor": ks_floor,
            "wasserstein": wasserstein,
            "wasserstein_floor": wasserstein_floor,
            "percentiles": [100.0 * float((known < end).mean()) for end in ends] if len(known) else [],
            **reach(drawn, values),
        }
    return out


def reach(made: np.ndarray, held: np.ndarray, slices: int = 20) -> Document:
    """Does a generator reach what there is, the weak and the strong included?

    Parameters
    ----------
    made, held
        (N,) and (M,) values of one parameter; NaN is left out.
    slices
        Parts of equal number into which the held-out values are cut.

    Returns
    -------
    `spans`: whether generated values lie on both sides of the held-out 1st to 99th percentile; `reached`: share of the
    slices into which at least a tenth of the patches fall that should; `weak` and `strong`: share of generated values
    below the held-out 10th and above the 90th percentile, 0.1 each when all is well.
    """
    made, held = made[np.isfinite(made)], held[np.isfinite(held)]
    if not len(made) or not len(held):
        return {"spans": False, "reached": 0.0, "weak": 0.0, "strong": 0.0}
    low, tenth, ninetieth, high = np.percentile(held, (1, 10, 90, 99))
    edges = np.quantile(held, np.linspace(0, 1, slices + 1)[1:-1])
    counts = np.bincount(np.searchsorted(edges, made), minlength=slices)
    there = np.bincount(np.searchsorted(edges, held), minlength=slices)  # many equal values fill one slice alone
    wanted = there > 0
    enough = counts[wanted] / len(made) >= 0.1 * there[wanted] / len(held)
    return {
        "spans": bool(made.min() <= low and made.max() >= high),
        "reached": float(enough.mean()),
        "weak": float((made < tenth).mean()),
        "strong": float((made > ninetieth).mean()),
    }


def _standardised(made: np.ndarray, held: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in double precision, centred and scaled by one number, so that no unit of the encoder is left."""
    centre, scale = held.mean(0), max(float(held.std()), 1e-12)
    return tuple(torch.from_numpy((np.asarray(x, np.float64) - centre) / scale) for x in (made, held))


def _frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    covariance_a, covariance_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(covariance_a)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    middle = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp_min(0).sqrt().sum()
    gap = (a.mean(0) - b.mean(0)).square().sum()
    return float((gap + covariance_a.trace() + covariance_b.trace() - 2 * middle).clamp_min(0))


def _kernel(a: torch.Tensor, b: torch.Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under the cubic kernel (x·y / D + 1)³."""

    def k(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.T / x.shape[1] + 1).pow(3)

    n, m = len(a), len(b)
    aa, bb = k(a, a), k(b, b)
    within = (aa.sum() - aa.trace()) / (n * (n - 1)) + (bb.sum() - bb.trace()) / (m * (m - 1))
    return float(within - 2 * k(a, b).mean())


def _radius(x: torch.Tensor, neighbours: int) -> torch.Tensor:
    """(N,) distance of each row to its k-th neighbour among the others."""
    k = min(neighbours + 1, len(x))  # a row is its own nearest
    parts = [torch.cdist(part, x).kthvalue(k, dim=1).values for part in x.split(_CHUNK)]
    return torch.cat(parts)


def _manifolds(made: torch.Tensor, held: torch.Tensor, neighbours: int) -> dict[str, float]:
    radius_made, radius_held = _radius(made, neighbours), _radius(held, neighbours)
    distance = torch.cdist(made, held)
    inside = distance <= radius_held
    return {
        "precision": float(inside.any(1).double().mean()),
        "recall": float((distance <= radius_made[:, None]).any(0).double().mean()),
        "density": float(inside.sum(1).double().mean() / neighbours),
        "coverage": float(inside.any(0).double().mean()),
    }


def _all(made: np.ndarray, held: np.ndarray, neighbours: int) -> dict[str, float]:
    a, b = _standardised(made, held)
    return {"frechet": _frechet(a, b), "kernel": _kernel(a, b), **_manifolds(a, b, neighbours)}


def compare_embeddings(
    made: np.ndarray, held: np.ndarray, regions: Sequence[str], seed: int = 0, neighbours: int = _NEIGHBOURS
) -> dict[str, dict[str, float]]:
    """Distances and overlaps in the space of an encoder.

    Parameters
    ----------
    made, held
        (N, D) and (M, D) embeddings; the larger sample is cut to the smaller one's size, since these measures
        depend on it.
    regions
        (M,) of the held-out patches.
    neighbours
        That draw the manifolds.

    Returns
    -------
    `generated` and `floor` (half against half of the held-out), each with frechet, kernel, precision, recall, density
    and coverage. The floor comes from half the patches, so its distances are, if anything, too large.
    """
    rng = np.random.default_rng(seed)
    one, other = halves(regions, seed)
    size, half = min(len(made), len(held)), min(len(one), len(other))
    if half < 2 * neighbours:
        raise ValueError(f"at least {4 * neighbours} held-out patches are needed, got {len(held)}")
    rows, columns = (np.sort(rng.permutation(len(x))[:size]) for x in (made, held))
    one, other = (np.sort(rng.permutation(x)[:half]) for x in (one, other))
    return {
        "generated": _all(made[rows], held[columns], neighbours),
        "floor": _all(held[one], held[other], neighbours),
    }


def radial_spectrum(x: np.ndarray) -> np.ndarray:
    """Mean power of patches (N, H, W) by whole cycles across the shorter side S, 1 to S/2 - 1: (S/2 - 1,).

    A wave has one number of cycles in every direction: pixels are as high as wide.
    """
    x = np.asarray(x, np.float64)
    side = min(x.shape[1:])
    power = np.mean([np.abs(np.fft.fft2(part)) ** 2 for part in x], axis=0)
    down, across = (side * np.fft.fftfreq(n) for n in x.shape[1:])
    cycles = np.hypot(down[:, None], across).round().astype(int).ravel()
    return np.bincount(cycles, power.ravel())[1 : side // 2] / np.bincount(cycles)[1 : side // 2]


def spectrum_distance(made: np.ndarray, held: np.ndarray) -> float:
    """Root mean square difference of the logarithms of two mean spectra, in dex."""
    least = np.finfo(float).tiny  # a generator that makes nothing is far away, not undefined
    one, other = (np.log10(np.maximum(radial_spectrum(x), least)) for x in (made, held))
    gap = one - other
    return float(np.sqrt(np.mean(gap**2)))


def _nearest(x: torch.Tensor, among: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    parts = [torch.cdist(part, among).min(1) for part in x.split(_CHUNK)]
    return torch.cat([p.values for p in parts]).numpy(), torch.cat([p.indices for p in parts]).numpy()


def memorisation(made: np.ndarray, held: np.ndarray, train: np.ndarray) -> Document:
    """Are generated patches closer to training patches than patches of unseen regions are?

    Parameters
    ----------
    made, held, train
        (N, D), (M, D), (T, D) embeddings.

    Returns
    -------
    Median distance to the nearest training patch of both; `closer`: how often a generated patch is closer than a
    held-out one (0.5: no difference; the Mann-Whitney statistic by its number of pairs) and the one-sided `p_value`;
    `memorised`: whether `closer` exceeds 0.6 beyond doubt (p < 0.01); `nearest`: (N,) rows of `train`.
    """
    from scipy.stats import mannwhitneyu

    a, b, t = (torch.from_numpy(np.asarray(x, np.float32)) for x in (made, held, train))
    (near_made, rows), (near_held, _) = _nearest(a, t), _nearest(b, t)
    test = mannwhitneyu(near_held, near_made, alternative="greater")
    closer = float(test.statistic) / (len(a) * len(b))
    return {
        "median_generated": float(np.median(near_made)),
        "median_held_out": float(np.median(near_held)),
        "closer": closer,
        "p_value": float(test.pvalue),
        "memorised": bool(closer > 0.6 and test.pvalue < 0.01),
        "nearest": rows,
    }
