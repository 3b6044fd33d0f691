"""How parameters of radial fields follow from line-of-sight ones: the coefficients of `solquery.physics.line_of_sight`.

python scripts/calibrate_line_of_sight.py RADIAL_DIR LINE_OF_SIGHT_DIR [LINE_OF_SIGHT_DIR ...]

Pairs of SHARP frames of one instant, ``…Br.fits`` and ``…magnetogram.fits``, at μ > 0.5 and of good QUALITY. The band
is the scatter about fits that have not seen the region (one HARP left out at a time); its coverage is counted so too.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from solquery import SolqueryError, read_sharp
from solquery.physics.line_of_sight import LEAST, NAMES, features
from solquery.physics.observed import measure_within, region_window


def pairs(radial: Path, sight: list[Path]) -> dict[str, list[tuple[str, float, float, float]]]:
    """Parameter to (region, μ, value of the line-of-sight field over μ, value of the radial field)."""
    out: dict[str, list[tuple[str, float, float, float]]] = {name: [] for name in NAMES}
    for path in sorted(radial.rglob("*.Br.fits")):
        name = path.name.replace(".Br.", ".magnetogram.")
        other = next((folder / name for folder in sight if (folder / name).exists()), None)
        if other is None:
            continue
        try:
            patch, seen = read_sharp(path), read_sharp(other)
        except SolqueryError as error:
            print(f"left out: {error}")
            continue
        if patch.mu < 0.5:
            continue
        names = ("flux", "tuf", "tpf", "tnf", "area")
        window = region_window(patch)
        got = measure_within(patch.field, patch.scale_mm, names, window)
        from_sight = measure_within(seen.field / patch.mu, seen.scale_mm, names, window)
        for name in NAMES:
            x, y = float(from_sight[name][0]), float(got[name][0])
            if x > LEAST[name] and y > 0:
                # both polarities follow one law
                for like in ("tpf", "tnf") if name in ("tpf", "tnf") else (name,):
                    out[like].append((patch.region, patch.mu, x, y))
    return out


def fit(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    root = np.sqrt(weight)
    return np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("radial", type=Path)
    parser.add_argument("sight", type=Path, nargs="+")
    options = parser.parse_args()
    for name, rows in pairs(options.radial, options.sight).items():
        region = np.array([row[0] for row in rows])
        mu, seen, radial = np.array([row[1:] for row in rows]).T
        x, y = features(name, mu, seen), np.log(radial / seen)
        weight = np.array([1.0 / (region == r).sum() for r in region])
        rest = np.zeros(len(y))
        for one in np.unique(region):
            out = region == one
            rest[out] = y[out] - x[out] @ fit(x[~out], y[~out], weight[~out])
        scatter = math.sqrt(np.average(rest**2, weights=weight))
        coefficients = ", ".join(f"{c:.3f}" for c in fit(x, y, weight))
        inside = np.average(np.abs(rest) < scatter, weights=weight)
        print(
            f"{name}: ({coefficients}), {scatter:.3f}; {len(rows)} pairs of {len(set(region))} regions, "
            f"{inside:.0%} within the band"
        )


if __name__ == "__main__":
    main()
