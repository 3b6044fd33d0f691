"""The archive as the page needs it: embeddings, parameters and pictures at hand, read again when it has changed."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoder import embed, embed_archive
from ..errors import SolqueryError
from ..physics import get_parameter, parameters
from ..search import EMBEDDING, WEIGHTS, EmbeddingIndex, Match, SearchError, combine, load_index, nearest, reranked
from ..search.hybrid import ScoredParameters, mixed_distances
from .closeness import Closeness, closeness_of
from .examples import by_examples
from .space import Layout, stored_layout, within

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from .schemas import Lasso

__all__ = ["Catalogue", "shares", "why_no_search"]

_LEFT_OUT = ("embedding", "keywords", "truth", "checksum", "embedding_model", "embedding_precision")
_CLOUD = 3_000
_CONDITIONS = 64
_SPACE = 50_000


def shares(by: str) -> dict[str, float]:
    """Weights of a search by ``"hybrid"``, look and physics, or by ``"physics"`` alone."""
    return {name: weight for name, weight in WEIGHTS.items() if by == "hybrid" or name != EMBEDDING}


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


class Catalogue:
    """Searches and summaries of one archive with one model; may be used from several threads."""

    def __init__(self, archive: Archive, model: Model) -> None:
        self.archive, self.model = archive, model
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
            names = [name for name in self.archive.columns if name not in _LEFT_OUT]
            self._table = self.archive.table(columns=names)
            self.ids = np.asarray(self._table.column("id").to_pylist(), dtype=str)
            self.regions = np.asarray(self._table.column("region").to_pylist(), dtype=str)
            self.sources = np.asarray(self._table.column("source").to_pylist(), dtype=str)
            self._place = {name: k for k, name in enumerate(self.ids.tolist())}
            with warnings.catch_warnings():
                # patches without an embedding are counted in `about`
                warnings.simplefilter("ignore", UserWarning)
                self.index = load_index(self.archive, self.model)
            self._vector = {name: k for k, name in enumerate(self.index.ids.tolist())}
            self._rows = np.array([self._place[name] for name in self.index.ids.tolist()], dtype=np.int64)
            self._scored: ScoredParameters | None = None
            self._close: dict[str, Closeness] = {}
            self._layout: Layout | None = None
            self._conditions: OrderedDict[tuple[str | None, str], np.ndarray] = OrderedDict()
            self._frames = dict(zip(*np.unique(self.regions, return_counts=True), strict=True))
            if self.archive.path is not None:
                known, self._pictures = self.archive.prepared_memmap(self.model.preset)
                self._picture = {name: k for k, name in enumerate(known)}
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
        return patch_id in self._place

    def about(self) -> dict[str, Any]:
        """Counts, for the head of the page, with what has been added since it was opened."""
        self.refresh()
        return {
            "uri": self.archive.uri,
            "content": self._content,
            "patches": len(self.ids),
            "regions": len(self._frames),
            "simulated": int((self.sources == "simulated").sum()),
            "real": int((self.sources == "real").sum()),
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

    def row(self, patch_id: str) -> dict[str, Any]:
        """Metadata and parameters of one patch."""
        return self._table.slice(self._place[patch_id], 1).to_pylist()[0]

    def picture(self, patch_id: str) -> np.ndarray:
        """(H, W) float32 of one patch in preset units, on the grid."""
        if self.archive.path is None:
            return self.archive.prepared(self.model.preset, ids=[patch_id])[1][0]
        return np.array(self._pictures[self._picture[patch_id]], dtype=np.float32)

    def pictured(self, patch_id: str) -> bool:
        """Whether a patch lies on the grid of the preset: it is there, and has the scale that the preset needs."""
        if patch_id not in self._place:
            return False
        return not self.model.preset.physical or self.row(patch_id)["scale_x_mm"] is not None

    def frames(self, region: str) -> int:
        """How many patches of a region there are."""
        return int(self._frames.get(region, 0))

    # ---------------------------------------------------------------- search

    def _selected(self, where: str | None, lasso: Lasso | None = None) -> np.ndarray:
        """Rows of the index that meet a condition and lie in a lasso; the newest conditions are remembered."""
        key = (where, "" if lasso is None else lasso.model_dump_json())
        with self._lock:
            if key not in self._conditions:
                ids = self.archive.ids(where) if where else self.index.ids.tolist()
                rows = np.array(sorted(self._vector[i] for i in ids if i in self._vector), dtype=np.int64)
                if lasso is not None:
                    rows = rows[self._enclosed(lasso)[rows]]
                self._conditions[key] = rows
                while len(self._conditions) > _CONDITIONS:
                    self._conditions.popitem(last=False)
            self._conditions.move_to_end(key)
            return self._conditions[key]

    def _enclosed(self, lasso: Lasso) -> np.ndarray:
        """(N,) bool: which rows of the index lie in a lasso."""
        if lasso.x is None or lasso.y is None:
            return within(self._placed().points, np.array(lasso.points))
        seen = np.stack([self.values(get_parameter(name).name)[self._rows] for name in (lasso.x, lasso.y)], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.where(lasso.log, np.log10(seen), seen)
        return within(seen, np.array(lasso.points))

    def inside(self, lasso: Lasso) -> set[str]:
        """Ids of the patches that lie in a lasso."""
        return set(self.index.ids[self._enclosed(lasso)].tolist())

    def _placed(self) -> Layout:
        """The encoder's space in two dimensions; made once for a content of the archive, and kept beside it."""
        with self._lock:
            if self._layout is None:
                folder = None if self.archive.path is None else self.archive.path / "prepared"
                self._layout = stored_layout(folder, self._content, self.model.encoder_hash, lambda: self.index.vectors)
            return self._layout

    def _parameters(self) -> ScoredParameters:
        """Scores of the parameters that a match is compared by; made once for a content of the archive."""
        with self._lock:
            if self._scored is None:
                names = [name for name in WEIGHTS if name != EMBEDDING]
                if not {f"grid_{name}" for name in names} <= set(self._table.column_names):
                    raise SearchError(
                        "the archive has no parameters on the grid to compare by; search by look, or measure them: "
                        f"`solquery archive embed {self.archive.uri} --again`"
                    )
                self._scored = ScoredParameters({name: self.grid(name) for name in names})
            return self._scored

    def search(
        self,
        x: np.ndarray,
        k: int,
        where: str | None,
        group: str,
        exclude_region: str | None,
        by: str = "ssl",
        rerank: int = 0,
        more: Sequence[str] = (),
        less: Sequence[str] = (),
        lasso: Lasso | None = None,
    ) -> tuple[list[Match], int]:
        """Matches as `solquery.search` and `search_hybrid` give them, and how many patches met the condition.

        `more` and `less` are ids of patches of the archive that the matches should be like, or not (`by_examples`).
        """
        self.refresh()
        rows = self._selected(where, lasso)
        if len(rows) == 0:
            return [], 0
        if self.model.encoder is None:
            raise SearchError(f"model {self.model.name!r} has no encoder to search with; choose one that has")
        index = self.index
        if len(rows) < len(index):
            index = EmbeddingIndex(index.ids[rows], index.regions[rows], index.vectors[rows])
        if by == "ssl" and not more and not less:
            vectors = embed(self.model.encoder, x)

            def find(k: int, group: str) -> list[Match]:
                return index.nearest(vectors, k, group, exclude_region)[0]

            found = reranked(self.archive, self.model, x, find, k, group, rerank) if rerank else find(k, group)
        else:
            apart = self._apart(index, rows, x, by)
            if more or less:
                wanted, unwanted = (self._from(self._rows_of(ids), by)[:, rows] for ids in (more, less))
                apart = by_examples(apart[0], wanted, unwanted)[None, :]
                apart[:, np.isin(index.ids, list(less))] = np.inf
            apart[:, index.regions == exclude_region] = np.inf
            columns = nearest(apart, k, index.regions if group == "region" else None)[0]
            found = [
                Match(str(index.ids[c]), str(index.regions[c]), float(apart[0, c]), rank)
                for rank, c in enumerate(columns, start=1)
            ]
        return [replace(match, row=self.row(match.id)) for match in found], len(rows)

    def _rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Rows of the index of patches; those that are not there are left out."""
        return np.array([self._vector[name] for name in ids if name in self._vector], dtype=np.int64)

    def _apart(self, index: EmbeddingIndex, rows: np.ndarray, x: np.ndarray, by: str) -> np.ndarray:
        """(1, n) distances of a query (H, W), in preset units, from the patches of an index, which are `rows`."""
        if by == "ssl" and self.model.encoder is not None:
            return index.distances(embed(self.model.encoder, x))
        # the scale of the look is that of the whole archive: a match is as far away whatever else may be found
        return mixed_distances(
            index, self.model, x, self._parameters(), self._rows[rows], shares(by), archive_vectors=self.index.vectors
        )

    def _from(self, rows: np.ndarray, by: str) -> np.ndarray:
        """(Q, N) distances of patches of the index, by their rows, from all of them."""
        look = self.index.distances(self.index.vectors[rows])
        if by == "ssl" or not len(rows):
            return look
        physical = {name: weight for name, weight in shares(by).items() if name != EMBEDDING}
        asked = {name: self.grid(name)[self._rows[rows]] for name in physical}
        physics = self._parameters().distances(asked, physical, self._rows)
        share = shares(by).get(EMBEDDING, 0.0) / sum(shares(by).values())
        return combine(look, physics, self.index.vectors, share)

    def closeness(self, by: str) -> Closeness:
        """Distances between the patches of the archive, to judge one by; made once for a content and a distance."""
        with self._lock:
            if by not in self._close:
                self._close[by] = closeness_of(self.index.regions, lambda rows: self._from(rows, by))
            return self._close[by]

    # --------------------------------------------------------------- figures

    def histogram(self, name: str, edges: np.ndarray) -> dict[str, list[float]]:
        """Counts of the simulated and of the real patches between edges (K + 1,); those beyond at the ends."""
        low, high = edges[0], edges[-1]
        values = self.values(name)
        out = {}
        for source in ("simulated", "real"):
            here = values[(self.sources == source) & np.isfinite(values)]
            out[source] = np.histogram(np.clip(here, low, high), edges)[0].tolist()
        return {"edges": edges.tolist(), **out}

    def cloud(self, x: str, y: str) -> dict[str, Any]:
        """Two parameters, at the scale of the model, of at most 3,000 patches, every real one among them."""
        values = np.stack([self.values(x), self.values(y)], axis=1)
        known = np.flatnonzero(np.isfinite(values).all(1))
        real = self.sources[known] == "real"
        rest = known[~real]
        room = max(0, _CLOUD - int(real.sum()))
        if len(rest) > room:
            rest = np.sort(np.random.default_rng(0).choice(rest, room, replace=False))
        rows = np.concatenate([rest, known[real]])
        return {
            "x": x,
            "y": y,
            "ids": self.ids[rows].tolist(),
            "source": self.sources[rows].tolist(),
            "values": values[rows].tolist(),
            "of": len(self.ids),
        }

    def space(self, column: str, places: bool = True) -> dict[str, Any]:
        """The encoder's space in two dimensions, and a column of each patch: a parameter, or ``mu``.

        At most 50,000 patches, evenly thinned. Without `places` only the column is given.
        """
        layout = self._placed()
        step = -(-len(self.index) // _SPACE) or 1
        rows = self._rows[::step]
        values = self._numbers("mu") if column == "mu" else self.values(column)
        return {
            "content": self._content,
            "ids": self.ids[rows].tolist() if places else None,
            "regions": self.regions[rows].tolist() if places else None,
            "real": (self.sources[rows] == "real").tolist() if places else None,
            "points": np.round(layout.points[::step].astype(np.float64), 4).tolist() if places else None,
            "values": [None if not np.isfinite(v) else float(f"{v:.4g}") for v in values[rows]],
            "column": column,
            "explained": layout.explained,
            "of": len(self.index),
        }

    def native(self, row: dict[str, Any]) -> dict[str, float | None]:
        """Parameters of a row at native scale."""
        return {name: row.get(name) for name in parameters()}
