"""What happens between the steps of every training: statistics, checkpoints, pictures, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from ..aliases import Document
from .run_folder import RunFolder, TrainingError

__all__ = ["TrainingMonitor"]

LINE_STEPS = 100


def _numbers(values: Mapping[str, torch.Tensor | float]) -> list[float]:
    """Scalars as numbers, those on an accelerator in one transfer: the processor waits for it once in a step."""
    there = {name: value.detach().double() for name, value in values.items() if isinstance(value, torch.Tensor)}
    told = dict(zip(there, torch.stack(list(there.values())).tolist(), strict=True)) if there else {}
    return [told[name] if name in told else float(value) for name, value in values.items()]


class TrainingMonitor:
    """Looks after one call of a trainer.

    Parameters
    ----------
    folder
        The run.
    step, steps
        Where it goes on, and where this call ends at the latest.
    line_steps
        Between lines of statistics; None: 100.
    per_epoch
        Steps of an epoch, at whose end there is a line too; None: epochs do not matter.
    minutes
        After which this call ends, counted from the opening of the folder: what is measured before the first step is
        part of them. One step is taken at least.
    checkpoint_seconds
        At most about so much is lost when the process is killed.
    picture_steps
        Between sample pictures.
    progress
        Called with every line of statistics.
    """

    def __init__(
        self,
        folder: RunFolder,
        step: int,
        steps: int,
        *,
        line_steps: int | None = None,
        per_epoch: int | None = None,
        minutes: float | None = None,
        checkpoint_seconds: float = 120.0,
        picture_steps: int = 500,
        progress: Callable[[Document], None] | None = None,
    ) -> None:
        self.folder, self.step, self.steps, self.per_epoch = folder, step, steps, per_epoch
        self.line_steps, self.minutes, self.progress = line_steps or LINE_STEPS, minutes, progress
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

    def after(self, values: Mapping[str, torch.Tensor | float]) -> None:
        """Count a step whose losses were `values`, of this process's share; scalars, tensors of any device among them.

        Raises
        ------
        TrainingError
            When a loss is not finite, or the process that started this one is gone.
        """
        processes = self.folder.processes
        # the clock of one process decides for all, or they would wait for each other for ever
        late = self.minutes is not None and time.monotonic() - self.folder.opened > 60 * self.minutes
        told = [*_numbers(values), float(late and processes.leads), float(processes.deserted())]
        *means, late_share, deserted = processes.average(told)
        if deserted:
            raise TrainingError(
                f"the process that started this one is gone; the same command resumes {self.folder.path}"
            )
        self._late = late_share > 0
        self.step += 1
        averaged = dict(zip(values, means, strict=True))
        self.folder.check(averaged, self.step)
        for name, value in averaged.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._summed += 1

    @property
    def spent(self) -> float:
        """Seconds since this call began."""
        return time.monotonic() - self._began

    @property
    def epoch_ended(self) -> bool:
        return self.per_epoch is not None and self.step % self.per_epoch == 0

    @property
    def line_due(self) -> bool:
        return self.step % self.line_steps == 0 or self.epoch_ended or self.step == self.steps

    @property
    def picture_due(self) -> bool:
        return self.step % self.picture_steps == 0

    @property
    def save_due(self) -> bool:
        """Whether a checkpoint is due; begins the time to the next."""
        due = time.monotonic() - self._saved > self.checkpoint_seconds
        if due:
            self._saved = time.monotonic()
        return due

    def line(self, **more: object) -> Document:
        """One line of statistics: means since the last one, `more`, images a second, time left; the line."""
        batch = self.folder.batch
        rate = (self.step - self._first) * batch / max(self.spent, 1e-9)
        means = {name: total / max(self._summed, 1) for name, total in self._sums.items()}
        self._sums, self._summed = {}, 0
        if self.per_epoch is not None:
            more["epoch"] = self.step / self.per_epoch
        more |= {"images_per_s": round(rate, 2), "of_images": self.steps * batch}
        more["seconds_left"] = round((self.steps - self.step) * batch / max(rate, 1e-9))
        return self.folder.line(means, self.step, report=self.progress, **more)
