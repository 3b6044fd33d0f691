"""R_VALUE, and the centres of the polarities, against what the headers of SHARP frames say.

python scripts/check_header_values.py FOLDER... [--each]

Of line-of-sight frames (``…magnetogram.fits``): R_VALUE recomputed less the header's, in dex. Of frames with a bitmap
(``…bitmap.fits`` in any of the folders): separation and direction of the flux-weighted centres of the header against
PSEP and AXIS over all pixels of the box, over the active pixels of the bitmap, and by the header's own definition
(`flux_centres`), for the radial field and for that along the line of sight. Values count as within errors where they
differ by at most two errors of the noise and one pixel. AREA_ACR is the area of the active pixels: AREA over these, and
without a bitmap FAREA, are compared with it at μ > 0.5.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from solquery import Patch, SolqueryError, read_sharp
from solquery.physics import (
    flux_centres,
    header_values,
    measure,
    measure_active,
    measure_patch,
    parameter_errors,
)
from solquery.sharp.bitmaps import bitmap_of

NAMES = ("psep", "axis_angle")


def frames(folders: list[Path], segment: str) -> list[tuple[Path, Patch]]:
    """Frames of a segment, those that cannot be read or are of bad QUALITY left out with a line."""
    out: dict[str, tuple[Path, Patch]] = {}
    for path in (found for folder in folders for found in sorted(folder.rglob(f"*.{segment}.fits"))):
        try:
            out.setdefault(path.name, (path, read_sharp(path)))
        except SolqueryError as error:
            print(f"left out: {error}", file=sys.stderr)
    return list(out.values())


def r_values(folders: list[Path], each: bool) -> None:
    """Print how R_VALUE compares with the header's."""
    off: list[float] = []
    zeros: list[float] = []
    for path, patch in frames(folders, "magnetogram"):
        told = header_values(patch.keywords, patch.quantity).get("r_value")
        if told is None:
            continue
        ours = float(measure(patch.field, patch.scale_mm, "r_value")["r_value"][0])
        if each:
            print(f"{path.name}: μ {patch.mu:.2f}, header {told.value:.3f}, ours {ours:.3f}")
        (off if told.value > 0 else zeros).append(ours - told.value)
    apart = np.abs(off)
    print(
        f"R_VALUE, line of sight, {len(off)} frames: at most {apart.max():.4f} dex off, "
        f"{np.mean(apart <= 0.1):.0%} within 0.1 dex; header 0 in {len(zeros)} frames, ours 0 in "
        f"{sum(value == 0 for value in zeros)} of them, at most {max(zeros, default=math.nan):.3f}"
    )


def centres(folders: list[Path], segment: str, each: bool) -> None:
    """Print how separation and direction compare with those of the header's centres."""
    found: dict[str, list[tuple[float, float, bool, bool]]] = {"box": [], "active": [], "header": []}
    homes = {path.parent for folder in folders for path in folder.rglob("*.bitmap.fits")}
    for path, patch in frames(folders, segment):
        masks_at_hand = [mask for home in homes if (mask := bitmap_of(patch, home)) is not None]
        told = header_values(patch.keywords, patch.quantity)
        if not masks_at_hand or patch.scale_mm is None or any(name not in told for name in NAMES):
            continue
        header = [told[name].value for name in NAMES]
        masks = {"box": measure(patch.field, patch.scale_mm, NAMES)}
        masks["active"] = measure_active(patch.field, masks_at_hand[0], patch.scale_mm, NAMES)
        masks["header"] = flux_centres(patch, masks_at_hand[0]).values()
        errors = parameter_errors(patch.field, patch.scale_mm, None, NAMES, quantity=patch.quantity)
        for where, values in masks.items():
            apart = [float(np.squeeze(values[name])) - value for name, value in zip(NAMES, header, strict=True)]
            apart[1] = (apart[1] + 180.0) % 360.0 - 180.0
            pixel = (patch.scale_mm[0], math.degrees(patch.scale_mm[0] / header[0]))
            within = [
                abs(gap - (errors[name].bias if where == "box" else 0.0)) <= 2 * errors[name].error + one
                for name, gap, one in zip(NAMES, apart, pixel, strict=True)
            ]
            found[where].append((apart[0] / header[0], apart[1], within[0], within[1]))
            if each:
                print(
                    f"{path.name}, {where}: μ {patch.mu:.2f}, header {header[0]:.1f} Mm, {header[1]:.1f}°; "
                    f"{apart[0]:+.2f} Mm, {apart[1]:+.2f}°; errors {errors['psep'].error:.2f}, "
                    f"{errors['axis_angle'].error:.2f}"
                )
    for where, rows in found.items():
        size, turn, *within = np.array(rows).T
        both = np.logical_and(*(column.astype(bool) for column in within))
        near = (np.abs(size) <= 0.05) & (np.abs(turn) <= 3.0)
        print(
            f"centres, {segment}, {where}: {len(rows)} frames, {near.mean():.0%} within 5 % and 3°, "
            f"{both.mean():.0%} within errors; median {np.median(np.abs(size)):.1%}, {np.median(np.abs(turn)):.2f}°"
        )


def areas(folders: list[Path], each: bool) -> None:
    """Print how AREA over the active pixels of a bitmap, and FAREA without one, compare with AREA_ACR."""
    homes = {path.parent for folder in folders for path in folder.rglob("*.bitmap.fits")}
    rows: list[tuple[float, float]] = []
    for path, patch in frames(folders, "Br"):
        masks = [mask for home in homes if (mask := bitmap_of(patch, home)) is not None]
        told = header_values(patch.keywords, patch.quantity).get("area")
        if not masks or told is None or patch.mu <= 0.5:
            continue
        active = float(measure_active(patch.field, masks[0], patch.scale_mm, ["area"])["area"][0])
        own = measure_patch(patch, "flux_area")["flux_area"]
        rows.append((active / told.value, own / told.value))
        if each:
            print(f"{path.name}: μ {patch.mu:.2f}, AREA_ACR {told.value:.0f} Mm2; AREA {active:.0f}, FAREA {own:.0f}")
    for what, ratio in zip(("AREA over active pixels", "FAREA"), np.array(rows).reshape(-1, 2).T, strict=True):
        apart = np.abs(ratio - 1.0)
        print(
            f"{what} against AREA_ACR, radial: {len(ratio)} frames, {np.median(apart):.1%} off in the median, "
            f"{np.mean(apart <= 0.4):.0%} within 40 %"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--each", action="store_true", help="a line for each frame")
    options = parser.parse_args()
    r_values(options.folders, options.each)
    areas(options.folders, options.each)
    for segment in ("magnetogram", "Br"):
        centres(options.folders, segment, options.each)


if __name__ == "__main__":
    main()
