"""Many regions by several processes, in order, whatever their number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

from ..patch import Patch
from .region import region_ids, simulate_region

__all__ = ["simulate"]

#: regions that are made ahead, for each process
_AHEAD = 3

_Job = tuple[int, int, int, "int | None", "str | tuple[str, ...]"]


def _one(job: _Job) -> list[Patch]:
    return simulate_region(*job)


def simulate(
    regions: int,
    frames: int,
    seed: int = 0,
    workers: int | None = None,
    keep: int | None = None,
    quantity: str | Sequence[str] = "radial",
    without: Container[str] = (),
) -> Iterator[Patch]:
    """Frames of `regions` regions, in order, made by `workers` processes (default: all cores).

    The result depends on `seed`, `regions`, `frames`, `keep` and `quantity` (see `simulate_region`) alone, not on the
    number of workers. A region all of whose patches have their ids in `without` is left out: one that is in an
    archive already need not be made again.

    Examples
    --------
    >>> archive = Archive.create("archives/small")  # doctest: +SKIP
    >>> archive.add(simulate(regions=10, frames=4, seed=1))  # doctest: +SKIP
    >>> archive.add(simulate(regions=12, frames=4, seed=1, without=set(archive.ids())))  # two more  # doctest: +SKIP
    """
    if regions < 1:
        raise ValueError(f"at least 1 region is needed, got {regions}")
    wanted = quantity if isinstance(quantity, str) else tuple(quantity)
    jobs: list[_Job] = [(seed, index, frames, keep, wanted) for index in range(regions)]
    jobs = [job for job in jobs if not all(one in without for one in region_ids(*job))]
    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1 or len(jobs) <= 1:
        for job in jobs:
            yield from _one(job)
        return
    # not forked: a process that has opened an archive holds threads and locks that a fork would copy half-way
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        waiting: deque[Future[list[Patch]]] = deque()
        for job in jobs:
            waiting.append(pool.submit(_one, job))
            # an archive may take patches more slowly than they are made: all of them would fill the memory
            if len(waiting) >= _AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
