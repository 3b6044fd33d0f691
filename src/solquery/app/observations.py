"""The patches that a service tells of: those of its archive and what users have opened, with what limits them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch

from ..aliases import Document, Entries
from ..archive.prepare import prepare
from ..archive.view import caveats_on_grid
from ..errors import SolqueryError
from ..patch import Patch, observation_time
from ..physics import describe_patch, measure, unit_of
from ..serialise import plain, quantity
from ..sharp.fits import UnreadableFits, quality_fault
from ..steering import encode_latent
from ..steering.native_scale import native_quantities
from ..steering.vocabulary import quantities
from .recipe import provenance_code
from .records import known_of, native_values
from .uploads import Uploads, read_upload

if TYPE_CHECKING:
    from ..model import Model
    from ..steering import Directions
    from .catalogue import Catalogue

__all__ = ["Missing", "Newest", "Observations"]

#: patches whose limits are remembered
_LIMITED = 4096

K = TypeVar("K")
V = TypeVar("V")


class Missing(SolqueryError):
    """Something asked for by name that is not here."""


class Newest(OrderedDict[K, V], Generic[K, V]):
    """What was kept last; a slider asks for its start again and again."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit, self._lock = limit, threading.Lock()

    def __setitem__(self, key: K, value: V) -> None:
        with self._lock:
            super().__setitem__(key, value)
            while len(self) > self._limit:
                super().__delitem__(next(iter(self)))


class Observations:
    """Patches by their ids, measured and described with a model.

    Parameters
    ----------
    model
        By whose grid they are laid out.
    names
        How model and archive were named, for the lines that repeat what is shown.

    Attributes
    ----------
    catalogue
        Of the archive, or None.
    """

    catalogue: Catalogue | None

    def __init__(self, model: Model, directions: Directions, names: tuple[str | None, str | None]) -> None:
        self.model, self.directions, self.names = model, directions, names
        self.uploads = Uploads()
        self._limits: Newest[str, list[dict[str, str]]] = Newest(_LIMITED)

    @property
    def scale_mm(self) -> list[float] | None:
        """Mm per pixel (y, x) of the preset's grid; None where it stretches patches."""
        scale = getattr(self.model.preset, "scale_mm", None)
        return None if scale is None else [float(s) for s in np.broadcast_to(scale, 2)]

    def _on_grid(self, values: Entries) -> dict[str, Document]:
        return quantities(values, physical=self.model.preset.physical)

    def _measured(self, gauss: np.ndarray, names: Sequence[str] | None = None) -> dict[str, float]:
        """Parameters of one field (H, W) in gauss on the grid, in the unit of the grid."""
        return {name: float(value[0]) for name, value in measure(gauss, self.model.preset.scale_mm, names).items()}

    def _estimated(self, on_grid: Mapping[str, float]) -> dict[str, Document]:
        """What a generated field is worth at native scale, with band and the grid's value; see `native_quantities`."""
        return plain(native_quantities(self.model, on_grid))

    def _gauss(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.preset.to_gauss(np.asarray(x)), dtype=np.float32)

    def read(self, data: bytes, name: str) -> tuple[str, Patch]:
        """An uploaded FITS file: the id under which it is remembered, and the patch."""
        patch = read_upload(data, name)
        return self.uploads.keep(patch), patch

    def patch(self, patch_id: str) -> Patch:
        """A patch of the archive, or an upload, at native scale."""
        uploaded = self.uploads.get(patch_id)
        if uploaded is not None:
            return uploaded
        if self.catalogue is None or patch_id not in self.catalogue:
            raise Missing(f"no patch {patch_id!r} here; search for those there are, or upload the file again")
        return self.catalogue.archive.get(patch_id)

    def _x(self, patch_id: str) -> np.ndarray:
        """(H, W) in preset units of a patch of the archive or an upload."""
        if self.uploads.get(patch_id) is None and self.catalogue is not None and self.catalogue.pictured(patch_id):
            return self.catalogue.picture(patch_id)
        patch = self.patch(patch_id)
        if patch.scale_mm is None and self.model.preset.physical:
            raise UnreadableFits(
                f"{patch.file or patch.id}: has no scale, and preset {self.model.preset.name!r} works in megametres; "
                "write CDELT1, CDELT2, CUNIT and CTYPE into its header"
            )
        try:
            return prepare(patch, self.model.preset)
        except (ValueError, ArithmeticError, MemoryError) as error:
            raise UnreadableFits(f"{patch.file or patch.id}: cannot be laid on the grid: {error}") from None

    def describe(self, patch_id: str, grid: str) -> tuple[Document, np.ndarray]:
        """A patch of the archive or an upload: what is known of it, and its field in gauss, native or on the grid."""
        uploaded = self.uploads.get(patch_id)
        x = self._x(patch_id)
        on_grid = self._measured(self._gauss(x))
        native: Mapping[str, float | None]
        if uploaded is None and self.catalogue is not None:
            row = self.catalogue.row(patch_id)
            native, size = self.catalogue.native(row), [row["ny"], row["nx"]]
            scale = None if row["scale_y_mm"] is None else [row["scale_y_mm"], row["scale_x_mm"]]
        else:
            patch = self.patch(patch_id)
            row = {**vars(patch), "t_utc": observation_time(patch.t_rec)}
            native, size = native_values(patch), list(patch.field.shape)
            scale = None if patch.scale_mm is None else list(patch.scale_mm)
        record = {
            "id": patch_id,
            "name": row["id"],
            **known_of(row, self.names[1]),
            "parameters": quantities(native, physical=True),
            "grid": self._on_grid(on_grid),
            "native_shape": size,
            "native_scale_mm": scale,
            "scale_mm": scale if grid == "native" else self.scale_mm,
            "caveats": self._caveats(patch_id),
            "empty": not np.nan_to_num(x).any(),
            "doubt": quality_fault(row.get("quality") or 0),
            "python": provenance_code(
                *self.names, ("patch", patch_id) if uploaded is None else ("upload", str(row["file"]))
            ),
        }
        field = self._gauss(x) if grid == "preset" else np.asarray(self.patch(patch_id).field)
        return plain(record), field

    def _caveats(self, patch_id: str) -> list[dict[str, str]]:
        """What limits a patch of the archive or an upload, its pixels seen; found once."""
        known = self._limits.get(patch_id)
        if known is None:
            found = caveats_on_grid(self.patch(patch_id), self.model.preset)
            known = self._limits[patch_id] = [limit._asdict() for limit in found]
        return known

    def errors(self, patch_id: str) -> Document:
        """Bias and standard error of the parameters of an observation, and what the inversion of HMI adds to them."""
        patch = self.patch(patch_id)
        found = describe_patch(patch, [n for n in self.directions.names if not self.directions.is_binary(n)])
        noise = found.noise
        return plain(
            {
                "errors": {
                    name: quantity(value.error, unit_of(name, patch.scale_mm is not None), bias=value.bias)
                    for name, value in found.errors.items()
                },
                "systematic": {
                    name: quantity(one.offset, unit_of(name, True), error=one.error, basis=one.basis)
                    for name, one in found.systematic.items()
                },
                "noise_gauss": None if noise is None else noise.gauss,
                "source": found.noise_fault if noise is None else noise.source,
            }
        )

    def estimate(self, ids: Sequence[str]) -> Document:
        """Latents of patches as the model's inference network guesses them in one pass, to draw them in the map.

        Estimates: an inversion, which takes seconds for each, comes closer.

        Raises
        ------
        Missing
            When the model has no such network, or a patch is not here.
        """
        network = getattr(self.model, "inference", None)
        if network is None:
            raise Missing(f"model {self.model.name!r} has no inference network to estimate latents with")
        x = np.stack([np.asarray(self._x(patch_id), np.float32) for patch_id in ids])
        guessed = network.guess(torch.from_numpy(np.nan_to_num(x))).numpy()
        return {"estimates": {patch_id: encode_latent(z) for patch_id, z in zip(ids, guessed, strict=True)}}

    def _observed(self, record: Entries) -> dict[str, Document]:
        """Parameters of a record at the scale of the model: as observed where it is calibrated, else on the grid."""
        scale = self.model.native_scale
        return {
            name: record["parameters"][name] | {"grid": value}
            if scale is not None and name in scale and name in record["parameters"]
            else value
            for name, value in record["grid"].items()
        }
