"""The run folder: settings, statistics, checkpoints, sample pictures; every file appears by write-then-rename."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import errno
import hashlib
import io
import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from ..aliases import Document
from ..config import GeneratorConfig, with_current_names
from ..errors import SolqueryError
from ..io import write_atomically
from ..model_files import is_model, manifest_of
from ..protocols import Patches
from .diversity import evaluating
from .events import Events
from .process_group import ProcessGroup

__all__ = [
    "RunFolder", "TrainingError", "batch_order", "begun_from", "export_weights", "sheet_of", "trim_stats",
    "write_then_rename",
]  # fmt: skip

#: snapshots of the weights are kept at multiples of so many steps, later of twice, four times … as many
KEEP_STEPS = 256
KEEP_AT_MOST = 16


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
            name, last = folder.name, json.loads((folder / "stats.jsonl").read_text().splitlines()[-1])
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


def sheet_of(network: nn.Module, level: int | None, device: torch.device) -> np.ndarray:
    """The same 36 latents, six by six, north up, as grey values (6 H, 6 W)."""
    z = torch.randn(36, network.latent_dim, generator=torch.Generator().manual_seed(36)).to(device)
    with evaluating(network):
        x = (network(z) if level is None else network(z, level=level))[:, 0].float().cpu().numpy()
    h, w = x.shape[1:]
    sheet = x.reshape(6, 6, h, w)[:, :, ::-1].transpose(0, 2, 1, 3).reshape(6 * h, 6 * w)
    return np.round((np.clip(sheet / 0.8, -1, 1) + 1) * 127.5).astype(np.uint8)


def _fingerprint(data: Patches) -> str:
    """Of shape and 16 patches spread over the data: enough to notice that a run goes on with other data."""
    digest = hashlib.sha256(repr((len(data), *data[0].shape)).encode())
    for i in np.linspace(0, len(data) - 1, 16).astype(int):
        digest.update(np.asarray(data[i], np.float16).tobytes())
    return digest.hexdigest()[:16]


def _finite(state: object) -> bool:
    """Whether every number in a nest of dictionaries and lists of tensors is finite."""
    if isinstance(state, torch.Tensor):
        return not state.is_floating_point() or bool(torch.isfinite(state).all())
    if isinstance(state, dict):
        return all(_finite(value) for value in state.values())
    return not isinstance(state, list | tuple) or all(_finite(value) for value in state)


class RunFolder:
    """One run on disk; refuses a folder that holds other settings or data, or that another process trains in.

    A context: the folder is this process's until it ends. In a processes only the first process writes.
    """

    def __init__(
        self,
        run: str | Path,
        config: GeneratorConfig,
        shape: tuple[int, int],
        seed: int,
        data: Patches,
        processes: ProcessGroup | None = None,
        provenance: Document | None = None,
    ) -> None:
        self.path, self.config, self.processes = Path(run), config, processes or ProcessGroup()
        self.checkpoint = self.path / "checkpoints" / "last.pt"
        self.stats = self.path / "stats.jsonl"
        self._lock: IO[str] | None = None
        self._events: Events | None = None
        count = len(data)
        if count < config.batch:
            raise TrainingError(
                f"{count} patches cannot fill a batch of {config.batch}: add patches or lower the batch"
            )
        if tuple(data[0].shape) != tuple(shape):
            raise TrainingError(
                f"patches are {tuple(data[0].shape)}, the preset wants {tuple(shape)}: prepare them again"
            )
        resolved = {
            "generator": dataclasses.asdict(config),
            "shape": list(shape),
            "seed": seed,
            "patches": count,
            "data": _fingerprint(data),
            "provenance": provenance or {},
        }
        self._settings = json.loads(json.dumps(resolved))
        self._check_settings()

    def __enter__(self) -> RunFolder:
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
            there = json.loads(path.read_text())
            stored = there["generator"]
        except (OSError, ValueError, KeyError, TypeError):
            raise TrainingError(f"{path} is damaged: restore it, or choose another --run folder") from None
        # a setting younger than the run has its default there; before `shared_batch`, one batch served both steps
        known = json.loads(json.dumps(dataclasses.asdict(GeneratorConfig())))
        known["shared_batch"] = stored.get("loss") != "vae-gan"
        there["generator"] = known | with_current_names(stored)
        # so do runs from before their data and preset were written down
        different = [key for key, value in self._settings.items() if key in there and there[key] != value]
        if different:
            raise TrainingError(
                f"{self.path} holds a run with other settings or data ({', '.join(different)}): "
                "choose another --run folder"
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
            raise TrainingError(
                f"another process is training in {self.path}: wait for it, stop it, or choose another --run folder"
            ) from None
        except OSError:  # a file system without locks
            return

    def averaged(self, network: nn.Module) -> nn.Module:
        """A copy that follows the network as a moving average (or exactly, without a half-life)."""
        return copy.deepcopy(network).eval()

    def update(self, average: nn.Module, network: nn.Module, keep: float) -> None:
        """Move the average toward the network; `keep` is the weight of what it was."""
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)

    def resume(self, held: Document, random: torch.Generator, device: torch.device) -> Document:
        """Load the last checkpoint, if any, into everything in `held`; `step` and what else was saved by name."""
        noted: Document = {"step": 0}
        if self.checkpoint.exists():
            try:
                packed = torch.load(self.checkpoint, weights_only=True, map_location=device)
                for name, part in held.items():
                    part.load_state_dict(packed.pop(name))
                random.set_state(packed.pop("random").cpu())
            except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
                first = (str(error).splitlines() or [type(error).__name__])[0]
                raise TrainingError(
                    f"{self.checkpoint} cannot be read ({first}): restore it, or remove it to start again"
                ) from None
            if "torch_random" in packed:  # of layers that draw for themselves, such as dropout
                torch.set_rng_state(packed.pop("torch_random").cpu())
            noted |= packed
        if self.processes.leads:
            trim_stats(self.stats, noted["step"] * self.config.batch)
            self._events = Events(self.path, noted["step"] * self.config.batch)
        self.processes.wait()  # all have read before one writes
        return noted

    def save(self, held: Document, random: torch.Generator, step: int, **noted: object) -> None:
        """Write a checkpoint of everything in `held`, unless it holds numbers that are not finite."""
        if not self.processes.leads:
            return
        packed = {name: part.state_dict() for name, part in held.items()}
        if not _finite(packed):
            self._not_finite(step)
        packed |= {"random": random.get_state(), "torch_random": torch.get_rng_state(), "step": step, **noted}
        content = io.BytesIO()
        torch.save(packed, content)
        write_then_rename(self.checkpoint, content.getvalue())

    def check(self, values: dict[str, float], step: int) -> None:
        """Stop at a loss that is no longer finite; the last good checkpoint stays."""
        if not all(math.isfinite(value) for value in values.values()):
            self._not_finite(step)

    def _not_finite(self, step: int) -> None:
        kept = f"{self.checkpoint} holds the last good state" if self.checkpoint.exists() else "nothing was saved"
        lower = self.config.learning_rate / 2
        raise TrainingError(
            f"the loss is no longer finite after {step * self.config.batch} images; {kept}: lower learning_rate "
            f"(--learning-rate {lower:g}) or raise r1, in a new run folder, and see that the patches are finite"
        )

    def line(self, values: dict[str, float], step: int, *, report: Callable | None, **more: object) -> None:
        """One line of statistics, and the same to whoever watches."""
        if not self.processes.leads:
            return
        entry = {"images": step * self.config.batch} | {k: round(v, 5) for k, v in values.items()} | more
        try:
            with self.stats.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise _no_room(self.stats, error) from error
        if self._events is not None:
            self._events.line(entry)
        if report is not None:
            report(entry)

    def picture(self, network: nn.Module, step: int, level: int | None, device: torch.device) -> None:
        """A sheet of samples under `samples/`, named by the images shown so far (a PNG; skipped without Pillow)."""
        if not self.processes.leads:
            return
        images = step * self.config.batch
        grey = sheet_of(network, level, device)
        if self._events is not None:
            self._events.picture(grey, images)
        try:
            from PIL import Image
        except ImportError:
            return
        content = io.BytesIO()
        Image.fromarray(grey).save(content, format="PNG")
        write_then_rename(self.path / "samples" / f"{images:09d}.png", content.getvalue())

    def keep(self, step: int, last: bool = False, **networks: nn.Module) -> None:
        """Weights of this step under `checkpoints/kept/`, among which one is chosen afterwards.

        They stand at even distances, which double whenever there are more than 16 of them: a function of the step
        alone, so that a run that was killed keeps the same ones.
        """
        apart = KEEP_STEPS
        while step > KEEP_AT_MOST * apart:
            apart *= 2
        if not self.processes.leads or (step % apart and not last):
            return
        folder = self.path / "checkpoints" / "kept"
        for name, network in networks.items():
            export_weights(network, folder / f"{step * self.config.batch:09d}-{name}.safetensors")
        for file in folder.glob("*.safetensors"):
            images = int(file.name.split("-")[0])
            if images % (apart * self.config.batch) and images != step * self.config.batch:
                file.unlink(missing_ok=True)

    def export(self, network: nn.Module) -> Path:
        """The weights to use, as `checkpoints/generator.safetensors`."""
        path = self.path / "checkpoints" / "generator.safetensors"
        if self.processes.leads:
            export_weights(network, path)
            (self.path / "choice.json").unlink(missing_ok=True)  # it told of other weights
        return path
