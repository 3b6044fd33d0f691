"""Is a boundary loose because the table is small, or because it is no plane?

For each parameter: the share of patches on the right side of the median (5,000 that no fit has seen) of a linear
boundary fitted to 2,000 and 10,000 latents and to all others, and of one that is given the squares of the latents
as well.

    python scripts/compare_boundaries.py MODEL [-n 30000] [--param tuf --param r …]
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression

from solquery import Model
from solquery.steering.latents import sample_latents

ASKED = 5_000


def share_right(z: np.ndarray, above: np.ndarray, rows: int) -> float:
    """Share of the last `ASKED` rows on the right side of a boundary fitted to the first `rows`."""
    fitted = LogisticRegression(max_iter=500).fit(z[:rows], above[:rows])
    return float(fitted.score(z[-ASKED:], above[-ASKED:]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model")
    options.add_argument("-n", type=int, default=30_000, help="latents in all, at least 16,000")
    options.add_argument("--param", action="append", help="tuf, r and psep without it")
    options.add_argument("--seed", type=int, default=5)
    chosen = options.parse_args()
    if chosen.n < ASKED + 11_000:
        options.error(f"-n must be at least {ASKED + 11_000}")
    model = Model.load(chosen.model)
    names = chosen.param or ["tuf", "r", "psep"]
    table = sample_latents(model.generator, model.preset, chosen.n, chosen.seed, names)
    for name in names:
        values = table.values[name]
        known = np.isfinite(values)
        z, above = table.z[known], values[known] > np.median(values[known])
        rest = len(z) - ASKED
        linear = ", ".join(f"{rows:,}: {share_right(z, above, rows):.3f}" for rows in (2_000, 10_000, rest))
        squares = share_right(np.concatenate([z, z**2], 1), above, rest)
        print(f"{name}: linear by latents fitted to {linear}; with squares {squares:.3f}", flush=True)


if __name__ == "__main__":
    main()
