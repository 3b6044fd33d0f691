"""Patches a second that the simulator makes on one core, and the share of the time each part takes.

python benchmarks/simulator.py --regions 10 --frames 20

The rate depends on the machine, so a yardstick runs beside it: smoothing white noise of the same sizes with one
Gaussian, about the least that any simulator of such fields has to do.
"""

from __future__ import annotations

import argparse
import os
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from solquery.simulator import simulate_region  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    simulate_region(options.seed, 0, 1)  # imports and caches are no part of the rate

    began = time.process_time()
    shapes = [
        patch.field.shape
        for index in range(options.regions)
        for patch in simulate_region(options.seed, index, options.frames)
    ]
    made = time.process_time() - began

    rng = np.random.default_rng(0)
    began = time.process_time()
    for shape in shapes:
        gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 2.0)
    yardstick = time.process_time() - began

    pixels = sum(height * width for height, width in shapes)
    print(f"{len(shapes)} patches of {pixels / len(shapes):,.0f} pixels on average in {made:.1f} s of one core")
    print(f"{len(shapes) / made:.1f} patches/s/core; {pixels / made / 1e6:.2f} Mpixel/s")
    print(f"ratio to smoothing noise of the same sizes once: {made / yardstick:.2f}")


if __name__ == "__main__":
    main()
