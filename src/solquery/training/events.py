"""TensorBoard events of a run, where tensorboard is installed (extra `train`): losses, rate, and the pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Entries

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Events"]


class Events:
    """Writes to the folder `events` of a run; silently nothing without tensorboard.

    Parameters
    ----------
    run
        Run folder.
    images
        Images at which the run goes on: later events of an earlier process are dropped by TensorBoard.
    """

    def __init__(self, run: Path, images: int) -> None:
        self._writer: SummaryWriter | None = None
        with contextlib.suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(run / "events"), purge_step=images + 1 if images else None)

    def line(self, entry: Entries) -> None:
        """The numbers of a line of statistics, against images shown."""
        self._write(
            lambda writer: [
                writer.add_scalar(name, value, entry["images"])
                for name, value in entry.items()
                if name not in ("images", "of_images") and isinstance(value, int | float)
            ]
        )

    def picture(self, grey: np.ndarray, images: int) -> None:
        """A sheet of samples (H, W), 0 to 255."""
        self._write(lambda writer: writer.add_image("samples", grey, images, dataformats="HW"))

    def close(self) -> None:
        """Write what is left."""
        self._write(lambda writer: writer.close())
        self._writer = None

    def _write(self, act: Callable[[SummaryWriter], object]) -> None:
        # events are a convenience: a disk that is full stops the run at its checkpoint, with a message, and not here
        if self._writer is not None:
            try:
                act(self._writer)
            except OSError:
                self._writer = None
