"""The run folder of every training: settings, lock, statistics, checkpoints; files appear by write-then-rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from ..aliases import Document
from ..errors import SolqueryError
from ..io import write_atomically
from ..model_files import is_model, manifest_of
from ..protocols import Patches
from .events import Events
from .process_group import ProcessGroup
from .statistics import last_statistics

__all__ = [
    "RunFolder", "TrainingError", "batch_order", "begun_from", "export_weights", "fingerprint", "trim_stats",
    "write_then_rename",
]  # fmt: skip


class TrainingError(SolqueryError):
    """Training cannot start or go on."""


def write_then_rename(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a reader or a crash never sees half a file, and a full disk loses nothing."""
    try:
        write_atomically(path, content, sync=True)
    except OSError as error:
        raise _no_room(path, error) from error


def _no_room(path: Path, error: OSError) -> TrainingError:
    """What to say when `path` could not be written."""
    why = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TrainingError(f"{path} cannot be written: {why}; see to it and give the same command again")
    try:
        left = f", {shutil.disk_usage(path.parent).free / 1e6:,.0f} MB free there"
    except OSError:
        left = ""
    return TrainingError(
        f"{path} cannot be written: {why}{left}; the checkpoint before it is intact: free some space and give the same "
        "command again"
    )


def begun_from(start: str | Path, kind: str = "generator") -> Document:
    """Where the weights at `start` (a run, its checkpoint, a model) come from, and how many images they have seen.

    ``{"from": name, "images": count}``, with the images of the runs that they began with in turn; no ``images`` where
    the folder does not tell.
    """
    folder = Path(start).resolve()
    if folder.is_file():
        folder = folder.parent.parent
    try:
        if is_model(folder):
            document = json.loads(manifest_of(folder).read_text())
            name, story = document["name"], document["provenance"][kind]
            last, before = story["last"], story.get("start")
        else:
            name, last = folder.name, last_statistics(folder)
            told = folder / "start.json"
            before = json.loads(told.read_text()) if told.is_file() else None
        return {"from": name, "images": int(last["images"]) + (0 if before is None else int(before["images"]))}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {"from": folder.name}


def batch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order of the patches in an epoch, a function of the three numbers alone."""
    return np.random.default_rng([seed, epoch, 31]).permutation(count)


def trim_stats(path: Path, images: int) -> None:
    """Drop lines written after the checkpoint that the run goes on from, and one that a kill cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            if json.loads(line)["images"] <= images:
                kept.append(line + "\n")
    write_then_rename(path, "".join(kept).encode())


def export_weights(network: nn.Module, path: Path) -> None:
    """Weights of `network` as safetensors."""
    write_then_rename(
        path, save({name: t.detach().cpu().contiguous().clone() for name, t in network.state_dict().items()})
    )


def fingerprint(data: Patches) -> str:
    """Of shape and 16 patches spread over the data: enough to notice that a run goes on with other data."""
    digest = hashlib.sha256(repr((len(data), *data[0].shape)).encode())
    for i in np.linspace(0, len(data) - 1, 16).astype(int):
        digest.update(np.asarray(data[i], np.float16).tobytes())
    return digest.hexdigest()[:16]


def _finite(state: object) -> bool:
    """Whether every number in nested dictionaries and lists of tensors is finite."""
    if isinstance(state, torch.Tensor):
        return not state.is_floating_point() or bool(torch.isfinite(state).all())
    if isinstance(state, dict):
        return all(_finite(value) for value in state.values())
    return not isinstance(state, list | tuple) or all(_finite(value) for value in state)


class RunFolder:
    """One run on disk; refuses a folder that holds other settings or data, or that another process trains in.

    A context: the folder is this process's until it ends. Of several processes only the first writes.

    Parameters
    ----------
    run
        The folder.
    settings
        What `config.json` says, and what a run that goes on must agree with.
    batch, learning_rate
        Images of a step, and the rate that an error advises to lower.
    processes
        Those that train together; None: this one alone.
    """

    #: what is raised where the training cannot start or go on
    error: type[SolqueryError] = TrainingError
    #: what else helps where the loss is no longer finite
    remedy = ""

    def __init__(
        self, run: str | Path, settings: Document, *, batch: int, learning_rate: float,
        processes: ProcessGroup | None = None,
    ) -> None:  # fmt: skip
        self.path, self.batch, self.processes = Path(run), batch, processes or ProcessGroup()
        self.learning_rate = learning_rate
        self.checkpoint = self.path / "checkpoints" / "last.pt"
        self.stats = self.path / "stats.jsonl"
        #: on the clock of `time.monotonic`
        self.opened = time.monotonic()
        self._lock: IO[str] | None = None
        self._events: Events | None = None
        self._settings = json.loads(json.dumps(settings))
        self._check_settings()

    @classmethod
    def fills_a_batch(cls, data: Patches, batch: int) -> None:
        """Raise where there are fewer patches than a batch holds."""
        if len(data) < batch:
            raise cls.error(f"{len(data)} patches cannot fill a batch of {batch}: add patches or lower the batch")

    def brought_up(self, there: Document) -> Document:
        """Stored settings under the names of today, with the default of each setting that is younger than the run."""
        return there

    def __enter__(self) -> Self:
        self.processes.wait()  # all have looked at the folder before one writes
        if self.processes.leads:
            self._take()
            if not (self.path / "config.json").exists():
                write_then_rename(self.path / "config.json", (json.dumps(self._settings, indent=2) + "\n").encode())
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            self._lock.close()

    def _check_settings(self) -> None:
        path = self.path / "config.json"
        if not path.exists():
            return
        try:
            there = self.brought_up(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            raise self.error(f"{path} is damaged: restore it, or choose another --run folder") from None
        # what a run from before did not write down is not held against it
        different = [key for key, value in self._settings.items() if key in there and there[key] != value]
        if different:
            raise self.error(
                f"{self.path} holds a run with other settings or data ({', '.join(different)}): repeat those in its "
                "config.json, or choose another --run folder"
            )

    def _take(self) -> None:
        """Two processes in one folder would overwrite each other's checkpoints."""
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise self.error(
                f"another process is training in {self.path}: wait for it, stop it, or choose another --run folder"
            ) from None
        except OSError:  # a file system without locks
            return

    def resume(self, held: Document, random: torch.Generator | None) -> Document:
        """Load the last checkpoint, if any, into everything in `held`; `step` and what else was saved by name."""
        noted: Document = {"step": 0}
        if self.checkpoint.exists():
            try:
                # each part takes it to its own device; steps of Adam that came back on a GPU would be read one by one
                packed = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
                for name, part in held.items():
                    part.load_state_dict(packed.pop(name))
                if random is not None:
                    random.set_state(packed.pop("random").cpu())
            except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
                first = (str(error).splitlines() or [type(error).__name__])[0]
                raise self.error(
                    f"{self.checkpoint} cannot be read ({first}): restore it, or remove it to start again"
                ) from None
            if "torch_random" in packed:  # of layers that draw for themselves, such as dropout
                torch.set_rng_state(packed.pop("torch_random").cpu())
            noted |= packed
        if self.processes.leads:
            trim_stats(self.stats, noted["step"] * self.batch)
            self._events = Events(self.path, noted["step"] * self.batch)
        self.processes.wait()  # all have read before one writes
        return noted

    def save(self, held: Document, random: torch.Generator | None, step: int, **noted: object) -> None:
        """Write a checkpoint of everything in `held`, unless it holds numbers that are not finite."""
        if not self.processes.leads:
            return
        packed = {name: part.state_dict() for name, part in held.items()}
        if not _finite(packed):
            self._not_finite(step)
        if random is not None:
            packed["random"] = random.get_state()
        packed |= {"torch_random": torch.get_rng_state(), "step": step, **noted}
        content = io.BytesIO()
        torch.save(packed, content)
        write_then_rename(self.checkpoint, content.getvalue())

    def check(self, values: dict[str, float], step: int) -> None:
        """Stop at a loss that is no longer finite; the last good checkpoint stays."""
        if not all(math.isfinite(value) for value in values.values()):
            self._not_finite(step)

    def _not_finite(self, step: int) -> None:
        kept = f"{self.checkpoint} holds the last good state" if self.checkpoint.exists() else "nothing was saved"
        lower = self.learning_rate / 2
        raise self.error(
            f"the loss is no longer finite after {step * self.batch} images; {kept}: lower learning_rate "
            f"(--learning-rate {lower:g}){self.remedy}, in a new run folder, and see that the patches are finite"
        )

    def line(self, values: dict[str, float], step: int, *, report: Callable | None, **more: object) -> Document:
        """One line of statistics, and the same to whoever watches; the line."""
        entry: Document = {"images": step * self.batch} | {k: round(v, 5) for k, v in values.items()} | more
        if not self.processes.leads:
            return entry
        try:
            with self.stats.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise _no_room(self.stats, error) from error
        if self._events is not None:
            self._events.line(entry)
        if report is not None:
            report(entry)
        return entry
