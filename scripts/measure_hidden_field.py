"""How much of what quiet pixels of radial fields show is weak field of the Sun and not noise.

python scripts/measure_hidden_field.py [--observed RADIAL_DIR LINE_OF_SIGHT_DIR] [--simulated ARCHIVE ...]

Observed: in the quiet pixels of a radial frame, the standard deviation of the line-of-sight field of the same instant
over μ, less that of its noise (4.5 G at disc centre, half as much again at the limb), as a share of the standard
deviation of the radial field. Simulated: the same of the frame as HMI would report it without noise. Frames at μ > 0.5.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from solquery import Archive, SolqueryError, read_sharp
from solquery.physics import estimate_noise
from solquery.physics.quiet import quiet_pixels

#: noise of the line-of-sight field of remapped 720 s frames at disc centre, G
NOISE_GAUSS = 4.5


def of_pairs(radial: Path, sight: Path) -> Iterator[float]:
    """Shares of observed pairs."""
    for path in sorted(radial.rglob("*.Br.fits")):
        other = sight / path.name.replace(".Br.", ".magnetogram.")
        try:
            patch, seen = read_sharp(path), read_sharp(other)
        except (SolqueryError, OSError):
            continue
        if patch.mu < 0.5:
            continue
        quiet = quiet_pixels(patch.field, patch.scale_mm) & np.isfinite(seen.field)
        noise = NOISE_GAUSS * (1.0 + 0.5 * np.sqrt(1.0 - patch.mu**2))
        hidden = np.sqrt(max(float(seen.field[quiet].var()) - noise**2, 0.0)) / patch.mu
        yield hidden / estimate_noise(patch.field, patch.scale_mm).gauss


def of_twins(archive: Archive) -> Iterator[float]:
    """Shares of simulated frames."""
    ids = set(archive.ids())
    for one in sorted(ids):
        if f"{one}-observed-clean" not in ids or (patch := archive.get(one)).mu < 0.5:
            continue
        quiet = quiet_pixels(patch.field, patch.scale_mm)
        hidden = float(archive.get(f"{one}-observed-clean").field[quiet].std())
        yield hidden / estimate_noise(patch.field, patch.scale_mm).gauss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observed", nargs=2, type=Path, default=None)
    parser.add_argument("--simulated", nargs="*", default=[])
    options = parser.parse_args()
    found = {
        "observed": [] if options.observed is None else list(of_pairs(*options.observed)),
        "simulated": [share for folder in options.simulated for share in of_twins(Archive.open(folder))],
    }
    for kind, shares in found.items():
        if shares:
            low, middle, high = np.percentile(shares, [15.87, 50, 84.13])
            print(f"{kind}: {len(shares)} frames, {middle:.2f} (two thirds {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
