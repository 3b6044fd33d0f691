"""What the page asks for, answered by the public API: no HTTP here, and nothing that the rooms can do themselves."""

from __future__ import annotations

import tempfile
import threading
import time
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import __version__
from ..aliases import Document
from ..archive.store import Archive
from ..encoder import embed_archive
from ..errors import SolqueryError
from ..generator.optimized import optimize_for_inference
from ..model import Model
from ..patch import Patch
from ..physics import get_parameter
from ..search import RERANK_DEPTH
from ..search.described import described
from ..search.structure import STRUCTURE, STRUCTURE_DEPTH
from ..sharp.fits_writing import write_fits
from ..steering import (
    Answer,
    SteeringError,
    draw_patches,
    encode_latent,
    invert_sketch_in_steps,
    observed_holds,
    open_latent,
    parse_description,
    prior_norm_range,
    reconstruct_in_steps,
    steer,
    vocabulary,
)
from ..steering.direct import Visited
from ..steering.inputs import GridInput
from .asking import understand
from .catalogue import Catalogue, why_no_search
from .filters import where_of
from .frames import frames_of
from .inversions import InversionJob, InversionJobs, inversion_record
from .models_found import FramesIn
from .observations import Missing, Newest, Observations
from .overview import map_of, parameters_of
from .recipe import provenance_code, recipe
from .records import match_record, spread_of
from .schemas import EditIn, Filters, GenerateIn, SearchIn, SketchIn
from .warm import FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..protocols import Model as ProtocolModel
    from ..steering import Reconstruction


__all__ = ["Missing", "Service"]

#: 72 kB each on a grid of 96 x 192
_PICTURES = 256
#: drags under way: at most 48 latents each
_DRAGS = 128
#: inversions with layer-wise latents that are edited
_CARRIED = 16


class Service(Observations):
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
    public_url
        Address under which others reach the page, for links that are copied; None where it is that of the browser.
    """

    def __init__(
        self,
        model: Model,
        archive: Archive | None = None,
        *,
        model_name: str | None = None,
        public_url: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if model.directions is None:
            raise SolqueryError(f"model {model.name!r} has no directions; fit them with `solquery directions --save`")
        super().__init__(copy(model), model.directions, (model_name, archive.uri if archive is not None else None))
        self.model.generator = optimize_for_inference(model.generator)
        self.public_url = public_url
        self.inversions = InversionJobs()
        # models that carry the layer-wise latents of an inversion, and their pictures; gradients at latents
        self._carried: Newest[str, tuple[ProtocolModel, Newest[bytes, torch.Tensor]]] = Newest(_CARRIED)
        self._gradients: Newest[str, dict[str, np.ndarray]] = Newest(_DRAGS)
        # of latents, and of drags where they have been
        self._pictures: Newest[bytes, torch.Tensor] = Newest(_PICTURES)
        self._drags: Newest[Any, list[Visited]] = Newest(_DRAGS)
        self.catalogue: Catalogue | None = None
        self._store, self._open_lock = archive, threading.Lock()
        self._open(progress)
        self._range = prior_norm_range(self.directions.latent_dim)
        self._spreads = {name: spread_of(self.directions, name) for name in self.directions.names}

    def _open(self, progress: Callable[[int, int], None] | None = None) -> None:
        """The catalogue of the archive, once there is something in it."""
        with self._open_lock:
            archive, model = self._store, self.model
            if self.catalogue is None and archive is not None and model.encoder is not None and len(archive):
                embed_archive(archive, model, progress)
                self.catalogue = Catalogue(archive, model)
            self.why_no_search = "" if self.catalogue is not None else why_no_search(model, archive)

    # ----------------------------------------------------------------- about

    def health(self) -> Document:
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
            "public_url": self.public_url,
        }

    def parameters(self) -> Document:
        """Every parameter with a direction: what it is, how far it reaches, what the archive holds of it."""
        return parameters_of(self.directions, self.catalogue, self.model.native_scale)

    def map(self, name: str) -> Document:
        """The latent space seen so that the boundary of a parameter is a line."""
        return map_of(self.directions, name)

    def cloud(self, x: str, y: str) -> Document:
        """Two parameters of the archive's patches."""
        return self._archive().cloud(get_parameter(x).name, get_parameter(y).name)

    def space(self, column: str, places: bool = True) -> Document:
        """The encoder's space of the archive, with a column to colour it by."""
        return self._archive().space(column if column == "mu" else get_parameter(column).name, places)

    def _archive(self) -> Catalogue:
        if self.catalogue is None:
            # patches may have come since the page was opened
            self._open()
        if self.catalogue is None:
            raise Missing(self.why_no_search)
        return self.catalogue

    # ------------------------------------------------------------- generated

    def _opened(self, text: str) -> tuple[ProtocolModel, np.ndarray, Newest[bytes, torch.Tensor]]:
        """The model that goes with the text of a latent, the latent (D,), and where its pictures are kept."""
        opened, z = open_latent(self.model, text)
        if opened is self.model:
            return opened, z, self._pictures
        # edits move the latent vector and leave what is told beside it
        key = encode_latent(opened.generator.offsets, noise=opened.generator.noise)
        known = self._carried.get(key)
        if known is None:
            known = self._carried[key] = opened, Newest(_PICTURES // 4)
        return known[0], z, known[1]

    def _answer(self, answer: Answer, model: ProtocolModel | None = None) -> Document:
        low, high = self._range
        z = encode_latent(answer.z, answer.offsets, answer.noise)
        measured = self._estimated({name: answer.grid.get(name, value) for name, value in answer.measured.items()})
        return {
            "z": z,
            "source": "generated",
            "requested": self._on_grid(answer.requested),
            "measured": measured,
            "held": self._on_grid(answer.held),
            # what has a band, under the name that it had when `measured` was of the grid
            "native": {name: value for name, value in measured.items() if "low" in value},
            "python": provenance_code(*self.names, ("z", z)),
            "verdict": answer.verdict,
            "z_norm": answer.z_norm,
            "far": not low <= answer.z_norm <= high,
        }

    def edit(self, asked: EditIn) -> tuple[Document, np.ndarray]:
        """One change of one patch: what came out, and the field in gauss."""
        model, z, pictures = self._opened(asked.z)
        hold: Mapping[str, float] = asked.hold
        been: list[Visited] | None = None
        gradients: dict[str, np.ndarray] | None = None
        observed = None
        if asked.origin is not None:
            _, original = self.describe(asked.origin, "preset")
            # as the grid shows it, which is what the model can draw: a wide region goes on beyond the view
            observed = self._estimated(self._measured(original))
        if observed is not None and asked.set:
            # away from an observation: all else stays as it was observed, what is locked where it is locked
            seen = {name: one["value"] for name, one in observed.items() if one["value"] is not None}
            hold = {**observed_holds(model, seen, list(asked.set)), **asked.hold}
            gradients = self._gradients.get(asked.z)
            if gradients is None:
                gradients = self._gradients[asked.z] = {}
        elif asked.set and not asked.exact:
            drag = (asked.z, frozenset(asked.set), frozenset(asked.hold.items()))
            been = self._drags.get(drag)
            if been is None:
                been = self._drags[drag] = []
        answer = steer(
            model, z, asked.set, hold, exact=asked.exact, pictures=pictures, visited=been, gradients=gradients
        )
        told = {} if observed is None else {"observed": observed}
        return {**self._answer(answer, model), **told}, self._gauss(answer.x)

    def generate(self, asked: GenerateIn) -> tuple[list[Document], np.ndarray]:
        """New patches for a description or numbers, or drawn: what came out, and the fields in gauss."""
        targets: Document = dict(asked.set)
        if asked.describe and asked.describe.strip():
            targets = {**parse_description(asked.describe, self.directions), **targets}
        if targets:
            session = None if self.catalogue is None or self.model.encoder is None else self.catalogue.session
            answers = described(self.model, session, targets, asked.n, asked.seed, nearest=asked.nearest)
        else:
            answers = [steer(self.model, row) for row in draw_patches(self.model, asked.n, asked.seed)[0]]
        return [self._answer(answer) for answer in answers], np.stack([self._gauss(a.x) for a in answers])

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

    def _to_invert(self, patch_id: str) -> tuple[Document, np.ndarray, np.ndarray]:
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
    ) -> tuple[Document, np.ndarray]:
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
        return self._begun(reconstruct_in_steps(self.model, x), client)

    def begin_sketch(self, asked: SketchIn) -> InversionJob:
        """Guess the region of a sketch, to be refined as an inversion of an observation is."""
        return self._begun(invert_sketch_in_steps(self.model, [dict(blob) for blob in asked.blobs]), asked.client)

    def _begun(self, states: Iterator[Reconstruction], client: str | None) -> InversionJob:
        job = self.inversions.add(states, client)
        job.first()
        return job

    def inversion(self, job_id: str) -> tuple[Document, np.ndarray]:
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

    # ---------------------------------------------------------------- search

    def understand(self, text: str) -> Document:
        """What a line of text asks for."""
        asked = understand(text, self.directions)
        return {
            "parts": [asdict(part) for part in asked.parts],
            "filters": Filters(**asked.filters).model_dump(mode="json", exclude_none=True),
            "describe": ", ".join(asked.words),
            "set": asked.set,
        }

    def frames(self, asked: FramesIn) -> Document:
        """The frames of the archive that meet filters, in time."""
        return frames_of(
            self._archive(), where_of(asked.filters), asked.filters.lasso, asked.limit, self.model.preset.physical
        )

    def search(self, asked: SearchIn) -> Document:
        """The patches of the archive that look most like the query."""
        began = time.monotonic()
        catalogue, region = self._archive(), None
        about: Document = {}
        where, lasso = where_of(asked.filters), asked.filters.lasso
        record: Document | None = None
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
            about |= {"quantity": record["quantity"], "caveats": record["caveats"]}
        on_grid = self._measured(self._gauss(x))
        told = self._estimated(on_grid) if record is None else self._observed(record)
        excluded = region if asked.exclude_own else None
        for example in (*asked.more, *asked.less):
            if example not in catalogue:
                raise Missing(f"no patch {example!r} in the archive; take the example away")
        # a line-of-sight patch is compared with radial ones as an estimate of its radial field, which needs all of it
        sought = x if asked.by != STRUCTURE or record is None else GridInput(x, "patch", self.patch(name))
        # what was drawn is no observation, and cannot be in the archive
        depths = {"embedding": RERANK_DEPTH if asked.z is None else 0, STRUCTURE: STRUCTURE_DEPTH}
        rerank = depths.get(asked.by, 0)
        found, candidates = catalogue.search(
            sought, asked.k, where, asked.group, excluded, asked.by, rerank, asked.more, asked.less, lasso
        )
        if asked.by == STRUCTURE and about.get("quantity") == "line-of-sight":
            about["as_radial"] = catalogue.session.query(sought).as_radial is not None
        closeness, physical = catalogue.session.closeness(asked.by), self.model.preset.physical
        return {
            "query": {**about, "parameters": told, "grid": self._on_grid(on_grid)},
            "matches": [match_record(match, told, catalogue, self._spreads, physical, closeness) for match in found],
            "close": closeness.close(min(match.distance for match in found)) if found and closeness else None,
            "candidates": candidates,
            "where": where,
            "recipe": recipe(
                *self.names,
                query,
                asked.k,
                where,
                asked.group,
                excluded,
                asked.by,
                bool(asked.more or asked.less),
                lasso is not None,
            ),
            "seconds": time.monotonic() - began,
        }
