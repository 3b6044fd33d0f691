"""Edits that start from observations: is what was asked reached, what moves of that which is held, and how fast it is.

    python benchmarks/inverted_edits.py --model physical SHARP.Br.fits [SHARP.Br.fits ...] [--out edits.png]

Each frame is inverted (`reconstruct`); then TUF is asked for 40 % more, PSEP for 30 % more, the tilt for 20 degrees
more and R for 60 % less, one after the other, each with TUF, PSEP, AREA, R, tilt and polarity held otherwise.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

from solquery import Model, prepare, read_sharp
from solquery.steering import SteeringWarning, edit_inversion, reconstruct

CHANGES = {"tuf": 1.4, "psep": 1.3, "tilt": 20.0, "r": 0.4}
RATIOS = ("tuf", "psep", "area", "r")


def edits_of(model: Model, path: Path) -> tuple[list[tuple[str, np.ndarray]], list[tuple[bool, float]]]:
    """Pictures with their titles, and for each edit whether it was met and how far the worst held ratio moved."""
    x = np.nan_to_num(prepare(read_sharp(path), model.preset))
    found = reconstruct(model, x)[0]
    seen, drawn = found.observed, found.reconstructed
    assert seen is not None and drawn is not None
    pictures, told = [("observed", x), ("reconstructed", found.x)], []
    native = model.on_grid()  # what is asked and measured is on the grid: no calibration between
    for name, by in CHANGES.items():
        value = seen[name] + by if name == "tilt" else seen[name] * by
        began = time.perf_counter()
        answer = edit_inversion(native, found, {name: value})
        seconds = time.perf_counter() - began
        ratios = {one: answer.grid[one] / drawn[one] for one in RATIOS}
        turned = answer.grid["tilt"] - drawn["tilt"]
        moved = max(abs(ratio - 1.0) for one, ratio in ratios.items() if one != name)
        title = f"{name} asked {value:.4g}: " + ", ".join(f"{k} × {v:.2f}" for k, v in ratios.items())
        print(f"{path.name}: {title}, tilt {turned:+.1f}°; {answer.verdict}, {seconds:.1f} s")
        pictures.append((title, answer.x))
        told.append((answer.verdict == "met", moved))
    return pictures, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--model", default="physical")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    model = Model.load(asked.model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)
        rows = [edits_of(model, path) for path in asked.files]
    told = [one for _, some in rows for one in some]
    print(f"{sum(met for met, _ in told)} of {len(told)} met; held: moved by {max(m for _, m in told):.1%} at most")
    if asked.out is not None:
        import matplotlib.figure
        import torch

        from solquery.generator.pyramid import compress
        from solquery.study.figures import png

        figure = matplotlib.figure.Figure(figsize=(4.0 * len(rows), 2.3 * (2 + len(CHANGES))), layout="constrained")
        axes = figure.subplots(2 + len(CHANGES), len(rows), squeeze=False)
        for column, (pictures, _) in enumerate(rows):
            for line, (title, x) in enumerate(pictures):
                axis = axes[line, column]
                axis.imshow(compress(torch.as_tensor(x)).numpy(), cmap="gray", vmin=-0.9, vmax=0.9, origin="lower")
                axis.set(xticks=[], yticks=[])
                axis.set_title(title, fontsize=6.5)
        asked.out.write_bytes(png(figure))


if __name__ == "__main__":
    main()
