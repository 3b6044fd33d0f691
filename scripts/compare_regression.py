"""Multivariate regression of parameters on latents beside the SVMs of a model.

python scripts/compare_regression.py [--model NAME] [-n 10000] [--seed 0]

Both are fitted on the same latents and judged on the same others. R² is that of the logarithm for fluxes and what else
spreads over a decade; of the SVM it is that of the calibrated position along its normal.
"""

from __future__ import annotations

import argparse

from solquery.model import Model
from solquery.steering.directions import fit_directions
from solquery.steering.latents import sample_latents
from solquery.steering.regression import compare_with_svm, fit_regression


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=None)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    models = Model.load(options.model)
    table = sample_latents(models.generator, models.preset, options.n, options.seed)
    directions = fit_directions(table, seed=options.seed)
    rows = compare_with_svm(table, directions, fit_regression(table, seed=options.seed), seed=options.seed)
    print("| parameter | R², regression | R², SVM | accuracy, regression | SVM | cosine |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(
            f"| `{name}` | {row['r2']:.2f} | {row['svm_r2']:.2f} | {row['accuracy']:.3f} | {row['svm_accuracy']:.3f} "
            f"| {row['cosine']:.2f} |"
        )


if __name__ == "__main__":
    main()
