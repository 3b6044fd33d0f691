"""Inversions under way: a guess at once, states while it is refined, and an end when nobody wants it any more."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..errors import SolqueryError
from ..serialise import plain, quantity
from ..steering.latent_text import encode_latent
from ..steering.native_scale import native_quantities

if TYPE_CHECKING:
    from ..model import Model
    from ..steering import Inversion
    from ..steering.reconstruction import Reconstruction

__all__ = ["InversionJob", "InversionJobs", "inversion_record"]

#: inversions that are remembered, the newest
_KEPT = 32
#: seconds after which one that nobody has asked about is given up
_ABANDONED = 20.0


def inversion_record(model: Model, found: Inversion, norm_range: tuple[float, float]) -> Document:
    """What an inversion says, with units: by parameter, by scale, and whether the model can draw the region."""
    low, high = norm_range
    scale = model.preset.scale_mm
    # both as the grid shows them, and so comparable
    told, made = (plain(native_quantities(model, values or {})) for values in (found.observed, found.reconstructed))
    explained = found.explained or {}
    return {
        "z": encode_latent(found.z, found.offsets, found.noise),
        "mse": found.mse,
        "explained": max(0.0, 1.0 - found.unexplained),
        "explained_by_scale": [
            {"pixels": side, "mm": None if scale is None else side * float(scale[1]), "share": max(0.0, share)}
            for side, share in explained.items()
        ],
        "z_norm": found.z_norm,
        "far": not low <= found.z_norm <= high,
        "observed": told,
        "reconstructed": made,
        "difference": {name: _apart(told[name], value) for name, value in made.items()},
        "verdict": found.verdict,
        "reason": found.reason,
    }


def _apart(told: Document, made: Document) -> Document:
    """How far a reconstructed value is from the observed one."""
    values = made["value"], told["value"]
    return quantity(None if None in values else values[0] - values[1], made["unit"])


class InversionJob:
    """One inversion: its newest state, and whether it is to go on."""

    def __init__(self, job_id: str, client: str | None, states: Iterator[Reconstruction]) -> None:
        self.id, self.client, self._states = job_id, client, states
        self.began = self.asked = time.monotonic()
        self.state: Reconstruction | None = None
        self.error: str | None = None
        self._cancelled = threading.Event()
        self._ended = threading.Event()

    @property
    def running(self) -> bool:
        """Whether another state may come."""
        return not self._ended.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether it was given up."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Give up; the state of the moment stays."""
        self._cancelled.set()
        self.asked = 0.0

    def first(self) -> None:
        """The guess."""
        self.state = next(self._states)

    def run(self) -> None:
        """Refine until it is done, cancelled, or nobody asks any more."""
        try:
            for state in self._states:
                self.state = state
                if time.monotonic() - self.asked > _ABANDONED:
                    self._cancelled.set()
                if self.cancelled:
                    break
        except SolqueryError as error:
            self.error = " ".join(str(error).split())
        finally:
            self._states.close()  # type: ignore[attr-defined]
            self._ended.set()

    def give_up(self, reason: str) -> None:
        """End one that never ran."""
        self.error = reason
        self._ended.set()

    def record(self, model: Model, norm_range: tuple[float, float]) -> tuple[Document, np.ndarray]:
        """What is known now, and the reconstruction (H, W) in preset units."""
        self.asked = time.monotonic() if not self.cancelled else self.asked
        state = self.state
        assert state is not None, "asked about before its first state"
        document = {
            "id": self.id,
            "stage": state.stage,
            "done": state.done,
            "total": state.total,
            "running": self.running,
            "cancelled": self.cancelled,
            "error": self.error,
            "seconds": time.monotonic() - self.began,
            **inversion_record(model, state.found[0], norm_range),
        }
        return document, state.found[0].x


class InversionJobs:
    """Inversions by id, the newest of each client going on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, InversionJob] = OrderedDict()

    def add(self, states: Iterator[Reconstruction], client: str | None) -> InversionJob:
        """A new one; an older one of the same client is given up."""
        job = InversionJob(secrets.token_urlsafe(9), client, states)
        with self._lock:
            if client is not None:
                for other in self._jobs.values():
                    if other.client == client and other.running:
                        other.cancel()
            self._jobs[job.id] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)[1].cancel()
        return job

    def get(self, job_id: str) -> InversionJob | None:
        """The inversion of that id, or None when it is not remembered."""
        with self._lock:
            return self._jobs.get(job_id)

    def close(self) -> None:
        """Give up all of them."""
        with self._lock:
            for job in self._jobs.values():
                job.cancel()
