"""Whether stated errors hold: noise as HMI has it on noise-free regions, over and over.

python scripts/check_errors.py [--frames 12] [--seed 30]
python scripts/check_errors.py --pairs ARCHIVE

For each parameter: the scatter of (value - bias - truth) in units of the stated error, which should be 1, and the share
within two errors, which should be 0.95. Without an archive: five cases from μ = 0.97 to 0.4, two analytic regions each.
With one: simulated frames beside their noise-free twins, of ``solquery simulate --archive ARCHIVE --regions 40
--frames 2 --keep 1 --quantity radial --quantity noise-free``, whose noise is that of Q, U and V on the detector's
pixels, inverted and disambiguated.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from solquery import Archive
from solquery.errors import SolqueryError
from solquery.physics import measure, parameter_errors, parameters

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
pulls = import_module("noisy_regions").pulls


def pulls_of_pairs(archive: Archive, names: list[str], seed: int) -> dict[str, np.ndarray]:
    """(Value - bias - truth) / error of each parameter, of frames whose noise-free twin is in the archive as well."""
    ids = set(archive.ids())
    out: dict[str, list[float]] = {name: [] for name in names}
    for one in sorted(ids):
        # the twin's name has an end that says so
        if f"{one}-clean" not in ids:
            continue
        seen, clean = archive.get(one), archive.get(f"{one}-clean")
        truth, values = (measure(p.field, p.scale_mm, names) for p in (clean, seen))
        try:
            errors = parameter_errors(seen.field, seen.scale_mm, None, names, seed=seed)
        except SolqueryError:
            continue
        for name in names:
            apart = float(values[name][0]) - errors[name].bias - float(truth[name][0])
            if parameters(on_demand=True)[name].unit == "deg":
                apart = (apart + 180.0) % 360.0 - 180.0
            if np.isfinite(apart) and errors[name].error > 0:
                out[name].append(apart / errors[name].error)
    return {name: np.array(values) for name, values in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12, help="noisy frames of each region")
    parser.add_argument("--seed", type=int, default=30)
    parser.add_argument("--pairs", help="archive of simulated frames and their noise-free twins")
    options = parser.parse_args()
    names = [name for name in parameters(on_demand=True) if name not in ("sigma", "polarity")]
    if options.pairs:
        found = pulls_of_pairs(Archive.open(options.pairs), names, options.seed)
    else:
        found = pulls(names, options.frames, options.seed)
    print("| parameter | frames | scatter / stated error | middle two thirds | within 2 errors | median |")
    print("|---|---|---|---|---|---|")
    for name, pull in found.items():
        if not len(pull):
            continue
        # half of the width that holds two thirds is the scatter without its tails
        core = 0.5 * np.diff(np.percentile(pull, [15.87, 84.13]))[0]
        inside = np.mean(np.abs(pull) < 2)
        print(
            f"| `{name}` | {len(pull)} | {np.sqrt(np.mean(pull**2)):.2f} | {core:.2f} | {inside:.2f} "
            f"| {np.median(pull):+.2f} |"
        )


if __name__ == "__main__":
    main()
