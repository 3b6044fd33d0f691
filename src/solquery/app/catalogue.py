"""The archive as the page needs it: embeddings, parameters and pictures at hand, read again when it has changed."""

from __future__ import annotations

import threading
import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..aliases import Document, Row
from ..archive.places import whole
from ..archive.rows import rows_at, table_with_places
from ..archive.tables import quoted
from ..encoder import embed_archive
from ..errors import SolqueryError
from ..physics import get_parameter, parameters
from ..search import Match, SearchError, SearchSession
from ..search.closeness import distances_between
from ..search.structure import STRUCTURE
from .examples import by_examples
from .observations import Newest
from .space import Layout, stored_layout, within

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from ..steering.inputs import GridInput
    from .schemas import Lasso

__all__ = ["Catalogue", "why_no_search"]

_LEFT_OUT = ("embedding", "keywords", "truth", "checksum", "embedding_model", "embedding_precision")
_CLOUD = 3_000
#: patches whose rows, and what is told of them, are remembered
_REMEMBERED = 4_096
_SPACE = 50_000


def why_no_search(model: Model, archive: Archive | None) -> str:
    """Why there is nothing to search, and what to do; empty where there is something."""
    if archive is None:
        return "no archive is open; start the page with `solquery app --archive DIR` to see observations that match"
    if not len(archive):
        return (
            f"the archive at {archive.uri} holds no patch yet; add some with `solquery ingest FILES "
            f"--archive {archive.uri}` or `solquery fetch`, then search again; there is no need to start the page anew"
        )
    if model.encoder is None:
        return (
            f"model {model.name!r} has no encoder, so nothing can be compared with the archive; start the page with "
            "another --model, or build one with an encoder"
        )
    return ""


class _Session(SearchSession):
    """A session that takes the pictures of matches from the prepared patches that the page shows."""

    def __init__(
        self, archive: Archive, model: Model, pictures: Callable[[Sequence[Match]], np.ndarray | None]
    ) -> None:
        super().__init__(archive, model)
        self._shown = pictures

    def pictures(self, matches: Sequence[Match]) -> np.ndarray:
        found = self._shown(matches)
        return super().pictures(matches) if found is None else found


class Catalogue:
    """Searches and summaries of one archive with one model; may be used from several threads.

    Of all patches it holds in memory what figures are drawn of, as Arrow and numpy have it; the row of a patch is read
    when it is asked for.
    """

    def __init__(self, archive: Archive, model: Model) -> None:
        self.archive, self.model = archive, model
        self.session = _Session(archive, model, self._pictures_of)
        self._lock = threading.RLock()
        self._content = ""
        self.refresh()

    def refresh(self) -> None:
        """Read the archive again if patches were added since."""
        with self._lock:
            content = self.archive.content_hash()
            if content == self._content:
                return
            if self._content:
                self._embed_new()
            present = self.archive.columns
            self._shown = [name for name in present if name not in _LEFT_OUT]
            held = [name for name in present if name.startswith("grid_") and name != "grid_preset"]
            # figures of a calibrated model are at native scale
            held += [name for name in parameters() if self.column(name) == name and name in present]
            places, table = table_with_places(self.archive, ["id", "region", "source", "scale_x_mm", "mu", *held])
            order = pc.sort_indices(table["id"])
            table = table.take(order).combine_chunks()
            self._places = None if places is None else places[np.asarray(order)]
            self.ids, self.regions = whole(table["id"]), whole(table["region"])
            self._source = {name: np.asarray(pc.equal(table["source"], name)) for name in ("simulated", "real")}
            self._scaled = np.asarray(table["scale_x_mm"].is_valid())
            self._table = table.drop_columns(["id", "region", "source", "scale_x_mm"])
            with warnings.catch_warnings():
                # patches without an embedding are counted in `about`
                warnings.simplefilter("ignore", UserWarning)
                self.index = self.session.index()
            self._rows = np.asarray(pc.index_in(self.index.id_array, value_set=self.ids)).astype(np.int64)
            #: what is told of a patch whatever is asked, and its row
            self.told: Newest[str, Document] = Newest(_REMEMBERED)
            self._read: Newest[str, Document] = Newest(_REMEMBERED)
            self._layout: Layout | None = None
            self._lasso: tuple[str, np.ndarray] | None = None
            counts = pc.value_counts(self.regions)
            self._frames = dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True))
            if self.archive.path is not None:
                self._known, self._pictures = self.archive.prepared_file(self.model.preset)
            self._content = content

    def _embed_new(self) -> None:
        """Embed what another process has added, so that it can be found; a read-only archive is left as it is."""
        try:
            embed_archive(self.archive, self.model)
        except SolqueryError as error:
            warnings.warn(f"new patches cannot be searched yet: {error}", UserWarning, stacklevel=3)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, patch_id: str) -> bool:
        return _place(self.ids, patch_id) is not None

    def about(self) -> Document:
        """Counts, for the head of the page, with what has been added since it was opened."""
        self.refresh()
        return {
            "uri": self.archive.uri,
            "content": self._content,
            "patches": len(self.ids),
            "regions": len(self._frames),
            "simulated": int(self._source["simulated"].sum()),
            "real": int(self._source["real"].sum()),
            "searchable": len(self.index),
        }

    def column(self, name: str) -> str:
        """Column that a parameter of the model is compared with: at native scale, if the model is calibrated for it."""
        scale = self.model.native_scale
        return name if scale is not None and name in scale else f"grid_{name}"

    def values(self, name: str) -> np.ndarray:
        """(N,) values of a parameter at the scale of the model; NaN where unknown."""
        return self._numbers(self.column(name))

    def grid(self, name: str) -> np.ndarray:
        """(N,) values of a parameter on the grid of the preset; NaN where unknown."""
        return self._numbers(f"grid_{name}")

    def _numbers(self, column: str) -> np.ndarray:
        if column not in self._table.column_names:
            return np.full(len(self.ids), np.nan)
        return np.asarray(self._table.column(column).to_numpy(), dtype=np.float64)

    def row(self, patch_id: str) -> Row:
        """Metadata and parameters of one patch."""
        return self.rows([patch_id])[patch_id]

    def rows(self, ids: Sequence[str]) -> dict[str, Row]:
        """Metadata and parameters of some patches, by id."""
        read = self._read
        found = {patch_id: row for patch_id in ids if (row := read.get(patch_id)) is not None}
        if len(found) == len(ids):
            return found
        unread = [patch_id for patch_id in ids if patch_id not in found]
        at = [place for patch_id in unread if (place := _place(self.ids, patch_id)) is not None]
        if self._places is not None:
            found |= {row["id"]: row for row in rows_at(self.archive, self._places[at].tolist(), self._shown)}
        if absent := [patch_id for patch_id in ids if patch_id not in found]:
            # rows that have moved since they were listed
            more = self.archive.table(self._shown, f"id IN ({quoted(absent)})")
            found |= {row["id"]: row for row in more.to_pylist()}
        for patch_id in unread:
            if patch_id in found:
                read[patch_id] = found[patch_id]
        return found

    def picture(self, patch_id: str) -> np.ndarray:
        """(H, W) float32 of one patch in preset units, on the grid."""
        if self.archive.path is None:
            return self.archive.prepared(self.model.preset, ids=[patch_id])[1][0]
        return np.array(self._pictures[_place(self._known, patch_id)], dtype=np.float32)

    def _pictures_of(self, matches: Sequence[Match]) -> np.ndarray | None:
        """The pictures of matches; None where some of them are not here."""
        if self.archive.path is None:
            return None
        at = [_place(self._known, match.id) for match in matches]
        return None if None in at or not at else np.stack([np.asarray(self._pictures[k], np.float32) for k in at])

    def pictured(self, patch_id: str) -> bool:
        """Whether a patch lies on the grid of the preset: it is there, and has the scale that the preset needs."""
        at = _place(self.ids, patch_id)
        return at is not None and (not self.model.preset.physical or bool(self._scaled[at]))

    def frames(self, region: str) -> int:
        """How many patches of a region there are."""
        return int(self._frames.get(region, 0))

    # ---------------------------------------------------------------- search

    def _enclosed(self, lasso: Lasso) -> np.ndarray:
        """(N,) bool: which rows of the index lie in a lasso; the newest lasso is remembered."""
        key = lasso.model_dump_json()
        with self._lock:
            if self._lasso is None or self._lasso[0] != key:
                self._lasso = key, self._drawn(lasso)
            return self._lasso[1]

    def _drawn(self, lasso: Lasso) -> np.ndarray:
        if lasso.x is None or lasso.y is None:
            return within(self._placed().points, np.array(lasso.points))
        seen = np.stack([self.values(get_parameter(name).name)[self._rows] for name in (lasso.x, lasso.y)], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.where(lasso.log, np.log10(seen), seen)
        return within(seen, np.array(lasso.points))

    def inside(self, lasso: Lasso) -> pa.Array:
        """Ids of the patches that lie in a lasso."""
        return self.index.id_array.filter(pa.array(self._enclosed(lasso)))

    def _placed(self) -> Layout:
        """The encoder's space in two dimensions; made once for a content of the archive, and kept beside it."""
        with self._lock:
            if self._layout is None:
                folder = None if self.archive.path is None else self.archive.path / "prepared"
                self._layout = stored_layout(folder, self._content, self.model.encoder_hash, lambda: self.index.vectors)
            return self._layout

    def search(
        self,
        x: np.ndarray | GridInput,
        k: int,
        where: str | None,
        group: str,
        exclude_region: str | None,
        by: str = "embedding",
        rerank: int = 0,
        more: Sequence[str] = (),
        less: Sequence[str] = (),
        lasso: Lasso | None = None,
    ) -> tuple[list[Match], int]:
        """Matches as `SearchSession.search` gives them, and how many patches met the condition.

        `more` and `less` are ids of patches of the archive that the matches should be like, or not (`by_examples`).
        """
        self.refresh()
        candidates = self.session.candidates(where)
        if candidates == 0:
            return [], 0
        if self.model.encoder is None:
            raise SearchError(f"model {self.model.name!r} has no encoder to search with; choose one that has")
        if by == STRUCTURE:
            # read whole, and conditions are taken out of that
            self.session.structure()
        if lasso is not None or more or less:
            found, candidates = self._among(x, k, where, group, exclude_region, by, rerank, more, less, lasso)
        else:
            found = self.session.nearest(x, k, where, group, exclude_region, by=by, rerank=rerank)
        rows = self.rows([match.id for match in found])
        return [replace(match, row=rows[match.id]) for match in found], candidates

    def _among(
        self, x: np.ndarray | GridInput, k: int, where: str | None, group: str, exclude: str | None, by: str,
        rerank: int, more: Sequence[str], less: Sequence[str], lasso: Lasso | None,
    ) -> tuple[list[Match], int]:  # fmt: skip
        """The nearest patches in a lasso, to a query and to examples, and how many there are to search."""
        asked = self.session.query(x)
        patches, apart = self.session.distances(asked, where, by)
        rows = pc.fill_null(pc.index_in(patches.id_array, value_set=self.index.id_array), -1).to_numpy()
        # what has no embedding is in no scatter plot, and cannot be compared with examples
        inside = rows >= 0 if lasso is None else self._enclosed(lasso)[rows] & (rows >= 0)
        if more or less:
            wanted, unwanted = (
                distances_between(self.session, by, self.index.rows(list(ids)))[:, rows] for ids in (more, less)
            )
            apart = by_examples(apart, wanted, unwanted)
            apart[patches.rows(list(less))] = np.inf
        apart = np.where(inside, apart, np.inf)

        def find(k: int, group: str) -> list[Match]:
            return patches.ranked(apart, k, group, exclude)

        if not rerank or by not in ("embedding", STRUCTURE) or more or less:
            return find(k, group), int(inside.sum())
        return self.session.reranked(asked, find, k, group, by, rerank, where), int(inside.sum())

    # --------------------------------------------------------------- figures

    def histogram(self, name: str, edges: np.ndarray) -> dict[str, list[float]]:
        """Counts of the simulated and of the real patches between edges (K + 1,); those beyond at the ends."""
        low, high = edges[0], edges[-1]
        values = self.values(name)
        out = {}
        for source in ("simulated", "real"):
            here = values[self._source[source] & np.isfinite(values)]
            out[source] = np.histogram(np.clip(here, low, high), edges)[0].tolist()
        return {"edges": edges.tolist(), **out}

    def cloud(self, x: str, y: str) -> Document:
        """Two parameters, at the scale of the model, of at most 3,000 patches, every real one among them."""
        values = np.stack([self.values(x), self.values(y)], axis=1)
        known = np.flatnonzero(np.isfinite(values).all(1))
        real = self._source["real"][known]
        rest = known[~real]
        room = max(0, _CLOUD - int(real.sum()))
        if len(rest) > room:
            rest = np.sort(np.random.default_rng(0).choice(rest, room, replace=False))
        rows = np.concatenate([rest, known[real]])
        return {
            "x": x,
            "y": y,
            "ids": self.ids.take(pa.array(rows)).to_pylist(),
            "source": np.where(self._source["real"][rows], "real", "simulated").tolist(),
            "values": values[rows].tolist(),
            "of": len(self.ids),
        }

    def space(self, column: str, places: bool = True) -> Document:
        """The encoder's space in two dimensions, and a column of each patch: a parameter, or ``mu``.

        At most 50,000 patches, evenly thinned. Without `places` only the column is given.
        """
        layout = self._placed()
        step = -(-len(self.index) // _SPACE) or 1
        rows = self._rows[::step]
        values = self._numbers("mu") if column == "mu" else self.values(column)
        return {
            "content": self._content,
            "ids": self.ids.take(pa.array(rows)).to_pylist() if places else None,
            "regions": self.regions.take(pa.array(rows)).to_pylist() if places else None,
            "real": self._source["real"][rows].tolist() if places else None,
            "points": np.round(layout.points[::step].astype(np.float64), 4).tolist() if places else None,
            "values": [None if not np.isfinite(v) else float(f"{v:.4g}") for v in values[rows]],
            "column": column,
            "explained": layout.explained,
            "of": len(self.index),
        }

    def native(self, row: Row) -> dict[str, float | None]:
        """Parameters of a row at native scale."""
        return {name: row.get(name) for name in parameters()}


def _place(ids: pa.Array, patch_id: str) -> int | None:
    """Where an id is among sorted ones; None where it is not."""
    at = bisect_left(range(len(ids)), patch_id, key=lambda row: ids[row].as_py())
    return at if at < len(ids) and ids[at].as_py() == patch_id else None
