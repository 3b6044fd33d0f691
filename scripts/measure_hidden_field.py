"""How much of what quiet pixels of radial fields show is weak field of the Sun and not noise.

python scripts/measure_hidden_field.py [--observed RADIAL_DIR LINE_OF_SIGHT_DIR] [--simulated ARCHIVE ...]

Observed: in the quiet pixels of a radial frame, the standard deviation of the line-of-sight field of the same instant
over μ, less that of its noise (4.5 G at disc centre, half as much again at the limb), as a share of the standard
deviation of the radial field. Simulated: the same of the frame as HMI would report it without noise. Frames at μ > 0.5.
A second number: how much stronger the noise is in pixels that are away from strong field and yet not calm, beside a
region, than in quiet ones; noise is the difference of the radial field from the line-of-sight one over μ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from solquery import Archive, Patch, SolqueryError, read_sharp
from solquery.physics import estimate_noise
from solquery.physics.quiet import quiet_and_rest, quiet_pixels

#: noise of the line-of-sight field of remapped 720 s frames at disc centre, G
NOISE_GAUSS = 4.5


#: fewer pixels beside a region than this share of a frame say nothing
LEAST_BESIDE = 0.05


def of_pairs(radial: Path, sight: Path) -> Iterator[tuple[float, float]]:
    """Shares of observed pairs, and how much stronger the noise is beside the region (`beside`)."""
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
        yield hidden / estimate_noise(patch.field, patch.scale_mm).gauss, beside(patch, seen.field / patch.mu)


def of_twins(archive: Archive) -> Iterator[tuple[float, float]]:
    """The same of simulated frames."""
    ids = set(archive.ids())
    for one in sorted(ids):
        if f"{one}-observed-clean" not in ids or (patch := archive.get(one)).mu < 0.5:
            continue
        without = archive.get(f"{one}-observed-clean").field
        hidden = float(without[quiet_pixels(patch.field, patch.scale_mm)].std())
        yield hidden / estimate_noise(patch.field, patch.scale_mm).gauss, beside(patch, without)


def beside(patch: Patch, without: np.ndarray) -> float:
    """Noise of uncalm pixels away from strong field in units of that of quiet ones; NaN where these are few."""
    quiet, rest = quiet_and_rest(patch.field, patch.scale_mm)
    noise = patch.field - without
    known = np.isfinite(noise)
    uncalm = rest & ~quiet & known
    return float(noise[uncalm].std() / noise[quiet & known].std()) if uncalm.mean() > LEAST_BESIDE else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observed", nargs=2, type=Path, default=None)
    parser.add_argument("--simulated", nargs="*", default=[])
    options = parser.parse_args()
    found = {
        "observed": [] if options.observed is None else list(of_pairs(*options.observed)),
        "simulated": [two for folder in options.simulated for two in of_twins(Archive.open(folder))],
    }
    for kind, both in found.items():
        for what, numbers in zip(
            ("hidden field", "noise beside a region"), np.array(both).reshape(-1, 2).T, strict=True
        ):
            known = numbers[np.isfinite(numbers)]
            if len(known):
                low, middle, high = np.percentile(known, [15.87, 50, 84.13])
                print(f"{kind}, {what}: {len(known)} frames, {middle:.2f} (two thirds {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
