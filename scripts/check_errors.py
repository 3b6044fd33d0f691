"""Whether stated errors hold: noise as HMI has it on noise-free regions, over and over.

python scripts/check_errors.py [--frames 12] [--seed 30]
python scripts/check_errors.py --pairs ARCHIVE [ARCHIVE ...]

For each parameter: the scatter of (value - bias - truth) in units of the stated error, which should be 1, and the share
within two errors, which should be 0.95. Without an archive: five cases from μ = 0.97 to 0.4, two analytic regions each.
With some: simulated frames beside what HMI would report of them without noise, of ``solquery simulate --archive
ARCHIVE --regions 40 --frames 2 --keep 1 --quantity radial --quantity noise-free-observed --quantity noise-free``. Their
noise is that of Q, U and V on the detector's pixels, inverted and disambiguated. A second table has what the
observation itself does, noise apart: log(reported / true) = a sin² of the heliocentric angle, and the scatter b sin
about it, the numbers of ``solquery.physics.systematic``.
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
from solquery.physics.systematic import SYSTEMATIC

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
pulls = import_module("noisy_regions").pulls


#: ends of the names of a frame's twins: as HMI would report it without noise, and before HMI
OBSERVED, TRUE = "-observed-clean", "-clean"


def twins(archive: Archive) -> list[str]:
    """Ids of the frames whose twin without noise is in the archive."""
    ids = set(archive.ids())
    return [one for one in sorted(ids) if f"{one}{OBSERVED}" in ids]


def pulls_of_pairs(archive: Archive, names: list[str], seed: int) -> dict[str, list[float]]:
    """(Value - bias - truth) / error of each parameter, of frames whose twin without noise is there as well."""
    out: dict[str, list[float]] = {name: [] for name in names}
    for one in twins(archive):
        seen, without = archive.get(one), archive.get(f"{one}{OBSERVED}")
        truth, values = (measure(p.field, p.scale_mm, names) for p in (without, seen))
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
    return out


def tell_systematic(archives: list[Archive]) -> None:
    """Print what the observation does to each parameter apart from noise, at μ > 0.5."""
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in SYSTEMATIC}
    for archive in archives:
        ids = set(archive.ids())
        for one in (one for one in twins(archive) if f"{one}{TRUE}" in ids):
            seen, true = archive.get(f"{one}{OBSERVED}"), archive.get(f"{one}{TRUE}")
            if seen.mu < 0.5:
                continue
            reported, exact = (measure(p.field, p.scale_mm, list(rows)) for p in (seen, true))
            for name, found in rows.items():
                ratio = float(reported[name][0]) / float(exact[name][0]) if float(exact[name][0]) > 0 else np.nan
                if ratio > 0:
                    found.append((1.0 - seen.mu**2, np.log(ratio)))
    print("\n| parameter | frames | a | b | stated |\n|---|---|---|---|---|")
    for name, found in rows.items():
        if not found:
            continue
        square, log = np.array(found).T
        rate = np.median((log / square)[square > 0.15])
        scatter = np.percentile(np.abs(log - rate * square) / np.sqrt(square), 68)
        print(f"| `{name}` | {len(found)} | {rate:.3f} | {scatter:.3f} | {SYSTEMATIC[name]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12, help="noisy frames of each region")
    parser.add_argument("--seed", type=int, default=30)
    parser.add_argument("--pairs", nargs="+", help="archives of simulated frames and their noise-free twins")
    options = parser.parse_args()
    names = [name for name in parameters(on_demand=True) if name not in ("sigma", "polarity")]
    if options.pairs:
        archives = [Archive.open(folder) for folder in options.pairs]
        parts = [pulls_of_pairs(archive, names, options.seed) for archive in archives]
        found = {name: np.concatenate([part[name] for part in parts]) for name in names}
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
    if options.pairs:
        tell_systematic(archives)


if __name__ == "__main__":
    main()
