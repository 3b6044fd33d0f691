"""What the monitor of a training does besides where a generator is trained: its diversity, and its sample pictures."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..aliases import Document
from ..training.diversity import Diversity
from ..training.monitor import TrainingMonitor
from .run_folder import GeneratorRun

__all__ = ["GeneratorMonitor"]

DIVERSITY_STEPS = 500


class GeneratorMonitor(TrainingMonitor):
    """`TrainingMonitor` of a generator; now and then it measures how diverse the generated samples are."""

    def __init__(
        self, folder: GeneratorRun, step: int, steps: int, per_epoch: int, diversity: Diversity, **monitored: Any
    ) -> None:
        super().__init__(folder, step, steps, per_epoch=per_epoch, **monitored)
        self.run, self.diversity = folder, diversity

    def network_line(self, network: nn.Module, level: int | None, **more: object) -> Document:
        """`line`, with the diversity of what `network` draws at a `level` where that is due."""
        if self.folder.processes.leads and (self.step % DIVERSITY_STEPS == 0 or self.step == self.steps):
            seen = self.diversity.look(network, self.step, level, self.folder.processes.device)
            more["diversity"] = round(seen, 4)
        return self.line(**more)

    def pictures(self, network: nn.Module, level: int | None) -> None:
        """The sheet of samples, where it is due."""
        if self.picture_due:
            self.run.picture(network, self.step, level, self.folder.processes.device)
