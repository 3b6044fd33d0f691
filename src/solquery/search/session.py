"""Searches of one archive with one model: what a command, the page and a notebook all ask.

A session reads the embeddings once and keeps them, embeds a query once, and explains answers from what it has. When
the archive has changed it reads anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..aliases import Document
from ..archive.places import whole
from ..archive.rows import RowReader, in_lance, table_with_places, version_of
from ..physics import measure_patch
from ..steering.inputs import grid_input
from .closeness import Closeness, closeness
from .explanation import Explanation, explained
from .hybrid import EMBEDDING, ArchiveScores, NormalScores, ScoredParameters, compared, mixed_distances, shares
from .index import EmbeddingIndex, Match, checked_query, checked_vectors
from .loading import Embedded, pictures_of, row_columns, rows_of
from .matches import Matches
from .patch_list import PatchList
from .query import Query
from .rerank import RERANK_DEPTH, reranked
from .structure import STRUCTURE, STRUCTURE_DEPTH, StructureIndex

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model
    from .approximate import ApproximateIndex

__all__ = ["SearchSession"]

#: queries and conditions that are remembered
_QUERIES, _CONDITIONS = 4, 8
#: of so many patches and more the embeddings are not kept in memory for a first query: it needs its distances only
_READ_THROUGH = 200_000


class SearchSession:
    """Many searches of one archive with one model; may be used from several threads.

    Parameters
    ----------
    archive
        With the embeddings of the model (`embed_archive`).
    model
        Whose encoder embeds the queries.

    Examples
    --------
    ``session = SearchSession(archive, model)``, then for each query ``matches = session.search(x)`` and
    ``session.explain(x, matches)``.
    """

    def __init__(self, archive: Archive, model: Model) -> None:
        self.archive, self.model = archive, model
        self._lock = threading.RLock()
        self._queries: OrderedDict[tuple[bytes, str], Query] = OrderedDict()
        self._version: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._embedded: Embedded | None = None
        self._among: dict[str, Embedded] = {}
        self._indexes: OrderedDict[str | None, EmbeddingIndex] = OrderedDict()
        self._structures: dict[str | None, StructureIndex] = {}
        self._parameters = ArchiveScores(self.archive)
        self._close: dict[str, Closeness | None] = {}
        self._quick: list[ApproximateIndex | None] = []
        self._rows: RowReader | None = None
        #: distances of the newest query, and to which condition and query they belong
        self._measured: tuple[tuple[str | None, bytes], PatchList, np.ndarray] | None = None
        self._first: bytes | None = None

    def _refresh(self) -> None:
        version = version_of(self.archive) if in_lance(self.archive) else None
        if version != self._version:
            self._forget()
            self._version = version

    # ------------------------------------------------------------- what is there

    def embedded(self) -> Embedded:
        """Which patches have an embedding of this encoder and preset."""
        with self._lock:
            self._refresh()
            return self._there()

    def _there(self) -> Embedded:
        if self._embedded is None:
            self._embedded = Embedded(self.archive, self.model)
        return self._embedded

    def index(self, where: str | None = None) -> EmbeddingIndex:
        """The embeddings of the patches that meet a condition; errors and warnings as for `load_index`."""
        with self._lock:
            self._refresh()
            return self._index(where or None)

    def _index(self, where: str | None) -> EmbeddingIndex:
        with self._lock:
            if where not in self._indexes:
                if where is None:
                    self._indexes[None] = self._there().index()
                else:
                    # of a single condition only what meets it is read; who asks again gets it out of all of them
                    self._indexes[where] = self._selected(where) if self._indexes else self._read(where)
                some = [name for name in self._indexes if name not in (None, where)]
                for name in some[: max(len(some) - _CONDITIONS + 1, 0)]:
                    del self._indexes[name]
            self._indexes.move_to_end(where)
            return self._indexes[where]

    def _read(self, where: str) -> EmbeddingIndex:
        return self._embedded_among(where).index()

    def _ids(self, where: str | None) -> pa.Array:
        return whole(table_with_places(self.archive, ["id"], where)[1]["id"])

    def _selected(self, where: str) -> EmbeddingIndex:
        every = self._index(None)
        ids = self._ids(where)
        rows = every.rows(ids)
        # what cannot be found is told as where it is read
        return every.among(rows) if len(rows) == len(ids) and len(rows) else self._read(where)

    def structure(self, where: str | None = None) -> StructureIndex:
        """Signatures of the patches that meet a condition; the whole archive's and those of one condition are kept."""
        with self._lock:
            self._refresh()
            where = where or None
            if where not in self._structures:
                every = self._structures.get(None)
                self._structures = {} if every is None else {None: every}
                if every is None:
                    self._structures[where] = StructureIndex.read(self.archive, self.model, where)
                else:
                    self._structures[where] = every.among(self._ids(where), where)
            return self._structures[where]

    def _approximate(self) -> ApproximateIndex | None:
        """The approximate index, where the archive has one of its version."""
        from .approximate import open_index

        with self._lock:
            if not self._quick:
                self._quick.append(open_index(self.archive, self.model))
            return self._quick[0]

    def query(self, what: object) -> Query:
        """A query, of whatever `search` takes, checked; SearchError where it is not one of this model."""
        given = grid_input(what, self.model, self.archive)
        x = checked_query(given.x, self.model)
        # of the same pixels, an observation tells more than an image, and one with its place more than one without
        patch = given.patch
        seen = patch and (patch.quantity, patch.scale_mm, patch.mu, patch.latitude_deg, patch.longitude_deg)
        key = x.tobytes(), repr(seen)
        with self._lock:
            if key not in self._queries:
                self._queries[key] = Query(x, self.model, given.drawn, given.patch)
                while len(self._queries) > _QUERIES:
                    self._queries.popitem(last=False)
            self._queries.move_to_end(key)
            return self._queries[key]

    # -------------------------------------------------------------------- search

    def search(
        self,
        query: object,
        k: int = 10,
        where: str | None = None,
        group: str = "region",
        exclude_region: str | Collection[str] | None = None,
        *,
        by: str = "embedding",
        weights: Mapping[str, float] | None = None,
        rerank: int | None = None,
    ) -> Matches:
        """The patches of the archive that are most like the query: `solquery.search` says it all."""
        given = grid_input(query, self.model, self.archive)
        found = self.nearest(given, k, where, group, exclude_region, by=by, weights=weights, rerank=rerank)
        usual = weights is None or dict(weights) == shares(compared(by))
        known = partial(self.closeness, by) if usual else None
        return Matches(self._with_rows(found), self.archive, self.query(given).x, self.model.preset, known)

    def nearest(
        self,
        query: object,
        k: int = 10,
        where: str | None = None,
        group: str = "region",
        exclude_region: str | Collection[str] | None = None,
        *,
        by: str = "embedding",
        weights: Mapping[str, float] | None = None,
        rerank: int | None = None,
    ) -> list[Match]:
        """`search`, without the rows of the patches that are found."""
        by = compared(by)
        with self._lock:
            self._refresh()
        given = grid_input(query, self.model, self.archive)
        asked = self.query(given)
        if rerank is None:
            rerank = self.rerank_depth(given, by)

        def find(k: int, group: str) -> list[Match]:
            return self._nearest(asked, k, where, group, exclude_region, by, weights)

        if not rerank:
            return find(k, group)
        checked_vectors(np.zeros((1, 1)), k, group, 1)
        return self.reranked(asked, find, k, group, by, rerank, where)

    def reranked(
        self, asked: Query, find: Callable[[int, str], list[Match]], k: int, group: str, by: str, first: int,
        where: str | None = None,
    ) -> list[Match]:  # fmt: skip
        """The answers of a search, the `first` of them compared with the query again, pixel by pixel."""
        cfg, structural = self.model.preset.encoder.augment, by == STRUCTURE
        compare = partial(self.structure(where).correlations, asked, cfg) if structural else None
        aligner = None if structural else asked.aligner
        return reranked(self.archive, self.model, asked.x, find, k, group, first, aligner, self.pictures, compare)

    def rerank_depth(self, query: object, by: str = "embedding") -> int:
        """How many patches `search` compares again, pixel by pixel, where nothing is said."""
        if compared(by) == STRUCTURE:
            return STRUCTURE_DEPTH
        return RERANK_DEPTH if compared(by) == EMBEDDING and not self.query(query).drawn else 0

    def _nearest(
        self, asked: Query, k: int, where: str | None, group: str, exclude: str | Collection[str] | None, by: str,
        weights: Mapping[str, float] | None,
    ) -> list[Match]:  # fmt: skip
        if by == EMBEDDING:
            quick = self._approximate()
            if quick is not None:
                return quick.nearest(asked.vector, k, group, exclude, where)[0]
            if not self._reads_through(asked, where or None):
                return self._index(where or None).nearest(asked.vector, k, group, exclude)[0]
        patches, distances = self.distances(asked, where, by, weights)
        return patches.ranked(distances, k, group, exclude)

    def _reads_through(self, asked: Query, where: str | None) -> bool:
        """Whether a query is answered by one pass over the embeddings: the first of a session in a large archive."""
        with self._lock:
            if where in self._indexes or not in_lance(self.archive):
                return False
            key = asked.x.tobytes()
            self._first = self._first or key
            return self._first == key and self._embedded_among(where).rows >= _READ_THROUGH

    def _embedded_among(self, where: str | None) -> Embedded:
        with self._lock:
            if where is None:
                return self._there()
            if where not in self._among:
                self._among = {where: Embedded(self.archive, self.model, where)}
            return self._among[where]

    def _passed(self, asked: Query, where: str | None) -> tuple[PatchList, np.ndarray]:
        """All patches and their distances from a query, by one pass; the newest are remembered."""
        key = where, asked.x.tobytes()
        with self._lock:
            if self._measured is None or self._measured[0] != key:
                patches, squares = self._embedded_among(where).squares(asked.vector[0])
                self._measured = key, patches, np.sqrt(squares)
            return self._measured[1:]

    def distances(
        self, asked: Query, where: str | None = None, by: str = "embedding", weights: Mapping[str, float] | None = None
    ) -> tuple[PatchList, np.ndarray]:
        """All patches that meet a condition, and their distances (N,) from a query, as `search` measures them."""
        by = compared(by)
        if by in ("euclidean", "mahalanobis"):
            from .baselines import table_distances

            patches, apart = table_distances(self.archive, asked.values, by, where, preset=self.model.preset.name)
            return patches, apart[0]
        if by == STRUCTURE:
            structure = self.structure(where)
            return structure.patches, structure.distances(asked)
        if by == EMBEDDING:
            if self._reads_through(asked, where or None):
                return self._passed(asked, where or None)
            index = self._index(where or None)
            return index, index.distances(asked.vector)[0]
        weights = shares(by) if weights is None else weights
        # the embedding has the scale of the whole archive: a match is as far away whatever else may be found
        every = self._index(None).appearance_scale if where and weights.get(EMBEDDING, 0.0) > 0 else None
        index = self._index(where or None)
        names = tuple(name for name, weight in weights.items() if name != EMBEDDING and weight > 0)
        scored, rows = ScoredParameters({}), np.empty(0, np.int64)
        if names:
            scored, rows = self.scored(names, index)
        apart = mixed_distances(
            index, self.model, asked.x, scored, rows, weights, vector=asked.vector, archive_vectors=every
        )
        return index, apart[0]

    def candidates(self, where: str | None = None) -> int:
        """How many patches a search under a condition is among; 0 where nothing meets it.

        Raises
        ------
        ArchiveError
            For a condition that cannot be read.
        """
        with self._lock:
            self._refresh()
        quick = self._approximate()
        if quick is not None:
            rows = quick.selected(where or None)
            return len(quick) if rows is None else len(rows)
        if not where:
            return len(self.index())
        return len(self._index(where)) if self.archive.count(where) else 0

    def scored(self, names: tuple[str, ...], patches: PatchList) -> tuple[ScoredParameters, np.ndarray]:
        """Scores of some parameters of the whole archive, and the rows (N,) in them of some patches."""
        return self._parameters.scored(names, patches)

    def scores(self, columns: Sequence[str]) -> dict[str, NormalScores]:
        """Normal scores of columns, ``tuf`` or ``grid_tuf``, among the whole archive."""
        return self._parameters.scores(columns)

    def pictures(self, matches: Sequence[Match]) -> np.ndarray:
        """(N, H, W) float32 in preset units, the patches of matches."""
        return pictures_of(self.archive, self.model.preset, matches)

    def _with_rows(self, matches: list[Match]) -> list[Match]:
        """Matches with the rows of their patches."""
        named = {match.id: match.place for match in matches if match.place is not None}
        found: dict[str, Document] = {}
        if named and in_lance(self.archive):
            with self._lock:
                self._rows = self._rows or RowReader(self.archive, row_columns(self.archive))
                found = self._rows.rows(named)
        absent = [match.id for match in matches if match.id not in found]
        found |= rows_of(self.archive, absent)
        return [replace(match, row=found.get(match.id, {})) for match in matches]

    # ----------------------------------------------------------------- closeness

    def closeness(self, by: str = "embedding") -> Closeness | None:
        """Distances between patches of the whole archive, which say whether that of a match is a small one.

        Returns
        -------
        Closeness, made once for a state of the archive; None where it would cost far more than a search: of the
        paper's distances, of structure before all is read, in 200,000 patches or more without an approximate index.

        Examples
        --------
        ``session.closeness().close(matches[0].distance)``
        """
        by = compared(by)
        with self._lock:
            self._refresh()
            loaded = None in (self._structures if by == STRUCTURE else self._indexes)
            loaded |= by != STRUCTURE and self._there().rows < _READ_THROUGH
            quick = self._approximate() if by == EMBEDDING else None
            known = self._close[by] = self._close.get(by) or closeness(self, by, quick, loaded)
            return known

    def close(self, query: object) -> bool | None:
        """Whether some patch of the archive looks like a query; None where that cannot be judged."""
        known = self.closeness()
        found = [] if known is None else self.nearest(query, 1, group="none", rerank=0)
        return known.close(found[0].distance) if known is not None and found else None

    # ------------------------------------------------------------------- explain

    def explain(
        self,
        query: object,
        matches: Sequence[Match],
        *,
        by: str = "embedding",
        where: str | None = None,
        weights: Mapping[str, float] | None = None,
        observed: Mapping[str, float] | None = None,
    ) -> list[Explanation]:
        """What can be said of each of the `matches` of a search; the other parameters are those of the search.

        `observed` are parameters of the query as measured at native scale. Without them they are measured where the
        query is a patch with a scale, and else estimated from its grid, by the model's calibration.
        """
        with self._lock:
            self._refresh()
        given = grid_input(query, self.model, self.archive)
        if observed is None and given.patch is not None and given.patch.scale_mm is not None:
            observed = measure_patch(given.patch)
        return explained(self, self.query(given), matches, compared(by), where, weights, observed)
