"""How good directions are: accuracy, area under the curve and calibration, for SVM and for ridge regression.

The paper fits linear support vector machines and names ridge regression as the alternative (section 4).
"""

from __future__ import annotations

import numpy as np

from ..aliases import Document
from .directions import Directions
from .latents import LatentTable, prior_norm_range

__all__ = ["STUDY_KEY", "prior_range", "ridge_normal", "study_directions"]

#: where a model's metadata holds the study; models without it load as they always did
STUDY_KEY = "direction_study"
_KNOTS = 15


def prior_range(latent_dim: int) -> float:
    """Longest step along a direction, forth or back, after which a typical latent is still one that the prior gives."""
    high = prior_norm_range(latent_dim)[1]
    return float(np.sqrt(high**2 - latent_dim))


def ridge_normal(z: np.ndarray, values: np.ndarray, strength: float = 1.0) -> tuple[np.ndarray, float]:
    """Unit normal (D,) and intercept of a ridge regression of the values' normal scores (N,) on latents (N, D).

    Scores instead of values: the tails of flux would otherwise weigh more than all the rest. The boundary, where the
    score is 0, is the median.
    """
    from scipy.stats import norm, rankdata
    from sklearn.linear_model import Ridge

    scores = norm.ppf((rankdata(values) - 0.5) / len(values))
    fitted = Ridge(alpha=strength).fit(z, scores)
    size = max(float(np.linalg.norm(fitted.coef_)), 1e-12)
    return fitted.coef_ / size, float(fitted.intercept_) / size


def _curve(position: np.ndarray, values: np.ndarray) -> dict[str, list[float]]:
    """Median and the band of two thirds of the values in bins of equal count along the normal."""
    bins = np.array_split(np.argsort(position, kind="stable"), min(_KNOTS, max(1, len(values) // 10)))
    rows = [(position[k].mean(), *np.percentile(values[k], (50, 16, 84))) for k in bins]
    names = ("position", "expected", "low", "high")
    return {
        name: [float(f"{v:.6g}") for v in column] for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def study_directions(
    table: LatentTable, directions: Directions, n_train: int = 7_000, seed: int = 0
) -> dict[str, Document]:
    """Judge every direction, and a ridge regression beside it, on latents that neither was fitted on.

    Parameters
    ----------
    table, n_train, seed
        Those that `fit_directions` was given: the same latents are held out.
    directions
        What it returned.

    Returns
    -------
    Parameter to ``{"svm": …, "ridge": …, "cosine"}``; each method with ``accuracy``, ``auc`` (area under the receiver
    operating characteristic), ``intercept``, ``calibration`` (``position`` along the normal, ``expected`` value, and
    ``low`` to ``high``, between which two thirds lie) and ``within_prior`` (steps that stay within the prior).
    """
    from sklearn.metrics import roc_auc_score

    out: dict[str, Document] = {}
    reach = prior_range(directions.latent_dim)
    for k, name in enumerate(directions.names):
        values = table.values[name]
        known = np.isfinite(values)
        z, values = table.z[known].astype(np.float64), values[known]
        order = np.random.default_rng(seed).permutation(len(z))
        cut = min(n_train, round(0.7 * len(z)))
        train, test = order[:cut], order[cut:]
        label = values > directions.medians[k]
        svm = directions.normals[k].astype(np.float64), float(directions.intercepts[k])
        ridge = ridge_normal(z[train], values[train])
        rows: Document = {"cosine": float(svm[0] @ ridge[0])}
        for method, (normal, intercept) in (("svm", svm), ("ridge", ridge)):
            position = z[test] @ normal + intercept
            both = 0 < label[test].sum() < len(test)
            rows[method] = {
                "accuracy": float(np.mean((position > 0) == label[test])),
                "auc": float(roc_auc_score(label[test], position)) if both else None,
                "intercept": intercept,
                "calibration": _curve(position, values[test]),
                "within_prior": [-reach, reach],
            }
        out[name] = rows
    return out
