"""Measure what preset `physical` is chosen by: how large regions are, how strong, and what flux a grid keeps.

    python scripts/choose_physical.py --archive demo/archive [--fits DIR] --out docs/physical

For each candidate pixel size of a 128 x 128 grid, centred as the preset centres it, the unsigned flux of a patch is
followed: what lies outside the field of view, what opposite polarities cancel within one coarse pixel, what the bend of
strong fields changes. Noise cancels too, and should; flux is therefore counted in pixels over 100 G, where there is
little of it. Writes choice.json and choice.txt.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from solquery.archive.prepare import field_centre, place_on_grid
from solquery.archive.samples import sample_patches
from solquery.archive.store import Archive
from solquery.config import get_preset
from solquery.errors import SolqueryError
from solquery.patch import Patch
from solquery.sharp.fits import read_sharp

#: pixel of HMI's CEA maps, Mm; candidates are 3 to 8 of them
PIXEL_MM = 0.364425
CANDIDATES = (3, 4, 5, 6, 7, 8)
NOISE_GAUSS = 100.0
#: how far a value is followed: worst, fifth percentile, median, mean
ROWS = ("worst", "p5", "median", "mean")


def followed(patch: Patch, scale: float) -> dict[str, float]:
    """Shares of the flux over 100 G of one patch, and the strongest field on the grid in G."""
    preset = replace(get_preset("physical"), scale_mm=(scale, scale))
    assert patch.scale_mm is not None
    field = np.nan_to_num(patch.field.astype(np.float32))
    strong = np.where(abs(field) > NOISE_GAUSS, field, 0.0)
    centre = field_centre(field)
    total = abs(strong).sum(dtype=np.float64) * patch.scale_mm[0] * patch.scale_mm[1]
    # |B| laid on the same grid cancels nothing: its sum is what lies in view
    in_view = place_on_grid(abs(strong), patch.scale_mm, preset, centre).sum(dtype=np.float64) * scale**2
    grid = place_on_grid(strong, patch.scale_mm, preset, centre)
    kept = abs(grid).sum(dtype=np.float64) * scale**2
    every = place_on_grid(field, patch.scale_mm, preset, centre)
    back = preset.to_gauss(preset.from_gauss(every).astype(np.float16).astype(np.float32))
    return {
        "in_view": in_view / total if total else 1.0,
        "uncancelled": kept / in_view if in_view else 1.0,
        "transform": abs(back).sum(dtype=np.float64) / abs(every).sum(dtype=np.float64),
        "strongest_gauss": float(abs(every).max()),
    }


def summary(values: np.ndarray) -> dict[str, float]:
    return {
        "worst": float(values.min()),
        "p5": float(np.percentile(values, 5)),
        "median": float(np.median(values)),
        "mean": float(values.mean()),
    }


def population(patches: list[Patch]) -> dict[str, Any]:
    """Sizes of the boxes and, for every candidate scale, what is kept."""
    boxes = np.array([np.array(p.field.shape) * p.scale_mm for p in patches])
    out: dict[str, Any] = {
        "patches": len(patches),
        "regions": len({p.region for p in patches}),
        "box_mm": {f"p{q}": [round(float(v), 1) for v in np.percentile(boxes, q, axis=0)] for q in (5, 50, 95, 100)},
        "scales": {},
    }
    for pixels in CANDIDATES:
        rows = [followed(patch, pixels * PIXEL_MM) for patch in patches]
        kinds = {
            name: summary(np.array([row[name] for row in rows])) for name in ("in_view", "uncancelled", "transform")
        }
        out["scales"][str(pixels)] = {
            "mm_per_pixel": round(pixels * PIXEL_MM, 6),
            "view_mm": round(128 * pixels * PIXEL_MM, 1),
            **kinds,
            "strongest_gauss": max(row["strongest_gauss"] for row in rows),
        }
    return out


def table(populations: dict[str, dict]) -> Iterable[str]:
    """Markdown: one row for each population and scale."""
    yield (
        "| patches | Mm per pixel | view (Mm) | in view: median, 5 %, worst | uncancelled: median, mean, worst | "
        "bend and float16: 5 %, worst | strongest (G) |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, found in populations.items():
        for entry in found["scales"].values():
            view, kept, bend = entry["in_view"], entry["uncancelled"], entry["transform"]
            yield (
                f"| {name} ({found['patches']}) | {entry['mm_per_pixel']:.3f} | {entry['view_mm']:.0f} | "
                f"{view['median']:.3f}, {view['p5']:.3f}, {view['worst']:.3f} | "
                f"{kept['median']:.3f}, {kept['mean']:.3f}, {kept['worst']:.3f} | "
                f"{bend['p5']:.4f}, {bend['worst']:.4f} | {entry['strongest_gauss']:.0f} |"
            )


def real_frames(folder: Path) -> list[Patch]:
    """The SHARP frames of a folder that can be read and pass the quality rule."""
    patches = []
    for file in sorted(folder.glob("*.fits")):
        try:
            patches.append(read_sharp(file))
        except SolqueryError as error:
            print(f"left out: {error}")
    return patches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", required=True, help="simulated archive")
    parser.add_argument("--fits", type=Path, help="folder of real SHARP Br frames, if at hand")
    parser.add_argument("--count", type=int, default=400, help="patches of the archive, evenly spread")
    parser.add_argument("--out", type=Path, default=Path("docs/physical"))
    arguments = parser.parse_args()
    archive = Archive.open(arguments.archive)
    ids = archive.ids("source = 'simulated'")
    ids = ids[:: max(1, len(ids) // arguments.count)]
    populations = {
        "simulated": population(list(archive.patches(ids=ids))),
        "samples": population([p for p in sample_patches() if p.scale_mm is not None]),
    }
    if arguments.fits is not None:
        populations["SHARP Br frames"] = population(real_frames(arguments.fits))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "choice.json").write_text(json.dumps(populations, indent=1) + "\n")
    text = "\n".join(table(populations)) + "\n"
    (arguments.out / "choice.txt").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
