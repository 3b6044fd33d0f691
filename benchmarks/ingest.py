"""FITS files to rows of an archive, against a script that reads, clips and resizes the same files one by one.

    python benchmarks/ingest.py --files 64 --workers 2
    python benchmarks/ingest.py --folder sharps          # files of your own

The archive does more: it checks the file, measures every registered parameter at native scale, takes a checksum, and
commits. The files that are made here are simulated patches, stored as JSOC stores a SHARP: whole numbers with a scale,
in Rice code, with the sums of their data. All rates are measured in one run, several times in turn, and the best of
each counts, of wall seconds and of processor seconds, those of workers among them, which what else the machine does
touches less. Workers are started, and have compiled what they need, before their clock runs; how long that took is
printed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch as patched

import numpy as np
from astropy.io import fits
from distributed import Client
from scipy.ndimage import zoom

from solquery import Patch
from solquery.archive import Archive
from solquery.archive.distribute import cluster, ingest_files, rows_of_files
from solquery.archive.records import row_of
from solquery.physics import parameters
from solquery.sharp import read_sharp, write_fits
from solquery.simulator import simulate_region

if TYPE_CHECKING:
    from distributed import Client


def as_a_script(paths: list[Path]) -> np.ndarray:
    """What a notebook does: read, clip at 1000 G, stretch to 128 x 128, scale."""
    out = []
    for path in paths:
        with fits.open(path) as units:
            field = np.nan_to_num(units[1].data.astype(float))
        field = np.clip(field, -1000, 1000)
        out.append(zoom(field, (128 / field.shape[0], 128 / field.shape[1]), order=1) / 1000)
    return np.stack(out).astype(np.float32)


def by_astropy(paths: list[Path]) -> list[Patch]:
    """The files read by astropy alone."""
    with patched.dict(os.environ, SOLQUERY_FITSIO="0"):
        return [read(path) for path in paths]


def read(path: Path) -> Patch:
    """A file, whatever its QUALITY is."""
    return read_sharp(path, strict_quality=False)


def as_published(patch: Patch, path: Path) -> Path:
    """A file whose image and sums are stored as JSOC's are."""
    plain = write_fits(replace(patch, truth={}), path.with_suffix(".plain"))
    with fits.open(plain) as units:
        unit = next(one for one in units if one.data is not None)
        lowest = np.iinfo(np.int32).min
        stored = np.where(np.isfinite(unit.data), np.rint(np.nan_to_num(unit.data) / 0.01), lowest).astype(np.int32)
        image = fits.CompImageHDU(stored, header=fits.Header(unit.header, copy=True))
        image.header["BLANK"], image.header["BSCALE"], image.header["BZERO"] = lowest, 0.01, 0.0
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path, checksum=True)
    plain.unlink()
    return path


def made(count: int, folder: str) -> list[Path]:
    """Files of simulated regions, four frames of each."""
    regions = range(-(-count // 4))
    patches = [p for k in regions for p in simulate_region(seed=1, index=k, frames=4)][:count]
    names = [f"hmi.sharp_cea_720s.{1 + k // 4}.20120306_{k % 4:02d}0000_TAI.Br.fits" for k in range(len(patches))]
    return [as_published(p, Path(folder) / name) for p, name in zip(patches, names, strict=True)]


def started(paths: list[Path], folder: str) -> None:
    """What a worker loads and compiles for its first file."""
    kept, _ = rows_of_files(paths, list(parameters()), False)
    Archive.create(f"{folder}/worker-{os.getpid()}").add_rows(kept)


def seconds_of(
    what: Callable[[list[Path]], object], paths: list[Path], of_workers: Callable[[], float]
) -> tuple[float, float, float]:
    """Wall seconds, processor seconds of this process, and of the workers together."""
    theirs, began, own = of_workers(), time.perf_counter(), time.process_time()
    what(paths)
    return time.perf_counter() - began, time.process_time() - own, of_workers() - theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="of FITS files to take in place of those that are made")
    parser.add_argument("--workers", type=int, default=0, help="processes of a cluster on this machine; 0 for none")
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        paths = sorted(asked.folder.glob("*.fits")) if asked.folder else made(asked.files, folder)
        pixels = np.mean([read(path).field.size for path in paths])
        places = (f"{folder}/archive-{k}" for k in count())

        def alone(some: list[Path]) -> None:
            Archive.create(next(places)).add(read(path) for path in some)

        ways: dict[str, Callable[[list[Path]], object]] = {
            "script: read, clip, resize": as_a_script,
            "read_sharp by astropy": lambda some: by_astropy(some),
            "read_sharp": lambda some: [read(path) for path in some],
            "row without parameters": lambda some: [row_of(read(path), []) for path in some],
            f"ingest with {len(parameters())} parameters": alone,
        }
        starting = 0.0
        clients: list[Client] = []

        def of_workers() -> float:
            return sum(sum(client.run(time.process_time).values()) for client in clients)

        if asked.workers:
            began = time.perf_counter()
            client = stack.enter_context(cluster(asked.workers))
            client.run(started, paths[:1], folder)
            clients.append(client)
            starting = time.perf_counter() - began
            ways[f"ingest with {asked.workers} workers"] = lambda some: ingest_files(
                some, next(places), client, strict_quality=False
            )
        for what in ways.values():
            what(paths[:1])  # imports, compilation, caches
        spent: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for _ in range(asked.times):
            for name, what in ways.items():
                spent[name].append(seconds_of(what, paths, of_workers))
    print(f"{len(paths)} files of {pixels:,.0f} pixels on average, the best of {asked.times} times")
    script = np.min(spent["script: read, clip, resize"], axis=0)
    for name, times in spent.items():
        wall, own, theirs = np.min(times, axis=0)
        theirs *= "workers" in name
        print(
            f"{name:30s} {len(paths) / wall:8.1f} files a second {script[0] / wall:6.2f} times, "
            f"processor {script[1] / (own + theirs):6.2f} times, {1000 * (own + theirs) / len(paths):5.1f} ms a file"
        )
    if asked.workers:
        print(f"starting {asked.workers} workers took {starting:.1f} s")


if __name__ == "__main__":
    main()
