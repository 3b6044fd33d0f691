"""What happens between the steps of a training: statistics, checkpoints, pictures, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import nn

from ..aliases import Document
from .diversity import Diversity
from .run_folder import RunFolder, TrainingError

__all__ = ["TrainingMonitor"]

LINE_STEPS = 100
DIVERSITY_STEPS = 500


class TrainingMonitor:
    """Looks after one call of a trainer.

    Parameters
    ----------
    folder
        The run.
    step, steps
        Where it goes on, and where this call ends at the latest.
    per_epoch
        Steps of an epoch.
    minutes
        After which this call ends.
    checkpoint_seconds
        At most about so much is lost when the process is killed.
    picture_steps
        Between pictures of the same 36 latents.
    progress
        Called with every line of statistics.
    """

    def __init__(
        self,
        folder: RunFolder,
        step: int,
        steps: int,
        per_epoch: int,
        variety: Diversity,
        *,
        minutes: float | None = None,
        checkpoint_seconds: float = 120.0,
        picture_steps: int = 500,
        progress: Callable[[Document], None] | None = None,
    ) -> None:
        self.folder, self.step, self.steps, self.per_epoch = folder, step, steps, per_epoch
        self.variety, self.minutes, self.progress = variety, minutes, progress
        self.checkpoint_seconds, self.picture_steps = checkpoint_seconds, max(picture_steps, 1)
        self._began = self._saved = time.monotonic()
        self._first = step
        self._sums: dict[str, float] = {}
        self._summed = 0
        self._late = minutes is not None and minutes <= 0

    @property
    def goes_on(self) -> bool:
        """Whether another step is to be taken; the same answer in all processes."""
        return self.step < self.steps and not self._late

    def after(self, values: dict[str, float]) -> None:
        """Count a step whose losses were `values`, of this process's share.

        Raises
        ------
        TrainingError
            When a loss is not finite, or the process that started this one is gone.
        """
        processes = self.folder.processes
        spent = time.monotonic() - self._began
        # the clock of one process decides for all, or they would wait for each other for ever
        late = processes.leads and self.minutes is not None and spent > 60 * self.minutes
        *means, late_share, deserted = processes.average([*values.values(), float(late), float(processes.deserted())])
        if deserted:
            raise TrainingError(f"the process that started this one is gone; {self.folder.path} can be gone on with")
        self._late = late_share > 0
        self.step += 1
        averaged = dict(zip(values, means, strict=True))
        self.folder.check(averaged, self.step)
        for name, value in averaged.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._summed += 1

    @property
    def epoch_ended(self) -> bool:
        return self.step % self.per_epoch == 0

    @property
    def line_due(self) -> bool:
        return self.step % LINE_STEPS == 0 or self.epoch_ended or self.step == self.steps

    @property
    def save_due(self) -> bool:
        """Whether a checkpoint is due; begins the time to the next."""
        due = time.monotonic() - self._saved > self.checkpoint_seconds
        if due:
            self._saved = time.monotonic()
        return due

    def line(self, network: nn.Module, level: int | None, **more: object) -> None:
        """One line of statistics: means since the last one, images a second, time left, now and then the diversity."""
        folder, batch = self.folder, self.folder.config.batch
        spent = max(time.monotonic() - self._began, 1e-9)
        rate = (self.step - self._first) * batch / spent
        means = {name: total / max(self._summed, 1) for name, total in self._sums.items()}
        self._sums, self._summed = {}, 0
        if folder.processes.leads and (self.step % DIVERSITY_STEPS == 0 or self.step == self.steps):
            more["diversity"] = round(self.variety.look(network, self.step, level, folder.processes.device), 4)
        more |= {"epoch": self.step / self.per_epoch, "images_per_s": round(rate, 2), "of_images": self.steps * batch}
        more["seconds_left"] = round((self.steps - self.step) * batch / max(rate, 1e-9))
        folder.line(means, self.step, report=self.progress, **more)

    def pictures(self, network: nn.Module, level: int | None) -> None:
        """The sheet of samples, where it is due."""
        if self.step % self.picture_steps == 0:
            self.folder.picture(network, self.step, level, self.folder.processes.device)
