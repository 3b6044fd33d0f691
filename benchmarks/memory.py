"""Memory of passing over, searching, checking and exporting an archive, at two sizes.

    python benchmarks/memory.py --rows 100000

Prints the highest anonymous memory (what cannot be given back to the system) of each job, in MB, as it was sampled
while the job ran, beside the one at a tenth of the rows.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from solquery import Patch
from solquery.archive import Archive
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=32, help="pixels along an axis of a field")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
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
