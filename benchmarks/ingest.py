"""FITS files to rows of an archive, against a script that reads, clips and resizes the same files one by one.

    python benchmarks/ingest.py --files 64 --workers 2

The archive does more: it checks the file, measures every registered parameter at native scale, takes a checksum, and
commits. All rates are measured in one run, several times in turn, and the best of each counts. Workers are started, and
have compiled what they need, before their clock runs; how long that took is printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import zoom

from solquery.archive import Archive
from solquery.archive.distribute import cluster, ingest_files, rows_of_files
from solquery.archive.records import row_of
from solquery.physics import parameters
from solquery.sharp import read_sharp, write_fits
from solquery.simulator import simulate_region


def as_a_script(paths: list[Path]) -> np.ndarray:
    """What a notebook does: read, clip at 1000 G, stretch to 128 x 128, scale."""
    out = []
    for path in paths:
        with fits.open(path) as units:
            field = np.nan_to_num(units[1].data.astype(float))
        field = np.clip(field, -1000, 1000)
        out.append(zoom(field, (128 / field.shape[0], 128 / field.shape[1]), order=1) / 1000)
    return np.stack(out).astype(np.float32)


def seconds_of(what: Callable[[list[Path]], object], paths: list[Path]) -> float:
    began = time.perf_counter()
    what(paths)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="processes of a cluster on this machine; 0 for none")
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        regions = range(-(-asked.files // 4))
        patches = [p for k in regions for p in simulate_region(seed=1, index=k, frames=4)][: asked.files]
        names = [f"hmi.sharp_cea_720s.{1 + k // 4}.20120306_{k % 4:02d}0000_TAI.Br.fits" for k in range(len(patches))]
        paths = [write_fits(p, Path(folder) / name, quantum_gauss=0.01) for p, name in zip(patches, names, strict=True)]
        pixels = np.mean([p.field.size for p in patches])
        places = (f"{folder}/archive-{k}" for k in count())

        def alone(some: list[Path]) -> None:
            Archive.create(next(places)).add(read_sharp(path) for path in some)

        ways: dict[str, Callable[[list[Path]], object]] = {
            "script: read, clip, resize": as_a_script,
            "read_sharp": lambda some: [read_sharp(path) for path in some],
            "row without parameters": lambda some: [row_of(read_sharp(path), []) for path in some],
            f"ingest with {len(parameters())} parameters": alone,
        }
        started = 0.0
        if asked.workers:
            began = time.perf_counter()
            client = stack.enter_context(cluster(asked.workers))
            client.run(rows_of_files, paths[:1], list(parameters()))
            started = time.perf_counter() - began
            ways[f"ingest with {asked.workers} workers"] = lambda some: ingest_files(some, next(places), client)
        for what in ways.values():
            what(paths[:1])  # imports, compilation, caches
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(asked.times):
            for name, what in ways.items():
                spent[name].append(seconds_of(what, paths))
    print(f"{len(paths)} files of {pixels:,.0f} pixels on average, the best of {asked.times} times")
    script = min(spent["script: read, clip, resize"])
    for name, times in spent.items():
        print(
            f"{name:30s} {len(paths) / min(times):10.1f} files a second   {script / min(times):6.2f} times the script"
        )
    if asked.workers:
        print(f"starting {asked.workers} workers took {started:.1f} s")


if __name__ == "__main__":
    main()
