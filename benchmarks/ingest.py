"""FITS files to rows of an archive, against a script that reads, clips and resizes the same files one by one.

    python benchmarks/ingest.py --files 24

The archive does more: it checks the file, measures every registered parameter at native scale, takes a checksum, and
commits. Both rates, and rates of the archive's parts, are measured in one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import zoom

from solquery.archive import Archive, read_sharp, simulate_region, write_fits
from solquery.archive.records import row_of
from solquery.physics import parameters


def as_a_script(paths: list[Path]) -> np.ndarray:
    """What a notebook does: read, clip at 1000 G, stretch to 128 x 128, scale."""
    out = []
    for path in paths:
        with fits.open(path) as units:
            field = np.nan_to_num(units[1].data.astype(float))
        field = np.clip(field, -1000, 1000)
        out.append(zoom(field, (128 / field.shape[0], 128 / field.shape[1]), order=1) / 1000)
    return np.stack(out).astype(np.float32)


def rate(what, paths) -> float:
    began = time.perf_counter()
    what(paths)
    return len(paths) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=24)
    count = parser.parse_args().files
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        patches = [p for k in range(-(-count // 4)) for p in simulate_region(seed=1, index=k, frames=4)][:count]
        paths = [write_fits(p, Path(folder) / f"{k}.fits", quantum_gauss=0.01) for k, p in enumerate(patches)]
        pixels = np.mean([p.field.size for p in patches])
        archive = Archive.create(f"{folder}/archive")
        as_a_script(paths[:1]), row_of(read_sharp(paths[0]), list(parameters()))  # imports and caches
        script = rate(as_a_script, paths)
        read = rate(lambda some: [read_sharp(path) for path in some], paths)
        rows = rate(lambda some: [row_of(read_sharp(path), []) for path in some], paths)
        ingest = rate(lambda some: archive.add(read_sharp(path) for path in some), paths)
    print(f"{count} files of {pixels:,.0f} pixels on average")
    print(f"script: read, clip, resize            {script:8.1f} files a second")
    print(f"read_sharp                            {read:8.1f}   {read / script:6.2f} times the script")
    print(f"row without parameters                {rows:8.1f}   {rows / script:6.2f}")
    print(f"ingest with {len(parameters()):2d} parameters             {ingest:8.1f}   {ingest / script:6.2f}")


if __name__ == "__main__":
    main()
