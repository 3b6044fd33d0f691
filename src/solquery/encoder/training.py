"""Self-supervised training of the encoder: SimSiam (Chen & He 2020, arXiv:2011.10566; paper, section 3).

Two views of every patch go through the same encoder; a small head predicts the embedding of one view from that
of the other, and the gradient does not flow through the predicted side. Another loss can stand in its place
(`losses`). Order and views of step n follow from (seed, n) alone, so a run that was stopped goes on exactly as if it
had not been.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..aliases import Document
from ..config import EncoderConfig
from ..model_files import ModelError, fill, is_model
from ..protocols import Patches
from ..training.mixing import real_share
from ..training.monitor import TrainingMonitor
from ..training.run_folder import begun_from, write_then_rename
from ..training.statistics import last_statistics
from .augment import augment, seeded_generator
from .collapse import CollapseWarning, collapse, effective_rank, spread
from .losses import LOSSES
from .networks import Encoder, build_encoder, build_predictor
from .run_folder import EncoderRun, EncoderRunError, export_encoder, load_encoder, read_checkpoint
from .supervision import supervision_loss, supervision_targets

__all__ = [
    "CollapseWarning",
    "EncoderRunError",
    "TrainingReport",
    "effective_rank",
    "export_encoder",
    "load_encoder",
    "spread",
    "train_encoder",
]

_ORDER, _VIEWS = 1, 2  # streams of random numbers
_KEPT = 512  # embeddings the diagnostics look at


@dataclass(frozen=True)
class TrainingReport:
    """Where a call of `train_encoder` left the run: `images` of `planned` shown, and the last statistics."""

    run: Path
    images: int
    planned: int
    stats: dict[str, float]

    @property
    def finished(self) -> bool:
        return self.images >= self.planned


class _Batches:
    """Batch of a step: all patches in another order in every epoch, incomplete batches left out.

    `frames_per_region` patches that follow each other in the data stay together.
    """

    def __init__(
        self,
        data: Patches,
        batch: int,
        seed: int,
        device: torch.device,
        frames_per_region: int = 1,
        real: np.ndarray | None = None,
        weight: float = 0.0,
    ) -> None:
        self.data, self.batch, self.seed, self.device = data, batch, seed, device
        self.frames_per_region = frames_per_region
        share = real_share(batch, weight, real, frames_per_region)
        if share and real is not None:
            observed = np.asarray(real, bool)
            self._parts = [(np.flatnonzero(~observed), batch - share), (np.flatnonzero(observed), share)]
        else:
            self._parts = [(np.arange(len(data)), batch)]
        self.per_epoch = len(self._parts[0][0]) // frames_per_region * frames_per_region // self._parts[0][1]
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._resident: Tensor | None = None
        if device.type != "cpu" and 2 * math.prod(data.shape) < 8e9:
            # one copy to the accelerator instead of one per step
            self._resident = torch.from_numpy(np.asarray(data, dtype=np.float16)).to(device)

    def index(self, step: int) -> np.ndarray:
        """Rows of the batch of a step, sorted: friendly to a memory map."""
        return np.sort(np.concatenate([self._of_part(part, step) for part in range(len(self._parts))]))

    def _of_part(self, part: int, step: int) -> np.ndarray:
        """Rows of a step among all patches, or among the simulated or the real ones."""
        rows, size = self._parts[part]
        together = self.frames_per_region
        epoch, k = divmod(step, len(rows) // together * together // size)
        if self._orders.get(part, (-1, rows))[0] != epoch:
            random = np.random.default_rng([self.seed, _ORDER, epoch, *([part] if part else [])])
            blocks = random.permutation(len(rows) // together)
            # cut elsewhere in every epoch, so that all neighbours meet
            begin = int(random.integers(together)) if together > 1 else 0
            places = begin + together * blocks[:, None] + np.arange(together)
            self._orders[part] = epoch, rows[places.ravel() % len(rows)]
        return self._orders[part][1][k * size : (k + 1) * size]

    def __call__(self, step: int) -> Tensor:
        index = self.index(step)
        if self._resident is not None:
            return self._resident[torch.from_numpy(index).to(self.device)].float().unsqueeze(1)
        x = np.asarray(self.data[index], dtype=np.float32)
        return torch.from_numpy(x).unsqueeze(1).to(self.device)


def train_encoder(
    cfg: EncoderConfig,
    data: Patches,
    run: str | Path,
    *,
    seed: int = 0,
    progress: Callable[[dict[str, float]], None] | None = None,
    until_images: int | None = None,
    minutes: float | None = None,
    device: str | torch.device | None = None,
    checkpoint_seconds: float = 120.0,
    stats_images: int = 2048,
    provenance: Document | None = None,
    stop_on_collapse: bool = False,
    start: str | Path | None = None,
    real: np.ndarray | None = None,
) -> TrainingReport:
    """Train an encoder, or go on with the training in `run`; calling it again with the same settings resumes.

    SGD with momentum; the learning rate of the encoder falls as half a cosine over the planned number of images
    (`cfg.images`, else `cfg.epochs` times the patches), that of the prediction head stays (Chen & He 2020,
    section 4.2 and table 1). An image counts once, although two views of it are computed.

    Parameters
    ----------
    cfg
        Architecture, augmentation and schedule.
    data
        (N, H, W) array in preset units, float16 or float32, e.g. a memory map; read batch by batch.
    run
        Folder for ``config.json``, ``stats.jsonl``, ``checkpoints/last.pt`` and ``samples/``.
    seed
        Of weights, order and views; the same seed gives the same run on a CPU, stopped or not.
    progress
        Called with every line of the statistics.
    until_images, minutes
        End this call earlier, with a checkpoint; a later call goes on. The schedule does not change.
    device
        ``"cpu"``, ``"cuda"``; None takes a GPU where there is one.
    checkpoint_seconds
        At most about this much is lost when the process is killed.
    stats_images
        A line of statistics every so many images: loss, spread and effective rank of the embeddings, rate.
    provenance
        Written into ``config.json``: preset, hash of the archive.
    start
        Run folder of the same networks whose weights a new run begins with.
    real
        (N,) which patches are real observations, where `cfg.real_weight` asks for a share of each batch.
    stop_on_collapse
        End with an error, after a checkpoint, where a `CollapseWarning` would be given.

    Raises
    ------
    EncoderRunError
        When there are fewer patches than a batch holds, when `run` holds a run of other settings or data, when the
        loss is no longer a number, or at a collapse if `stop_on_collapse`.

    Warns
    -----
    CollapseWarning
        When the embeddings stop to differ from patch to patch.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with EncoderRun(run, cfg, seed, data, provenance) as folder:
        trainer = _Trainer(cfg, data, folder, seed, where, real)
        trainer.begin(start)
        if minutes is not None:
            minutes = max(minutes, 1e-9)  # one step at least, so that there is a checkpoint
        return trainer.train(until_images, minutes, checkpoint_seconds, stats_images, progress, stop_on_collapse)


class _Trainer:
    """Encoder and prediction head of a run with their optimiser, the steps done, and the parts of a step."""

    def __init__(
        self, cfg: EncoderConfig, data: Patches, folder: EncoderRun, seed: int, device: torch.device,
        real: np.ndarray | None,
    ) -> None:  # fmt: skip
        self.cfg, self.data, self.folder, self.seed, self.device = cfg, data, folder, seed, device
        self.steps = max(1, (cfg.images or cfg.epochs * len(data)) // cfg.batch)
        self.planned = self.steps * cfg.batch
        self.encoder = build_encoder(cfg, seed).to(device, memory_format=torch.channels_last).train()
        self.predictor = build_predictor(cfg, seed).to(device).train()
        groups = [{"params": list(part.parameters())} for part in (self.encoder, self.predictor)]
        self.optimizer = torch.optim.SGD(groups, lr=cfg.learning_rate, momentum=cfg.momentum)
        self.held = {"encoder": self.encoder, "predictor": self.predictor, "optimizer": self.optimizer}
        self.batches = _Batches(data, cfg.batch, seed, device, cfg.frames_per_region, real, cfg.real_weight)
        self.targets = supervision_targets(cfg, data)
        self.step, self.seconds = 0, 0.0
        #: losses since the last line of statistics, and the newest embeddings
        self.losses: list[Tensor] = []
        self.embeddings: list[Tensor] = []

    def begin(self, start: str | Path | None) -> None:
        """Go on from the last checkpoint, or begin with the weights of `start`."""
        noted = self.folder.resume(self.held, None)
        self.step, self.seconds = int(noted["step"]), float(noted.get("seconds", 0.0))
        if self.step == 0 and start is not None:
            _begin_with(Path(start), self.encoder, self.predictor)
            write_then_rename(self.folder.path / "start.json", json.dumps(begun_from(start, "encoder")).encode())

    def train(
        self, until_images: int | None, minutes: float | None, checkpoint_seconds: float, stats_images: int,
        progress: Callable[[dict[str, float]], None] | None, stop_on_collapse: bool,
    ) -> TrainingReport:  # fmt: skip
        """All steps of this call."""
        batch, folder = self.cfg.batch, self.folder
        stop = self.steps if until_images is None else min(self.steps, math.ceil(until_images / batch))
        line_steps = max(1, stats_images // batch)
        monitor = TrainingMonitor(
            folder, self.step, stop, line_steps=line_steps, minutes=minutes, checkpoint_seconds=checkpoint_seconds,
            picture_steps=max(line_steps, self.steps // 10),
            progress=None if progress is None else lambda line: progress(line | {"planned": self.planned}),
        )  # fmt: skip
        stats, before = last_statistics(folder.path), self.seconds
        while monitor.goes_on:
            self._advance()
            monitor.after({})  # the loss stays on its device until there is a line
            self.seconds = before + monitor.spent
            last = not monitor.goes_on
            if monitor.line_due or last:
                stats = self._line(monitor, stop_on_collapse)
            if monitor.save_due or last:
                self.save()
            if monitor.picture_due or last:
                path = folder.path / "samples" / f"neighbours_{self.step * batch:09d}.pgm"
                _picture(self.encoder, self.data, path, self.device)
        return TrainingReport(folder.path, self.step * batch, self.planned, stats)

    def save(self) -> None:
        """Write the checkpoint."""
        self.folder.save(self.held, None, self.step, seconds=self.seconds)

    def _advance(self) -> None:
        """One step of the optimiser on one batch."""
        cfg = self.cfg
        for group, rate in zip(self.optimizer.param_groups, _rates(cfg, self.step, self.steps), strict=True):
            group["lr"] = rate
        one, two = self._views(self.batches(self.step))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=cfg.precision == "bf16"):
            z1, z2 = self.encoder(one), self.encoder(two)
            loss = LOSSES[cfg.loss](z1, z2, self.predictor, cfg.temperature)
        if self.targets is not None:
            wanted = self.targets[torch.from_numpy(self.batches.index(self.step))].to(self.device)
            loss = loss + cfg.physics_weight * 0.5 * (supervision_loss(z1, wanted) + supervision_loss(z2, wanted))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self.losses.append(loss.detach())
        self.embeddings.append(z1.detach().float())
        del self.embeddings[: -max(1, -(-_KEPT // cfg.batch))]

    def _views(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two views of each patch (N, 1, H, W), a share of the second ones the patch as it is."""
        cfg, generator = self.cfg.augment, seeded_generator(self.seed, _VIEWS, self.step)
        one, two = augment(x, cfg, generator), augment(x, cfg, generator)
        if cfg.plain_share:
            plain = torch.rand(len(x), generator=generator) < cfg.plain_share
            two = torch.where(plain[:, None, None, None].to(self.device), x, two)
        return tuple(view.contiguous(memory_format=torch.channels_last) for view in (one, two))

    def _line(self, monitor: TrainingMonitor, stop_on_collapse: bool) -> dict[str, float]:
        """A line of statistics on the steps since the last one; an error or a warning where the training has failed."""
        losses, self.losses = self.losses, []
        loss, seen = float(torch.stack(losses).mean()), torch.cat(self.embeddings)
        self.folder.check({"loss": loss}, self.step)
        stats = monitor.line(
            loss=loss, embedding_std=spread(seen), effective_rank=effective_rank(seen),
            lr=self.optimizer.param_groups[0]["lr"], seconds=self.seconds,
        )  # fmt: skip
        trouble, run = collapse(stats), self.folder.path
        if trouble and stop_on_collapse:
            self.save()
            raise EncoderRunError(f"{run}: {trouble}; lower the learning rate, or choose another loss, in a new folder")
        if trouble:
            warnings.warn(f"{run}: {trouble}; search with it would be arbitrary", CollapseWarning, stacklevel=4)
        return stats


def _begin_with(run: Path, encoder: Encoder, predictor: torch.nn.Module) -> None:
    """Weights of a model's encoder, or of another run's encoder and predictor."""
    if is_model(run):
        weights, training = run / "encoder.safetensors", encoder.training
        try:
            fill(encoder, weights.read_bytes() if weights.is_file() else None, weights)
        except ModelError:
            raise EncoderRunError(
                f"{run} holds no encoder of these settings; start from a model of the same preset"
            ) from None
        encoder.train(training)
        return
    checkpoint = read_checkpoint(run)
    if checkpoint is None:
        raise EncoderRunError(f"{run} has no checkpoint to start from; name the --run of an encoder's training")
    try:
        encoder.load_state_dict(checkpoint["encoder"])
        predictor.load_state_dict(checkpoint["predictor"])
    except RuntimeError:
        raise EncoderRunError(f"{run} holds an encoder of another kind; start from one of the same settings") from None


def _rates(cfg: EncoderConfig, step: int, steps: int) -> tuple[float, float]:
    falling = cfg.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
    return falling, cfg.learning_rate * cfg.prediction_rate


@torch.no_grad()
def _picture(
    encoder: Encoder, data: Patches, path: Path, device: torch.device, rows: int = 8, columns: int = 6
) -> None:
    """Eight patches (left) and their five nearest among 256: a grey picture that any viewer opens."""
    index = np.unique(np.linspace(0, len(data) - 1, 256).astype(int))
    x = np.asarray(data[index], dtype=np.float32)
    encoder.eval()
    z = torch.cat([encoder(part.to(device)) for part in torch.from_numpy(x).unsqueeze(1).split(64)]).float()
    encoder.train()
    queries = np.linspace(0, len(x) - 1, rows).astype(int)
    nearest = torch.cdist(z[queries], z).topk(min(columns, len(x)), largest=False).indices.cpu().numpy()
    sheet = np.concatenate([np.concatenate(list(x[line][:, ::-1]), axis=1) for line in nearest], axis=0)
    grey = np.clip(127.5 * (1 + sheet), 0, 255).astype(np.uint8)
    write_then_rename(path, b"P5\n%d %d\n255\n" % (grey.shape[1], grey.shape[0]) + grey.tobytes())
