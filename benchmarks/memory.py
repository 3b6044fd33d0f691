"""Memory of passing over, searching, checking and exporting an archive, at two sizes.

    python benchmarks/memory.py --rows 100000
    python benchmarks/memory.py --rows 100000 --side 8 --apart   # each job in a process of its own

Prints the highest anonymous memory (what cannot be given back to the system) of each job, in MB, as it was sampled
while the job ran, beside the one at a tenth of the rows. With `--apart` the jobs that read run in their own processes,
at a fifth of the rows and at all, and what a row more costs is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from solquery import Patch
from solquery.archive import Archive
from solquery.archive.export import export
from solquery.archive.records import row_of
from solquery.archive.verify import verify


def anonymous_mb() -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def peak(what) -> tuple[float, float]:
    """Highest anonymous memory in MB while `what` runs, and its seconds."""
    highest, done = [anonymous_mb()], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            highest[0] = max(highest[0], anonymous_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.perf_counter()
    what()
    seconds = time.perf_counter() - began
    done.set()
    thread.join()
    return highest[0], seconds


def fill(archive: Archive, rows: int, side: int) -> None:
    field = np.random.default_rng(0).normal(0, 200, (side, side)).astype(np.float32)
    row, data = row_of(Patch(field, (0.36, 0.36), "p", "R", "simulated", t_rec="2012.03.06_00:00:00_TAI"), [])
    for start in range(len(archive), rows, 2000):
        named = [{**row, "id": f"p{k:07d}", "region": f"R {k // 27}"} for k in range(start, min(start + 2000, rows))]
        archive.add_rows([(row, data) for row in named])


def reading_jobs(archive: Archive, out: str) -> dict[str, Callable[[], object]]:
    """What reads an archive through, in the order of the table; `out` is a place for the file of an export."""
    return {
        "filtering": lambda: archive.ids("mu IS NULL AND region = 'R 3'"),
        "reading all": lambda: sum(1 for _ in archive.patches()),
        "checking": lambda: verify(archive),
        "to Parquet": lambda: export(archive, out, "parquet"),
        "to HDF5": lambda: export(archive, out, "hdf5"),
    }


def alone(uri: str, name: str) -> None:
    """One job in this process: its peak in MB and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        print(*peak(reading_jobs(Archive.open(uri), f"{folder}/out")[name]))


def apart(rows: int, side: int, folder: str) -> None:
    """Every job in a process of its own, at two sizes."""
    few, many = Archive.create(f"{folder}/few"), Archive.create(f"{folder}/many")
    fill(few, rows // 5, side)
    fill(many, rows, side)
    print(f"{'':12s} {rows // 5:>10,} rows {rows:>12,} rows    a row more")
    for name in reading_jobs(few, ""):
        found = []
        for archive in (few, many):
            command = [sys.executable, __file__, "--alone", archive.uri, name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append([float(word) for word in done.stdout.split()])
        (small, _), (large, seconds) = found
        slope = (large - small) * 1024 / (rows - rows // 5)
        print(f"{name:12s} {small:10.0f} MB   {large:12.0f} MB   {slope:6.2f} kB   {seconds:6.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=32, help="pixels along an axis of a field")
    parser.add_argument("--apart", action="store_true", help="each job in a process of its own")
    parser.add_argument("--alone", nargs=2, metavar=("ARCHIVE", "JOB"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        return alone(*asked.alone)
    with tempfile.TemporaryDirectory() as folder:
        if asked.apart:
            return apart(asked.rows, asked.side, folder)
        archive = Archive.create(f"{folder}/archive")
        found = []
        for rows in (asked.rows // 10, asked.rows):
            jobs: dict[str, Callable[[], object]] = {
                "adding": partial(fill, archive, rows, asked.side),
                "filtering": lambda: archive.ids("mu IS NULL AND region = 'R 3'"),
                "batches": lambda: sum(len(b.ids) for b in archive.batches("tiny", 256, seed=1)),
                "reading all": lambda: sum(1 for _ in archive.patches()),
                "checking": lambda: verify(archive),
            }
            found.append({name: peak(job) for name, job in jobs.items()})
    print(f"{'':12s} {asked.rows // 10:>10,} rows {asked.rows:>12,} rows")
    for name in found[0]:
        (small, _), (large, seconds) = found[0][name], found[1][name]
        print(f"{name:12s} {small:10.0f} MB   {large:12.0f} MB   {seconds:6.1f} s")
    highest = max(memory for memory, _ in found[1].values())
    print(f"highest {highest:.0f} MB at {asked.rows:,} rows: {highest / 1024:.2f} of a gigabyte")


if __name__ == "__main__":
    main()
