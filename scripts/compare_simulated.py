"""Simulated beside real: the pictures and the table that are committed in docs/simulated/.

    python scripts/compare_simulated.py --out docs/simulated --real DIR_WITH_SHARP_BR_FITS [--regions 300]

`shuffled.png` shows real and simulated radial fields at native scale, shuffled; its key goes into `key.md`.
`life.png` shows one simulated region from emergence to decay. `table.md` holds statistics of structure and noise:
percentiles of the simulated patches, the median of the real regions (a region is the mean of its frames), and the share
of real regions outside the simulated 5 to 95 %.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter, label

from solquery import Patch, SolqueryError, read_sharp
from solquery.physics import measure
from solquery.simulator import PIXEL_MM, draw_region, simulate_region
from solquery.simulator.evolution import Evolution
from solquery.simulator.observation import cosine_map, observe
from solquery.simulator.region import noise_free

#: rows and columns of one picture, in native pixels
CROP = (130, 200)
#: patches nearer to the limb are left out, as the paper does
LEAST_MU = 0.4


def real_patches(folder: Path) -> list[Patch]:
    """Frames that pass the rule of QUALITY, with hardly a pixel missing and not too near to the limb."""
    found = []
    for path in sorted(folder.glob("*.Br.fits")):
        try:
            patch = read_sharp(path)
        except SolqueryError as error:
            warnings.warn(str(error), stacklevel=1)
            continue
        if patch.missing_fraction < 0.01 and patch.mu > LEAST_MU:
            found.append(patch)
    return found


def asinh_grey(field: np.ndarray) -> np.ndarray:
    """Grey values of a field: linear below 40 G, logarithmic above, so that network and umbra are seen together."""
    return np.arcsinh(np.nan_to_num(field) / 40.0)


def _show(axis: plt.Axes, field: np.ndarray) -> None:
    axis.imshow(asinh_grey(field), cmap="gray", vmin=-4.2, vmax=4.2, origin="lower", interpolation="nearest")


def _save(figure: plt.Figure, path: Path, dpi: int) -> None:
    """Write a grey picture, a third of the size of one in colour."""
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    with Image.open(path) as picture:
        grey = picture.convert("L")
    grey.save(path, optimize=True)


def crop(patch: Patch) -> np.ndarray:
    """The part of a patch with most flux, at native scale."""
    field = np.nan_to_num(patch.field)
    height, width = (min(size, most) for size, most in zip(field.shape, CROP, strict=True))
    weight = gaussian_filter(np.minimum(np.abs(field), 800.0), 25.0)
    weight = weight[height // 2 : field.shape[0] - height // 2 + 1, width // 2 : field.shape[1] - width // 2 + 1]
    row, column = np.unravel_index(weight.argmax(), weight.shape)
    return field[row : row + height, column : column + width]


def statistics(patch: Patch) -> dict[str, float]:
    """Numbers that tell real from simulated where they differ."""
    field = np.nan_to_num(patch.field).astype(float)
    size = np.abs(field)
    out = {f"\\|B\\| {q} % (G)": float(np.percentile(size, q)) for q in (50, 90, 99, 99.9)}
    out["pixels over 150 G (%)"] = 100.0 * float((size > 150).mean())
    out["pixels over 800 G (%)"] = 100.0 * float((size > 800).mean())
    out |= _scales(field)
    smooth = gaussian_filter(field, 1.0)
    areas = np.concatenate(
        [np.bincount(label(sign * smooth > 150, np.ones((3, 3)))[0].ravel())[1:] for sign in (1, -1)]
    )
    areas = areas[areas >= 6]
    if len(areas):
        out["mean area of a patch over 150 G (Mm²)"] = float(areas.mean() * PIXEL_MM**2)
        out["largest patch, share of the area"] = float(areas.max() / areas.sum())
    quiet = field[~binary_dilation(np.abs(gaussian_filter(field, 2.0)) > 80, iterations=6)]
    if quiet.size > 2000:
        out["noise of quiet pixels (G)"] = float(1.4826 * np.median(np.abs(quiet)))
        out["quiet pixels within 0.3 standard deviations (%)"] = 100.0 * float(
            (np.abs(quiet) < 0.3 * quiet.std()).mean()
        )
    native = measure(patch.field, patch.scale_mm, ("r", "tuf"))
    height, width = (length // 5 * 5 for length in field.shape)
    coarse = field[:height, :width].reshape(height // 5, 5, width // 5, 5).mean((1, 3))
    grid = measure(coarse, (5 * PIXEL_MM, 5 * PIXEL_MM), ("r", "tuf"))
    out["TUF, native over 1.8 Mm"] = float(native["tuf"][0] / grid["tuf"][0])
    if native["r"][0] > 0 and grid["r"][0] > 0:
        out["R, native over 1.8 Mm, where neither is 0"] = float(native["r"][0] / grid["r"][0])
    out["R over TUF (%)"] = 100.0 * float(native["r"][0] / native["tuf"][0])
    return out


def _scales(field: np.ndarray) -> dict[str, float]:
    """How the power is shared out over scales: means of blocks of 5, 10, 20, 40 pixels."""
    out, before = {}, None
    for n in (5, 10, 20, 40):
        height, width = (length // n * n for length in field.shape)
        if not height or not width:
            continue
        power = float((field[:height, :width].reshape(height // n, n, width // n, n).mean((1, 3)) ** 2).mean())
        if before is not None:
            out[f"power kept from {n // 2 * PIXEL_MM:.1f} to {n * PIXEL_MM:.1f} Mm"] = power / before
        before = power
    return out


def table(real: list[Patch], simulated: list[Patch]) -> str:
    """Markdown table of the statistics."""
    regions = sorted({patch.region for patch in real})
    of_real = [(patch.region, statistics(patch)) for patch in real]
    of_simulated = [statistics(patch) for patch in simulated]
    lines = [
        f"| native scale, μ > {LEAST_MU} | simulated ({len(simulated)} regions): 5, 50, 95 % "
        f"| real ({len(regions)} HARPs): median | real HARPs outside |",
        "|---|---|---|---|",
    ]
    shares = []
    for name in dict.fromkeys(key for _, row in of_real for key in row):
        made = np.array([row[name] for row in of_simulated if name in row])
        seen = np.array(
            [np.mean([row[name] for r, row in of_real if r == g and name in row] or [np.nan]) for g in regions]
        )
        seen = seen[np.isfinite(seen)]
        low, middle, high = np.percentile(made, [5, 50, 95])
        shares.append(float(((seen < low) | (seen > high)).mean()))
        lines.append(f"| {name} | {low:.3g}, {middle:.3g}, {high:.3g} | {np.median(seen):.3g} | {shares[-1]:.0%} |")
    lines.append(f"| mean | | | {np.mean(shares):.0%} (10 % if alike) |")
    return "\n".join(lines) + "\n"


def shuffled(real: list[Patch], simulated: list[Patch], path: Path, seed: int) -> str:
    """Write the picture of both, shuffled; return the key."""
    rng = np.random.default_rng(seed)
    by_region = {patch.region: patch for patch in real}
    ours = [p for p in simulated if p.truth["clean_unsigned_mx"] > 3e21][: len(by_region)]
    tiles = [("real", p) for p in by_region.values()] + [("simulated", p) for p in ours]
    order = rng.permutation(len(tiles))
    columns = 5
    rows = -(-len(tiles) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.0 * columns, 2.05 * rows), squeeze=False)
    key = []
    for number, axis in enumerate(axes.flat):
        axis.axis("off")
        if number < len(tiles):
            kind, patch = tiles[order[number]]
            axis.imshow(
                asinh_grey(crop(patch)), cmap="gray", vmin=-4.2, vmax=4.2, origin="lower", interpolation="nearest"
            )
            axis.set_title(f"{number + 1}   μ {patch.mu:.2f}", fontsize=7, pad=2)
            key.append(f"{number + 1} {patch.region if kind == 'real' else 'simulated'}")
    figure.tight_layout(pad=0.3)
    _save(figure, path, 75)
    return ", ".join(key) + "\n"


def life(seed: int, path: Path) -> None:
    """Write the strip of one region, from its emergence to its remains."""
    index = 0
    while True:
        plan = draw_region(np.random.default_rng([seed, index, 20100501]))
        if 22.1 < plan.record["log10_flux_mx"] < 22.5 and len(plan.bipoles) == 1:
            break
        index += 1
    evolution = Evolution(plan, np.random.default_rng(seed))
    height, width = evolution.size_mm
    shape = (int(height / PIXEL_MM), int(width / PIXEL_MM))
    mu, _ = cosine_map(shape, 12.0, 0.0, 0.0)
    days = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0)
    figure, axes = plt.subplots(3, 3, figsize=(13, 13 * shape[0] / shape[1] * 1.05))
    for day, axis in zip(days, axes.flat, strict=True):
        evolution.advance(24.0 * day, 1.0 if day < 8 else 2.0)
        rng = np.random.default_rng([seed, int(10 * day)])
        fields = noise_free(evolution.snapshot(), shape, (0.0, 0.0), rng)
        seen, _ = observe(*fields, mu, True, rng)
        _show(axis, seen)
        axis.set_title(f"day {day:g}", fontsize=9, pad=2)
        axis.axis("off")
    axes.flat[0].plot([10, 10 + 50 / PIXEL_MM], [12, 12], color="w", lw=2)
    axes.flat[0].text(10, 18, "50 Mm", color="w", fontsize=8)
    figure.tight_layout(pad=0.3)
    _save(figure, path, 62)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--real", type=Path, required=True, help="folder with SHARP Br files")
    parser.add_argument("--regions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    real = real_patches(options.real)
    simulated = [simulate_region(options.seed, k, 20, keep=1)[0] for k in range(options.regions)]
    simulated = [patch for patch in simulated if patch.mu > LEAST_MU]
    text = table(real, simulated)
    (options.out / "table.md").write_text(text)
    (options.out / "key.md").write_text(shuffled(real, simulated, options.out / "shuffled.png", options.seed))
    life(4, options.out / "life.png")
    print(text)


if __name__ == "__main__":
    main()
