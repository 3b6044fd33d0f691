"""Statistics of many patches of one kind, and how well a classifier tells two kinds apart, region by region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .grid_statistics import flux_over, grid_statistics, observed_part

__all__ = ["MeasuredPatches", "distinguish", "measure_patches"]

_SMALLEST = 8  # pixels
_RESAMPLINGS = 1_000


@dataclass(frozen=True)
class MeasuredPatches:
    """Statistics of patches of one kind.

    Attributes
    ----------
    values
        Name of a statistic (`solquery.study.grid_statistics`) to (N,).
    regions
        (N,) name of the region of each.
    flux_mx
        (N,) unsigned flux over 100 G in view.
    """

    values: dict[str, np.ndarray] = field(repr=False)
    regions: np.ndarray = field(repr=False)
    flux_mx: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.regions)

    def chosen(self, rows: np.ndarray) -> MeasuredPatches:
        """Some of the patches, by a mask or numbers (n,)."""
        return MeasuredPatches(
            {name: values[rows] for name, values in self.values.items()}, self.regions[rows], self.flux_mx[rows]
        )

    def by_region(self, name: str) -> np.ndarray:
        """(R,) mean of a statistic over those patches of each region that have it, by name of region; NaN without."""
        values = self.values[name]
        parts = (values[self.regions == region] for region in np.unique(self.regions))
        known = (part[np.isfinite(part)] for part in parts)
        return np.array([part.mean() if len(part) else np.nan for part in known])


def measure_patches(
    fields: Iterable[np.ndarray], regions: Sequence[str], scale_mm: tuple[float, float]
) -> MeasuredPatches:
    """Statistics of the observed part of fields on one grid.

    Parameters
    ----------
    fields
        Of (H, W) gauss each; zero or NaN where nothing was observed.
    regions
        One for each field.
    scale_mm
        (y, x) Mm per pixel.

    Returns
    -------
    Fields of whose observed part a side is shorter than 8 pixels are left out.
    """
    rows, kept, flux = [], [], []
    for grid, region in zip(fields, regions, strict=True):
        part = observed_part(grid)
        if min(part.shape) < _SMALLEST:
            continue
        rows.append(grid_statistics(part, scale_mm))
        kept.append(region)
        flux.append(flux_over(part, scale_mm))
    names = list(rows[0]) if rows else []
    values = {name: np.array([row[name] for row in rows], float) for name in names}
    return MeasuredPatches(values, np.array(kept, dtype=str), np.array(flux, float))


def distinguish(
    real: MeasuredPatches, other: MeasuredPatches, names: Sequence[str], seed: int = 0, folds: int | None = None
) -> dict[str, float]:
    """How well a logistic regression tells real patches from others by some statistics.

    One real region, or one of `folds` parts of them, is left out at a time, and with it a share of the other regions,
    so that none is judged by a classifier that has seen it. Each region weighs the same, and so do both kinds.
    Statistics are brought to a normal distribution; what a patch lacks is the median.

    Parameters
    ----------
    real, other
        Of at least two regions each.
    names
        Statistics that both have.
    seed
        Of the folds and of the interval.
    folds
        Parts that the real regions are left out in, where there are hundreds of them; None: one by one.

    Returns
    -------
    ``auc``, the chance that a real region scores higher than another (0.5: cannot be told apart; a little below it when
    regions are few, since the one that is left out draws the mean of the others away from itself), and ``low``,
    ``high``: the 5 and 95 % points when the regions are drawn anew.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    rng = np.random.default_rng(seed)
    tables = [np.stack([patches.values[name] for name in names], 1) for patches in (real, other)]
    own, numbers = np.unique(real.regions, return_inverse=True)
    rest, ids = np.unique(other.regions, return_inverse=True)
    count = len(own) if folds is None else min(folds, len(own))
    left_out = (np.arange(len(own)) if count == len(own) else rng.permutation(len(own)) % count)[numbers]
    fold = (rng.permutation(len(rest)) % count)[ids]
    scores = [np.full(len(real), np.nan), np.full(len(other), np.nan)]
    for left in range(count):
        test = [left_out == left, fold == left]
        x = np.concatenate([table[~out] for table, out in zip(tables, test, strict=True)])
        weights = [_weights(n[~out]) for n, out in zip((numbers, ids), test, strict=True)]
        y = np.repeat([1, 0], [len(part) for part in weights])
        classifier = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            QuantileTransformer(n_quantiles=min(50, len(x)), output_distribution="normal"),
            LogisticRegression(C=0.05, max_iter=2_000),
        )
        weight = np.concatenate([part / part.sum() for part in weights]) * len(weights[1])
        classifier.fit(x, y, logisticregression__sample_weight=weight)
        for table, out, score in zip(tables, test, scores, strict=True):
            if out.any():
                score[out] = classifier.predict_proba(table[out])[:, 1]
    return _auc(
        np.bincount(numbers, scores[0]) / np.bincount(numbers), np.bincount(ids, scores[1]) / np.bincount(ids), rng
    )


def _weights(numbers: np.ndarray) -> np.ndarray:
    """(N,) so that each region weighs the same however many patches it has."""
    return 1.0 / np.bincount(numbers)[numbers]


def _auc(real: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Area under the curve of the scores (R,) and (S,) of regions, and its interval when regions are drawn anew."""
    above = (real[:, None] > other) + 0.5 * (real[:, None] == other)
    again = [
        rng.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), _RESAMPLINGS) / len(scores)
        for scores in (real, other)
    ]
    low, high = np.percentile(((again[0] @ above) * again[1]).sum(1), (5, 95))
    return {"auc": float(above.mean()), "low": float(low), "high": float(high)}
