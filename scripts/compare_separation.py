"""By how much the separation by transport beats PSEP on simulated regions, whose truth is known.

python scripts/compare_separation.py --regions 60 --frames 3

The true separation of a frame is the mean over its bipoles of the distance of their polarities, weighted with the flux
that each shows (spots and small concentrations together). Printed for both measures, over all frames, those with one
bipole and those with several, nested or side by side: Spearman's rank correlation with the truth, and the median of
the relative error.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from solquery.physics import measure
from solquery.simulator import simulate_region


def true_separation(truth: dict[str, Any]) -> float:
    """Flux-weighted mean separation of the bipoles of a simulated frame, Mm; NaN where none has emerged."""
    flux = np.array([sum(state["spot_mx"]) + sum(state["small_mx"]) for state in truth["states"]])
    apart = np.array([state["separation_mm"] for state in truth["states"]])
    return float((flux * apart).sum() / flux.sum()) if flux.sum() > 0 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=60)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--seed", type=int, default=31)
    options = parser.parse_args()
    truth, bipoles = [], []
    found: dict[str, list[float]] = {"psep": [], "separation": []}
    for index in range(options.regions):
        for patch in simulate_region(options.seed, index, options.frames):
            truth.append(true_separation(patch.truth))
            bipoles.append(len(patch.truth["states"]))
            for name, values in measure(patch.field, patch.scale_mm, tuple(found)).items():
                found[name].append(float(values[0]))
    wanted, count = np.array(truth), np.array(bipoles)
    known = np.isfinite(wanted) & np.all([np.isfinite(v) for v in found.values()], axis=0)
    print("frames               number   measure      rank correlation   median relative error")
    for label, group in (("all", count > 0), ("one bipole", count == 1), ("several bipoles", count > 1)):
        use = known & group
        for name, values in found.items():
            got = np.array(values)[use]
            rank = spearmanr(got, wanted[use])[0]
            error = np.median(np.abs(got - wanted[use]) / wanted[use])
            print(f"{label:18s} {use.sum():8d}   {name:12s} {rank:16.3f} {error:23.3f}")


if __name__ == "__main__":
    main()
