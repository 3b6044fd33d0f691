"""Whether stated errors hold: noise as HMI has it on noise-free regions, over and over.

python scripts/check_errors.py [--frames 12] [--seed 30]

For each parameter: the scatter of (value - bias - truth) in units of the stated error, which should be 1, and the share
within two errors, which should be 0.95. Five cases from μ = 0.97 to 0.4, two regions each.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from solquery.physics import parameters

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
pulls = import_module("noisy_regions").pulls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12, help="noisy frames of each region")
    parser.add_argument("--seed", type=int, default=30)
    options = parser.parse_args()
    names = [name for name in parameters(on_demand=True) if name not in ("sigma", "polarity")]
    print("| parameter | frames | scatter / stated error | within 2 errors | mean |")
    print("|---|---|---|---|---|")
    for name, pull in pulls(names, options.frames, options.seed).items():
        inside = np.mean(np.abs(pull) < 2)
        print(f"| `{name}` | {len(pull)} | {np.sqrt(np.mean(pull**2)):.2f} | {inside:.2f} | {pull.mean():+.2f} |")


if __name__ == "__main__":
    main()
