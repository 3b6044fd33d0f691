"""Prepared training batches from an archive, against the same batches from one HDF5 file per patch.

    python benchmarks/reading.py --patches 500

Two scripts to compare with: one whose files hold the field as observed, which it clips and resizes while it reads, and
one whose files hold the 128 x 128 input ready made. The archive's first pass makes the prepared file; it is measured by
itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy.ndimage import zoom

from solquery import Patch
from solquery.archive import Archive
from solquery.config import get_preset


def from_files(paths: list[Path], size: int, ready: bool) -> int:
    seen = 0
    for start in range(0, len(paths), size):
        rows = []
        for path in paths[start : start + size]:
            with h5py.File(path) as file:
                field = file["ready" if ready else "field"][:].astype(np.float32)
            if not ready:
                field = np.clip(field, -1000, 1000)
                field = zoom(field, (128 / field.shape[0], 128 / field.shape[1]), order=1) / 1000
            rows.append(field)
        seen += len(torch.from_numpy(np.stack(rows))[:, None])
    return seen


def rate(what) -> float:
    began = time.perf_counter()
    count = what()
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    asked = parser.parse_args()
    rng, preset = np.random.default_rng(0), get_preset("paper")
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive.create(f"{folder}/archive")
        texture = rng.normal(0, 150, (600, 1300)).astype(np.float32)
        paths, patches = [], []
        for k in range(asked.patches):
            # sizes as real SHARPs have them: 105 x 163 to 470 x 1167, 199,000 pixels on average
            ny, at = int(rng.integers(105, 470)), int(rng.integers(0, 100))
            nx = int(ny * rng.uniform(1.5, 2.5))
            field = texture[at : at + ny, at : at + nx]
            # no scale: parameters take no part in reading
            patches.append(Patch(field, None, f"p{k:06d}", f"R{k // 20}", "simulated"))
        _add_plain(archive, patches)
        first = rate(lambda: sum(len(b.ids) for b in archive.batches(preset, asked.batch)))
        _, stored = archive.prepared_memmap(preset)
        for k, patch in enumerate(patches):
            path = Path(folder) / f"{k}.h5"
            with h5py.File(path, "w") as file:
                file["field"], file["ready"] = patch.field.astype(np.float16), stored[k]
            paths.append(path)
        rates = {
            "HDF5 a patch, resized while reading": rate(lambda: from_files(paths[:300], asked.batch, False)),
            "HDF5 a patch, ready made": rate(lambda: from_files(paths, asked.batch, True)),
            "archive, first pass (makes the file)": first,
            "archive, in order": rate(lambda: sum(len(b.ids) for b in archive.batches(preset, asked.batch))),
            "archive, shuffled": rate(lambda: sum(len(b.ids) for b in archive.batches(preset, asked.batch, seed=1))),
        }
    slow, ready, *_ = rates.values()
    print(f"{asked.patches:,} patches, batches of {asked.batch}, 128 x 128")
    for name, value in rates.items():
        print(f"{name:38s} {value:10,.0f} a second {value / slow:8.1f} × resizing {value / ready:8.2f} × ready made")


def _add_plain(archive: Archive, patches: list[Patch]) -> None:
    """Rows without parameters, which would take most of this script's time and none of what it measures."""
    from solquery.archive.records import row_of

    for start in range(0, len(patches), 500):
        pairs = [row_of(patch, []) for patch in patches[start : start + 500]]
        archive.add_rows(pairs)


if __name__ == "__main__":
    main()
