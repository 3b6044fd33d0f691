"""The picture of docs/how-to/translate.md: a patch as given, translated, and as wanted, for four of the maps.

    python scripts/make_translation_picture.py --archive pairs --region "SIM 2900-3"

The archive is of ``solquery simulate`` with all three quantities; of the regions named the strongest frame is shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from solquery import Archive
from solquery.grey import LIMIT_GAUSS, SOFT_GAUSS
from solquery.translation import Pair, pairs_of_archive, translate
from solquery.translation.grid import values_on, whole_window

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "translate.png"
SHOWN = ("los-to-radial", "mdi-to-hmi", "limb-to-clean", "missing-to-filled", "saturated-to-unsaturated")
#: sides of the part that is shown, Mm
WIDE, HIGH = 150.0, 90.0


def rows_of(archive: Archive, ids: list[str]) -> list[tuple[str, Pair]]:
    """For each map the pair of the wanted frames whose field is strongest."""
    where = "region IN (" + ",".join(f"'{i}'" for i in ids) + ")"
    out = []
    for name in SHOWN:
        found = list(pairs_of_archive(archive, name, where))
        out.append((name, max(found, key=lambda p: float(np.nanpercentile(np.abs(p.wanted.field), 99.5)))))
    return out


def tiles(name: str, pair: Pair) -> tuple[list[np.ndarray], float]:
    """Given, translated and wanted on the grid of the map, cut to the middle of the flux; the error of the whole."""
    made = translate(pair.given, name)
    window = whole_window(pair.given, made.scale_mm or (1.0, 1.0))
    given, lost = values_on(pair.given, window)
    wanted = values_on(pair.wanted, window)[0]
    error = float(made.truth["translation"]["error"]["rms_gauss"])
    strong = np.argwhere(np.abs(wanted) > 300)
    middle = strong.mean(0) if len(strong) else np.array(wanted.shape) / 2
    if "missing" in name:
        middle = np.argwhere(lost > 0.5).mean(0)
    cut = []
    for axis, side in enumerate((HIGH, WIDE)):
        half = int(side / window.scale_mm[axis] / 2)
        start = int(np.clip(middle[axis] - half, 0, max(wanted.shape[axis] - 2 * half, 0)))
        cut.append(slice(start, start + 2 * half))
    shown = [np.where(lost > 0.5, np.nan, given), made.field, wanted]
    return [field[cut[0], cut[1]] for field in shown], error


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", required=True)
    parser.add_argument("--region", nargs="+", required=True, help="regions to choose from, such as 'SIM 2900-3'")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    rows = rows_of(Archive.open(options.archive), options.region)
    figure = Figure(figsize=(8.6, 1.75 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False)
    grey = colormaps["gray"].with_extremes(bad="#c0392b")
    image = None
    for line, (name, pair) in zip(axes, rows, strict=True):
        shown, error = tiles(name, pair)
        titles = [f"given (simulated, μ = {pair.given.mu:.2f})", f"{name}, error {error:.0f} G", "wanted (simulated)"]
        for axis, field, title in zip(line, shown, titles, strict=True):
            image = axis.imshow(
                np.ma.masked_invalid(field), origin="lower", cmap=grey, interpolation="nearest",
                norm=AsinhNorm(SOFT_GAUSS, -LIMIT_GAUSS, LIMIT_GAUSS),
            )  # fmt: skip
            axis.set_axis_off()
            axis.set_title(title, fontsize=8)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.4, ticks=[-1000, -300, -100, 0, 100, 300, 1000])
    bar.set_label("field (G)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.savefig(options.out, dpi=110, facecolor="white")
    print(options.out)


if __name__ == "__main__":
    main()
