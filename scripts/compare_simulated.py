"""Hold the simulated archive beside real patches: one table and one picture, as committed in docs/simulated/.

    python scripts/compare_simulated.py --out docs/simulated [--real DIR_WITH_SHARP_FITS]

The real patches are the line-of-sight samples that ship with the package; with --real, radial SHARP frames of your own
join the table (never the picture's files). All numbers are measured on the 128 x 128 grid of preset `paper`: quantiles
of |B| before the clip, the rest after it, fields in gauss.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from solquery.archive.fits import UnreadableFits, read_sharp
from solquery.archive.prepare import resize
from solquery.archive.samples import sample_patches
from solquery.physics import measure
from solquery.simulator import simulate

QUANTILES = (50, 90, 99, 99.9)
SHAPE = (128, 128)


def numbers(grids: np.ndarray) -> dict[str, np.ndarray]:
    """One value a patch for each row of the table; grids (N, 128, 128) in gauss, unclipped."""
    rows = {f"|B| {q} % (G)": np.percentile(np.abs(grids), q, axis=(1, 2)) for q in QUANTILES}
    rows["pixels over 150 G (%)"] = 100 * (np.abs(grids) > 150).mean((1, 2))
    texture = measure(np.clip(grids, -1000, 1000), names=["sigma", "alpha", "grad"])
    rows["SIGMA (G)"] = texture["sigma"].numpy()
    rows["ALPHA"] = texture["alpha"].numpy()
    rows["GRAD (G/pix)"] = texture["grad"].numpy()
    return rows


def table(groups: dict[str, np.ndarray]) -> str:
    """Markdown: minimum, median and maximum of the real groups, and the 0, 5, 50, 95, 100 % points of the simulated."""
    measured = {name: numbers(grids) for name, grids in groups.items()}
    titles = [f"{name} (N = {len(groups[name])})" for name in groups]
    lines = ["| on the 128 x 128 grid | " + " | ".join(titles) + " |", "|---" * (len(groups) + 1) + "|"]
    for row in next(iter(measured.values())):
        cells = []
        for name in groups:
            points = (0, 5, 50, 95, 100) if name == "simulated" else (0, 50, 100)
            cells.append(" … ".join(f"{v:.3g}" for v in np.nanpercentile(measured[name][row], points)))
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def picture(real: np.ndarray, simulated: np.ndarray, path: Path, seed: int) -> None:
    """Real and simulated patches shuffled, 8 x 6; the key stands in small letters under each."""
    tiles = [("real", grid) for grid in real] + [("simulated", grid) for grid in simulated[: 48 - len(real)]]
    order = np.random.default_rng(seed).permutation(len(tiles))
    figure, axes = plt.subplots(6, 8, figsize=(12, 9.6))
    for axis, index in zip(axes.flat, order, strict=True):
        name, grid = tiles[index]
        axis.imshow(grid, cmap="gray", vmin=-800, vmax=800, origin="lower")
        axis.set_xlabel(name, fontsize=6, color="0.5", labelpad=1)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--real", type=Path, help="folder with SHARP Br files")
    parser.add_argument("--regions", type=int, default=150)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    samples = np.stack([resize(patch.field, SHAPE) for patch in sample_patches()])
    simulated = np.stack([resize(patch.field, SHAPE) for patch in simulate(options.regions, 2, options.seed)])
    groups = {"samples, line of sight": samples}
    if options.real:
        frames = []
        for path in sorted(options.real.glob("*.fits")):
            try:
                patch = read_sharp(path)
            except UnreadableFits as error:
                warnings.warn(str(error), stacklevel=1)
                continue
            if np.isnan(patch.field).mean() < 0.01:
                frames.append(resize(patch.field, SHAPE))
        groups["SHARP frames, radial"] = np.stack(frames)
    groups["simulated"] = simulated
    text = table(groups)
    (options.out / "table.md").write_text(text)
    picture(samples, simulated[np.arange(0, len(simulated), 2)], options.out / "picture.png", options.seed)
    print(text)


if __name__ == "__main__":
    main()
