"""Several processes train one network: each takes its share of every batch, and all take the same step.

The processes are started by `torchrun` (or by `--devices N`, which starts it) and talk through torch.distributed: NCCL
between GPUs, Gloo between CPUs. Every process draws the random numbers of the whole batch and keeps its rows of them,
and gradients are averaged over processes before each step, so that N processes follow the loss curve of one with the
same batch (up to the order of sums). Only the first process writes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

from ..errors import SolqueryError

__all__ = ["LAUNCHER", "ProcessGroup", "fail", "launch", "process_group"]

#: environment variable with the process that started the others: once it is gone, they stop
LAUNCHER = "SOLQUERY_LAUNCHER"


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together.

    Attributes
    ----------
    rank, size
        Number of this process, from 0, and how many there are.
    device
        Where this process computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, rows: torch.Tensor) -> torch.Tensor:
        """Every `size`-th row, beginning at `rank`: halves of a batch stay halves in every share."""
        return rows[self.rank :: self.size]

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace the gradients of all processes by their mean, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(together)
        together /= self.size
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def average(self, values: Sequence[float]) -> list[float]:
        """Mean of each number over the processes; all of them must call it at the same place."""
        if self.size == 1:
            return [float(v) for v in values]
        together = torch.tensor(values, dtype=torch.float64).to(self.device)
        dist.all_reduce(together)
        return (together / self.size).tolist()

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Mean over the processes of a tensor that needs no gradient."""
        if self.size == 1:
            return value
        value = value.detach().clone()
        dist.all_reduce(value)
        return value / self.size

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows (n, …) of all processes, as many of each, one process after the other; without gradient."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.detach().contiguous())
        return torch.cat(parts)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def deserted(self) -> bool:
        """Whether the process that started this one is gone, so that nobody would notice what this one does."""
        launcher = os.environ.get(LAUNCHER)
        return launcher is not None and os.getppid() != int(launcher)


@contextlib.contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """The processes that `torchrun` started, this one among them; of one where it started none.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``; of several GPUs each process takes the one of its local rank.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not dist.is_available():
        yield ProcessGroup(device=torch.device(device))
        return
    place = torch.device(device)
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if not dist.is_initialized():
        # for the life of the process: a group that has been left cannot be joined again reliably
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        atexit.register(_leave)
    yield ProcessGroup(dist.get_rank(), dist.get_world_size(), place)


_failed = False


def fail() -> None:
    """This process ends with an error: when it leaves it waits for no other, which may be waiting for it."""
    global _failed
    _failed = True


def _leave() -> None:
    if dist.is_initialized() and not _failed:
        # together: a process that tears its connections down while the other still uses them makes that one abort
        with contextlib.suppress(RuntimeError):
            dist.barrier(async_op=True).wait(timedelta(seconds=10))
        dist.destroy_process_group()


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run ``solquery ARGUMENTS`` in so many processes of this machine; the exit code.

    Raises
    ------
    SolqueryError
        Where this build of torch has no torch.distributed.
    """
    if not dist.is_available():
        raise SolqueryError("this torch was built without torch.distributed: train with one device, or install another")
    import logging

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the process that failed has said its line
    os.environ[LAUNCHER] = str(os.getpid())
    # one thread each, as torchrun does: processes that share cores must not each take all of them
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id="solquery", rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.2,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-c", "from solquery.cli import main; main()", *arguments)
    except ChildFailedError as error:
        # a process that was ended because another failed has a negative code
        return next((f.exitcode for f in error.failures.values() if f.exitcode > 0), 1)
    finally:
        os.environ.pop(LAUNCHER, None)
    return 0
