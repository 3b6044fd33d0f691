"""What the page asks for, answered by the public API: no HTTP here, and nothing that the rooms can do themselves."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from .. import __version__
from ..archive.prepare import prepare
from ..archive.store import Archive
from ..encoder import embed_archive
from ..errors import SolqueryError
from ..generator.optimized import optimize_for_inference
from ..model import Model
from ..patch import Patch, observation_time
from ..physics import get_parameter, measure
from ..search import RERANK_DEPTH
from ..serialise import plain
from ..sharp.fits import UnreadableFits, quality_fault, write_fits
from ..steering import (
    Answer,
    SteeringError,
    encode_latent,
    generate,
    observed_holds,
    open_latent,
    parse_description,
    prior_norm_range,
    reconstruct_in_steps,
    steer,
    vocabulary,
)
from ..steering.direct import Been
from ..steering.native_scale import NATIVE_KEY
from ..steering.vocabulary import quantities
from .asking import understand
from .catalogue import Catalogue, why_no_search
from .filters import where_of
from .frames import frames_of
from .inversions import InversionJob, InversionJobs, inversion_record
from .models_found import FramesIn
from .overview import map_of, parameters_of
from .recipe import provenance_code, recipe
from .records import known_of, match_record, native_bands, native_values
from .schemas import EditIn, Filters, GenerateIn, SearchIn
from .uploads import Uploads, read_upload
from .warm import FIRST

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Missing", "Service"]

#: 64 kB each on a grid of 128 x 128
_PICTURES = 256
#: drags under way: at most 48 latents each
_DRAGS = 128
#: inversions with layer-wise latents that are edited
_CARRIED = 16

K = TypeVar("K")
V = TypeVar("V")


class Missing(SolqueryError):
    """Something asked for by name that is not here."""


class _Newest(OrderedDict[K, V], Generic[K, V]):
    """What was kept last; a slider asks for its start again and again."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit, self._lock = limit, threading.Lock()

    def __setitem__(self, key: K, value: V) -> None:
        with self._lock:
            super().__setitem__(key, value)
            while len(self) > self._limit:
                super().__delitem__(next(iter(self)))


class Service:
    """A model, an archive if there is one, and what users have uploaded.

    Attributes
    ----------
    model
        With directions; without an encoder or an archive nothing can be searched.
    why_no_search
        Why nothing can be searched, in a sentence for people; empty where something can.
    catalogue
        Of the archive, or None.
    names
        How model and archive were named, for the lines that repeat a search.
    """

    def __init__(
        self,
        model: Model,
        archive: Archive | None = None,
        *,
        model_name: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if model.directions is None:
            raise SolqueryError(f"model {model.name!r} has no directions; fit them with `solquery directions --save`")
        self.model, self.directions = copy(model), model.directions
        self.model.generator = optimize_for_inference(model.generator)
        self.names = (model_name, archive.uri if archive is not None else None)
        self.uploads = Uploads()
        self.inversions = InversionJobs()
        # models that carry the layer-wise latents of an inversion, and their pictures; slopes at latents
        self._carried: _Newest[str, tuple[Any, _Newest[bytes, torch.Tensor]]] = _Newest(_CARRIED)
        self._slopes: _Newest[str, dict[str, np.ndarray]] = _Newest(_DRAGS)
        # of latents, and of drags where they have been
        self._pictures: _Newest[bytes, torch.Tensor] = _Newest(_PICTURES)
        self._drags: _Newest[Any, list[Been]] = _Newest(_DRAGS)
        self.catalogue: Catalogue | None = None
        self._store, self._open_lock = archive, threading.Lock()
        self._open(progress)
        self._range = prior_norm_range(self.directions.latent_dim)

    def _open(self, progress: Callable[[int, int], None] | None = None) -> None:
        """The catalogue of the archive, once there is something in it."""
        with self._open_lock:
            archive, model = self._store, self.model
            if self.catalogue is None and archive is not None and model.encoder is not None and len(archive):
                embed_archive(archive, model, progress)
                self.catalogue = Catalogue(archive, model)
            self.why_no_search = "" if self.catalogue is not None else why_no_search(model, archive)

    # ----------------------------------------------------------------- about

    def health(self) -> dict[str, Any]:
        """Version, model and archive."""
        preset = self.model.preset
        return {
            "status": "ok",
            "version": __version__,
            "model": {
                "name": self.model.name,
                "hash": self.model.hash,
                "preset": preset.name,
                "shape": list(preset.shape),
                "limit_gauss": float(preset.display_gauss),
                "unit_gauss": float(preset.unit_gauss),
                "scale_mm": self.scale_mm,
                "latent_dim": self.directions.latent_dim,
                "estimates": getattr(self.model, "inference", None) is not None,
            },
            "archive": None if self.catalogue is None else self.catalogue.about(),
            "no_search": self.why_no_search or None,
            "vocabulary": vocabulary(),
            "opens_on": FIRST,
        }

    @property
    def scale_mm(self) -> list[float] | None:
        """Mm per pixel (y, x) of the preset's grid; None where it stretches patches."""
        scale = getattr(self.model.preset, "scale_mm", None)
        return None if scale is None else [float(s) for s in np.broadcast_to(scale, 2)]

    def _on_grid(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return quantities(values, physical=self.model.preset.physical)

    def _measured(self, gauss: np.ndarray, names: Any = None) -> dict[str, float]:
        """Parameters of one field (H, W) in gauss on the grid, in the unit of the grid."""
        return {name: float(value[0]) for name, value in measure(gauss, self.model.preset.scale_mm, names).items()}

    def parameters(self) -> dict[str, Any]:
        """Every parameter with a direction: what it is, how far it reaches, what the archive holds of it."""
        return parameters_of(self.directions, self.catalogue)

    def map(self, name: str) -> dict[str, Any]:
        """The latent space seen so that the boundary of a parameter is a line."""
        return map_of(self.directions, name)

    def cloud(self, x: str, y: str) -> dict[str, Any]:
        """Two grid parameters of the archive's patches."""
        return self._archive().cloud(get_parameter(x).name, get_parameter(y).name)

    def space(self, column: str) -> dict[str, Any]:
        """The encoder's space of the archive, with a column to colour it by."""
        return self._archive().space(column if column == "mu" else get_parameter(column).name)

    def _archive(self) -> Catalogue:
        if self.catalogue is None:
            # patches may have come since the page was opened
            self._open()
        if self.catalogue is None:
            raise Missing(self.why_no_search)
        return self.catalogue

    # ------------------------------------------------------------- generated

    def _opened(self, text: str) -> tuple[Any, np.ndarray, _Newest[bytes, torch.Tensor]]:
        """The model that goes with the text of a latent, the latent (D,), and where its pictures are kept."""
        opened, z = open_latent(self.model, text)
        if opened is self.model:
            return opened, z, self._pictures
        # edits move the latent vector and leave what is told beside it
        key = encode_latent(opened.generator.offsets)
        known = self._carried.get(key)
        if known is None:
            known = self._carried[key] = opened, _Newest(_PICTURES // 4)
        return known[0], z, known[1]

    def _answer(self, answer: Answer, model: Any = None) -> dict[str, Any]:
        low, high = self._range
        z = encode_latent(answer.z, getattr(getattr(model, "generator", None), "offsets", None))
        return {
            "z": z,
            "source": "generated",
            "requested": self._on_grid(answer.requested),
            "measured": self._on_grid(answer.measured),
            "held": self._on_grid(answer.held),
            "native": native_bands(self.model.metadata.get(NATIVE_KEY), answer.measured),
            "python": provenance_code(*self.names, ("z", z)),
            "verdict": answer.verdict,
            "z_norm": answer.z_norm,
            "far": not low <= answer.z_norm <= high,
        }

    def edit(self, asked: EditIn) -> tuple[dict[str, Any], np.ndarray]:
        """One change of one patch: what came out, and the field in gauss."""
        model, z, pictures = self._opened(asked.z)
        hold: Mapping[str, float] = asked.hold
        been: list[Been] | None = None
        slopes: dict[str, np.ndarray] | None = None
        if asked.origin is not None and asked.set:
            # away from an observation: all else stays as it was observed, what is locked where it is locked
            _, original = self.describe(asked.origin, "preset")
            hold = {**observed_holds(model, self._measured(original), list(asked.set)), **asked.hold}
            slopes = self._slopes.get(asked.z)
            if slopes is None:
                slopes = self._slopes[asked.z] = {}
        elif asked.set and not asked.exact:
            drag = (asked.z, frozenset(asked.set), frozenset(asked.hold.items()))
            been = self._drags.get(drag)
            if been is None:
                been = self._drags[drag] = []
        answer = steer(model, z, asked.set, hold, exact=asked.exact, pictures=pictures, been=been, slopes=slopes)
        return self._answer(answer, model), self._gauss(answer.x)

    def generate(self, asked: GenerateIn) -> tuple[list[dict[str, Any]], np.ndarray]:
        """New patches for a description or numbers, or drawn: what came out, and the fields in gauss."""
        targets: dict[str, Any] = dict(asked.set)
        if asked.describe and asked.describe.strip():
            targets = {**parse_description(asked.describe, self.directions), **targets}
        if targets:
            answers = generate(self.model, targets, asked.n, seed=asked.seed, nearest=asked.nearest)
        else:
            drawn = torch.Generator().manual_seed(asked.seed)
            z = torch.randn(asked.n, self.directions.latent_dim, generator=drawn).numpy()
            answers = [steer(self.model, row) for row in z]
        return [self._answer(answer) for answer in answers], np.stack([self._gauss(a.x) for a in answers])

    def _gauss(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.preset.to_gauss(np.asarray(x)), dtype=np.float32)

    def generated_patch(self, z_text: str, field: np.ndarray) -> Patch:
        """A generated field as a patch that says so."""
        name = f"{self.model.name}-{z_text[:12]}"
        scale = None if self.scale_mm is None else (self.scale_mm[0], self.scale_mm[1])
        truth = {"latent": z_text, "model": self.model.name, "model_hash": self.model.hash}
        return Patch(field, scale, f"gen-{name}", f"GEN {name}", "generated", truth=truth)

    @staticmethod
    def fits_bytes(patch: Patch) -> bytes:
        """A patch as a FITS file."""
        with tempfile.TemporaryDirectory(prefix="solquery-") as folder:
            return write_fits(patch, Path(folder) / "patch.fits").read_bytes()

    # -------------------------------------------------------------- observed

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

    def describe(self, patch_id: str, grid: str) -> tuple[dict[str, Any], np.ndarray]:
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
            "empty": not np.nan_to_num(x).any(),
            "doubt": quality_fault(row.get("quality") or 0),
            "python": provenance_code(
                *self.names, ("patch", patch_id) if uploaded is None else ("upload", str(row["file"]))
            ),
        }
        field = self._gauss(x) if grid == "preset" else np.asarray(self.patch(patch_id).field)
        return plain(record), field

    def _to_invert(self, patch_id: str) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        """Record, field in gauss and x (H, W) of an observation, if there is something to invert in it."""
        record, original = self.describe(patch_id, "preset")
        if record["empty"]:
            raise SteeringError(
                f"{record['name']} holds no field: every pixel is zero or missing, so there is nothing to invert; "
                "open another file"
            )
        return record, original, self._x(patch_id)

    def invert(
        self, patch_id: str, starts: int, steps: int, seed: int, prior: float = 0.5
    ) -> tuple[dict[str, Any], np.ndarray]:
        """The latent vector of an observation: what was found, and two fields in gauss, original and reconstruction."""
        began = time.monotonic()
        record, original, x = self._to_invert(patch_id)
        *_, last = reconstruct_in_steps(self.model, x, starts=starts, evaluations=steps, seed=seed, prior=prior)
        found = last.found[0]
        document = {
            "patch": record,
            **inversion_record(self.model, found, self._range),
            "seconds": time.monotonic() - began,
        }
        return document, np.stack([original, self._gauss(found.x)])

    def begin_inversion(self, patch_id: str, client: str | None = None) -> InversionJob:
        """Guess the latent vector of an observation, to be refined by `InversionJob.run`."""
        _, _, x = self._to_invert(patch_id)
        job = self.inversions.add(reconstruct_in_steps(self.model, x), client)
        job.first()
        return job

    def inversion(self, job_id: str) -> tuple[dict[str, Any], np.ndarray]:
        """Where an inversion stands: what is known, and the reconstruction in gauss.

        Raises
        ------
        Missing
            When it is not remembered.
        """
        document, x = self._job(job_id).record(self.model, self._range)
        return document, self._gauss(x)

    def cancel_inversion(self, job_id: str) -> None:
        """Give an inversion up; its state of the moment can still be asked for."""
        self._job(job_id).cancel()

    def _job(self, job_id: str) -> InversionJob:
        job = self.inversions.get(job_id)
        if job is None:
            raise Missing("this inversion is not remembered any more; begin another one")
        return job

    def estimate(self, ids: Sequence[str]) -> dict[str, Any]:
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

    # ---------------------------------------------------------------- search

    def understand(self, text: str) -> dict[str, Any]:
        """What a line of text asks for."""
        asked = understand(text, self.directions)
        return {
            "parts": [asdict(part) for part in asked.parts],
            "filters": Filters(**asked.filters).model_dump(mode="json", exclude_none=True),
            "describe": ", ".join(asked.words),
            "set": asked.set,
        }

    def frames(self, asked: FramesIn) -> dict[str, Any]:
        """The frames of the archive that meet filters, in time."""
        return frames_of(self._archive(), where_of(asked.filters), asked.limit, self.model.preset.physical)

    def search(self, asked: SearchIn) -> dict[str, Any]:
        """The patches of the archive that look most like the query."""
        began = time.monotonic()
        catalogue, region, about = self._archive(), None, {}
        where = where_of(asked.filters)
        if asked.z is not None:
            model, z, pictures = self._opened(asked.z)
            answer = steer(model, z, pictures=pictures)
            x, query = answer.x, ("z", asked.z)
            about = {"kind": "generated", "source": "generated"}
        else:
            name = asked.patch if asked.patch is not None else str(asked.upload)
            if asked.patch is not None and asked.patch not in catalogue:
                raise Missing(f"no patch {asked.patch!r} in the archive; search for those there are")
            if asked.upload is not None and self.uploads.get(name) is None:
                raise Missing("this upload is not remembered any more; upload the file again")
            record, _ = self.describe(name, "preset")
            x, region = self._x(name), record["region"]
            query = ("patch", name) if asked.patch is not None else ("upload", record["file"])
            about = {"kind": query[0], "id": name, "region": region, "source": record["source"]}
        mine = self._measured(self._gauss(x))
        excluded = region if asked.exclude_own else None
        # what was drawn is no observation, and cannot be in the archive
        rerank = RERANK_DEPTH if asked.z is None and asked.by == "ssl" else 0
        for name in (*asked.more, *asked.less):
            if name not in catalogue:
                raise Missing(f"no patch {name!r} in the archive; take the example away")
        found, candidates = catalogue.search(
            x, asked.k, where, asked.group, excluded, asked.by, rerank, asked.more, asked.less
        )
        closeness, physical = catalogue.closeness(asked.by), self.model.preset.physical
        return {
            "query": {**about, "parameters": self._on_grid(mine)},
            "matches": [match_record(match, mine, catalogue, self.directions, physical, closeness) for match in found],
            "close": closeness.close(min(match.distance for match in found)) if found else None,
            "candidates": candidates,
            "where": where,
            "recipe": recipe(
                *self.names, query, asked.k, where, asked.group, excluded, asked.by, bool(asked.more or asked.less)
            ),
            "seconds": time.monotonic() - began,
        }
