"""Prepare what networks are trained on, without an archive: simulated regions and observed frames as arrays.

    python scripts/prepare_training.py --from-fits FRAMES --leave-out-harps 377,750 --presets paper physical --out o.npz
    python scripts/prepare_training.py --regions 1060 --frames 20 --seed 2026 --presets paper physical \\
        --observed o.npz --out data/training
    python scripts/prepare_training.py --regions 600 --frames 20 --keep 1 --seed 12 --presets paper --out data/held-out

The first form reads SHARP files and needs the whole installation; it makes a file of some megabytes. The others need
numpy, scipy and numba alone and take all cores. OUT is then a folder with `PRESET.npy`, (N, H, W) float16 in units of
each preset, and `patches.json`, which says what each row is. Rows, order and numbers are those that `Archive.prepared`
gives after `solquery simulate` and `solquery ingest`; `solquery train --data` takes the arrays too.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# each region is made by one core; read when numpy is imported, here and in the processes that are started
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np

from solquery.archive.prepare import prepare, preset_key
from solquery.config import get_preset
from solquery.errors import SolqueryError
from solquery.io import write_atomically
from solquery.patch import Patch
from solquery.simulator import simulate_region

#: what is written of each row
COLUMNS = ("ids", "regions", "sources", "harpnums")
_COPIED = 256


def rows_of(patches: Iterable[Patch], presets: Sequence[str]) -> dict[str, Any]:
    """What each patch is, by `COLUMNS`, and under the name of each preset its network input (N, H, W) float16."""
    made: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, *presets)}
    for patch in patches:
        # an archive keeps fields in this precision
        kept = patch.with_field(patch.field.astype(np.float16), patch.scale_mm)
        for name in presets:
            made[name].append(prepare(kept, get_preset(name)).astype(np.float16))
        for name, value in zip(COLUMNS, (patch.id, patch.region, patch.source, patch.harpnum or 0), strict=True):
            made[name].append(value)
    stacked = {name: np.stack(made[name]) if made[name] else np.zeros((0, *get_preset(name).shape), np.float16)
               for name in presets}  # fmt: skip
    return {**made, **stacked}


def simulated(index: int, seed: int, frames: int, keep: int | None, presets: Sequence[str]) -> dict[str, Any]:
    """`rows_of` one simulated region."""
    return rows_of(simulate_region(seed, index, frames, keep), presets)


def observed(folder: Path, leave_out: Sequence[int], presets: Sequence[str]) -> dict[str, Any]:
    """`rows_of` the radial frames of SHARP files in a folder and below that pass the QUALITY rule."""
    from solquery.sharp.fits import read_sharp

    patches: list[Patch] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".fits", ".fts", ".fit") and p.is_file()):
        try:
            patches.append(read_sharp(path))
        except (SolqueryError, OSError, ValueError) as error:
            print(f"refused: {path.name}: {(str(error).splitlines() or [''])[0]}")
    absent = sorted(set(leave_out) - {patch.harpnum for patch in patches})
    if absent:
        raise SystemExit(f"{folder} has no frame of HARP {', '.join(map(str, absent))} to leave out")
    chosen = {p.id: p for p in patches if p.quantity == "radial" and p.harpnum not in leave_out}
    return rows_of((chosen[name] for name in sorted(chosen)), presets)


def write_frames(made: dict[str, Any], presets: Sequence[str], left_out: Sequence[int], path: Path) -> None:
    """Observed frames as one compressed .npz, which holds numbers and texts alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held: dict[str, Any] = {name: np.array(made[name], dtype=np.str_) for name in ("ids", "regions", "sources")}
    held["keys"] = np.array([preset_key(get_preset(name)) for name in presets], dtype=np.str_)
    held |= {"harpnums": np.array(made["harpnums"], np.int64), "left_out": np.array(left_out, np.int64)}
    np.savez_compressed(path, **held, **{f"grid_{name}": made[name] for name in presets})


def read_frames(path: Path, presets: Sequence[str]) -> tuple[dict[str, Any], list[int]]:
    """`rows_of` what `write_frames` wrote, and the HARPs that were left out; SystemExit for other presets."""
    with np.load(path, allow_pickle=False) as held:
        for name in presets:
            if preset_key(get_preset(name)) not in held["keys"].tolist():
                raise SystemExit(f"{path} was not prepared with preset {name!r} as it is now: make it again")
        made = {name: held[name].tolist() for name in COLUMNS} | {name: held[f"grid_{name}"] for name in presets}
        return made, held["left_out"].tolist()


class Rows:
    """Arrays on disk, one for each preset, that are filled as regions are made."""

    def __init__(self, folder: Path, presets: Sequence[str], count: int) -> None:
        self.folder, self.presets, self.at = folder, presets, 0
        self.about: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "patches.json").unlink(missing_ok=True)
        self.arrays = {
            name: np.lib.format.open_memmap(
                folder / f".{name}.npy", mode="w+", dtype=np.float16, shape=(count, *get_preset(name).shape)
            )
            for name in presets
        }

    def add(self, made: dict[str, Any]) -> None:
        end = self.at + len(made["ids"])
        for name in self.presets:
            self.arrays[name][self.at : end] = made[name]
        for name in COLUMNS:
            self.about[name] += made[name]
        self.at = end

    def finish(self, more: dict[str, Any]) -> None:
        """Put the rows in the order of an archive, by id, and write what they are; the files appear when all is in."""
        order = np.array(sorted(range(self.at), key=self.about["ids"].__getitem__))
        for name in self.presets:
            part, array = self.folder / f".{name}.npy", self.arrays[name]
            if (order != np.arange(self.at)).any():
                ordered = np.lib.format.open_memmap(
                    self.folder / f".{name}.ordered.npy", mode="w+", dtype=np.float16, shape=array.shape
                )
                for start in range(0, self.at, _COPIED):
                    ordered[start : start + _COPIED] = array[order[start : start + _COPIED]]
                ordered.flush()
                part.unlink()
                part = self.folder / f".{name}.ordered.npy"
            else:
                array.flush()
            part.replace(self.folder / f"{name}.npy")
        about = {name: [self.about[name][k] for k in order] for name in COLUMNS}
        keys = {name: preset_key(get_preset(name)) for name in self.presets}
        document = {"presets": keys, **more, **about}
        write_atomically(self.folder / "patches.json", json.dumps(document) + "\n")


def prepare_regions(
    out: Path, presets: Sequence[str], regions: int, frames: int, seed: int, keep: int | None, workers: int,
    frames_file: Path | None,
) -> None:  # fmt: skip
    """Write the folder of prepared patches of simulated regions, and of observed frames where there are some."""
    began, left_out = time.monotonic(), list[int]()
    real: dict[str, Any] | None = None
    if frames_file is not None:
        real, left_out = read_frames(frames_file, presets)
    each = keep or frames
    rows = Rows(out, presets, regions * each + (0 if real is None else len(real["ids"])))
    if real is not None:
        rows.add(real)
    make = partial(simulated, seed=seed, frames=frames, keep=keep, presets=tuple(presets))

    def told(done: int) -> None:
        if done % max(regions // 10, 1) == 0 or done == regions:
            seconds = time.monotonic() - began
            print(f"{out.name}: {done} of {regions} regions, {rows.at} patches, {seconds:.0f} s", flush=True)

    if workers == 1:
        for index in range(regions):
            rows.add(make(index))
            told(index + 1)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
            for index, made in enumerate(pool.map(make, range(regions))):
                rows.add(made)
                told(index + 1)
    simulation = {"regions": regions, "frames": frames, "seed": seed, "keep": keep}
    rows.finish({"simulated": simulation, "left_out_harps": left_out})


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["paper", "physical"], help="names of presets")
    parser.add_argument("--regions", type=int, help="simulate so many regions")
    parser.add_argument("--frames", type=int, default=20, help="frames of each region")
    parser.add_argument("--keep", type=int, help="make only so many of them, at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes; all cores")
    parser.add_argument("--observed", type=Path, help=".npz of observed frames that stand beside the simulated ones")
    parser.add_argument("--from-fits", type=Path, help="folder of SHARP files to make that .npz of")
    parser.add_argument("--leave-out-harps", type=_numbers, default=[], help="with --from-fits: 377,750")
    parser.add_argument("--out", type=Path, required=True, help="new folder; with --from-fits the .npz")
    given = parser.parse_args()
    if (given.regions is None) == (given.from_fits is None):
        parser.error("give either --regions or --from-fits")
    if given.from_fits is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual headers; what cannot be used is refused
            made = observed(given.from_fits, given.leave_out_harps, given.presets)
        write_frames(made, given.presets, sorted(given.leave_out_harps), given.out)
        harps = sorted(set(made["harpnums"]))
        print(f"{given.out}: {len(made['ids'])} frames of HARPs {', '.join(map(str, harps))}")
        return
    prepare_regions(
        given.out, given.presets, given.regions, given.frames, given.seed, given.keep, given.workers, given.observed
    )


if __name__ == "__main__":
    main()
