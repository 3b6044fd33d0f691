"""What a search reads of an archive: the embeddings that one encoder made, and the rows of the answers."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..aliases import Row
from ..archive.grid_names import GRID_COLUMNS, grid_names
from ..archive.places import whole
from ..archive.rows import in_lance, rows_at, rows_with_places, table_with_places
from ..archive.tables import quoted
from .index import EmbeddingIndex, other_length
from .patch_list import Match, PatchList, SearchError
from .provenance import embed_with, other_encoder, other_preset

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..config import Preset
    from ..protocols import Model

__all__ = ["Embedded", "load_index", "pictures_of", "row_columns", "rows_of"]


def rows_of(archive: Archive, ids: Collection[str]) -> dict[str, Row]:
    """Metadata and parameters of the patches `ids`, by id, without the embedding."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    table = archive.table(columns=row_columns(archive), where=f"id IN ({quoted(wanted)})")
    return {row["id"]: row for row in table.to_pylist()}


def pictures_of(archive: Archive, preset: Preset, matches: Sequence[Match]) -> np.ndarray:
    """(N, H, W) float32 in preset units, the patches of matches."""
    ids = [match.id for match in matches]
    places = [match.place for match in matches if match.place is not None]
    if len(places) == len(ids) and in_lance(archive):
        sums = {row["id"]: row["checksum"] for row in rows_at(archive, places, ["id", "checksum"])}
        if all(name in sums for name in ids):
            return archive.prepared_few(preset, pa.table({"id": ids, "checksum": [sums[name] for name in ids]}))
    names, x = archive.prepared(preset, ids=ids)
    place = {name: k for k, name in enumerate(names)}
    return np.stack([np.asarray(x[place[name]], np.float32) for name in ids])


def row_columns(archive: Archive) -> list[str]:
    """Columns of the archive that the row of a match has: all but the embedding."""
    return [name for name in archive.columns if name != "embedding"]


def load_index(archive: Archive, model: Model, where: str | None = None) -> EmbeddingIndex:
    """The embeddings that the encoder of `model` made of the patches `where` selects, sorted by id.

    Raises
    ------
    SearchError
        When `where` matches no patch, no patch is embedded, or those that are were embedded by another encoder, or as
        another preset shows them.

    Warns
    -----
    UserWarning
        When some patches have no embedding of this encoder and preset, and so cannot be found.
    """
    return Embedded(archive, model, where).index()


class Embedded:
    """Which patches of an archive are embedded, and by what; the embeddings are read by `index`.

    Parameters
    ----------
    archive, model, where
        As for `load_index`.

    Attributes
    ----------
    rows
        How many patches `where` selects.
    missing
        How many of them have no embedding of this encoder and preset.
    """

    def __init__(self, archive: Archive, model: Model, where: str | None = None) -> None:
        self._archive, self._model, self._where = archive, model, where
        present = set(archive.columns)
        names = ["id", "region", *(name for name in ("embedding_model", *GRID_COLUMNS) if name in present)]
        self._places, table = table_with_places(archive, names, where)
        self._ids, self._regions = whole(table["id"]), whole(table["region"])
        self.rows = len(self._ids)
        absent = pa.chunked_array([pa.nulls(self.rows, pa.string())])
        models = table["embedding_model"] if "embedding_model" in names else absent
        presets = grid_names(table) if "grid_preset" in names else None
        # asked once: a property that looks at every weight of the encoder; the texts, a hash a row, are not kept
        self._usable, self._models = _equal(models, model.encoder_hash), models.unique().to_pylist()
        self._same = None if presets is None else _equal(presets, model.preset.name)
        self._presets = [] if presets is None else presets.unique().to_pylist()

    @property
    def missing(self) -> int:
        """Patches without an embedding of this encoder and preset."""
        return self.rows - int(self._fitting.sum())

    @property
    def _fitting(self) -> np.ndarray:
        return self._usable if self._same is None else self._usable & self._same

    def encoders(self) -> set[str]:
        """Hashes of the encoders that made the embeddings that are there."""
        return {name for name in self._models if name is not None}

    def index(self) -> EmbeddingIndex:
        """The embeddings; errors and warnings as for `load_index`."""
        order = self._order()
        vectors, filled = self._vectors(self._rank(order), len(order))
        listed, vectors = self._listed(order, filled), vectors if filled.all() else vectors[filled]
        return EmbeddingIndex(listed.id_array, listed.region_array, vectors, listed.places)

    def squares(self, query: np.ndarray) -> tuple[PatchList, np.ndarray]:
        """The patches, and squared distances (N,) float64 of their embeddings from one query (D,).

        The embeddings are read some at a time and none is kept: for a single query less work than `index`, and none
        of its room. Errors and warnings as for `load_index`.
        """
        from .lower_bounds import squares_to

        order = self._order()
        rank = self._rank(order)
        out, filled = np.empty(len(order)), np.zeros(len(order), bool)
        query = np.ascontiguousarray(query, np.float64)
        for at, numbers in self._numbers(rank):
            if numbers.shape[1] != len(query):
                raise SearchError(other_length(len(query), numbers.shape[1]))
            squares = np.empty(len(numbers))
            squares_to(query, numbers, squares)
            kept = at >= 0
            out[at[kept]], filled[at[kept]] = squares[kept], True
        return self._listed(order, filled), out if filled.all() else out[filled]

    def _order(self) -> np.ndarray:
        """Rows that have an embedding that fits, by their ids."""
        self._check()
        ids = self._ids
        if len(ids) < 2 or pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py():
            return np.flatnonzero(self._fitting)
        order = np.asarray(pc.sort_indices(ids))
        return order[self._fitting[order]]

    def _rank(self, order: np.ndarray) -> np.ndarray:
        """Where in an order each row is; -1 for those that are not in it."""
        rank = np.full(self.rows, -1)
        rank[order] = np.arange(len(order))
        return rank

    def _listed(self, order: np.ndarray, filled: np.ndarray) -> PatchList:
        """The patches in an order, those that are `filled`."""
        order = order if filled.all() else order[filled]
        if not len(order):
            raise SearchError(self._none())
        if len(order) < self.rows:
            warnings.warn(
                f"{self.rows - len(order)} of {self.rows} patches have no embedding of this encoder and preset and "
                f"cannot be found; {embed_with(self._archive, self._model)}",
                stacklevel=3,
            )
        places = None if self._places is None else self._places[order]
        if len(order) == self.rows and (order == np.arange(self.rows)).all():
            return PatchList(self._ids, self._regions, places)
        at = pa.array(order)
        return PatchList(self._ids.take(at), self._regions.take(at), places)

    def _check(self) -> None:
        archive, model = self._archive, self._model
        if not self.rows:
            what = f"no patch matches {self._where!r}" if self._where else "the archive is empty"
            raise SearchError(
                f"{what}; {'widen the condition' if self._where else 'add patches with `solquery ingest`'}"
            )
        if not self.encoders() or "embedding" not in archive.columns:
            raise SearchError(self._none())
        if not self._usable.any():
            raise SearchError(other_encoder(self.encoders(), archive, model))
        if not self._fitting.any():
            raise SearchError(other_preset(self._presets, model.preset.name, archive, model))

    def _none(self) -> str:
        return f"the {self.rows} patches searched have no embeddings; {embed_with(self._archive, self._model)}"

    def _vectors(self, rank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(count, D) float32 in the order that `rank` (N,) gives the rows, -1 for none, and which were there."""
        out, filled = np.empty((count, 0), np.float32), np.zeros(count, bool)
        for at, numbers in self._numbers(rank):
            if not out.shape[1]:
                out = np.empty((count, numbers.shape[1]), np.float32)
            if len(at) and at[0] >= 0 and (np.diff(at) == 1).all():
                # the order of the archive is that of the ids: a plain copy
                out[at[0] : at[-1] + 1], filled[at[0] : at[-1] + 1] = numbers, True
                continue
            kept = at >= 0
            out[at[kept]] = numbers if kept.all() else numbers[kept]
            filled[at[kept]] = True
        return out, filled

    def _numbers(self, rank: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Embeddings (n, D) some at a time, without those that are null, and the `rank` of their rows."""
        for at, column in self._parts(rank):
            # flattened, a column leaves out what is null
            numbers = np.asarray(column.flatten()).reshape(-1, column.type.list_size)
            yield (at if column.null_count == 0 else at[~np.asarray(column.is_null())]), numbers

    def _parts(self, rank: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Array]]:
        """Embeddings some at a time, and the `rank` of their rows."""
        if self._places is None:
            yield rank, whole(self._archive.table(columns=["embedding"], where=self._where)["embedding"])
            return
        places = self._places
        if (np.diff(places.astype(np.int64)) <= 0).any():
            order = np.argsort(places)
            places, rank = places[order], rank[order]
        for found, batch in rows_with_places(self._archive, ["embedding"], self._where):
            # a row that was written meanwhile has another place
            start = int(np.searchsorted(places, found[0])) if len(found) else 0
            if np.array_equal(places[start : start + len(found)], found):
                yield rank[start : start + len(found)], batch["embedding"]
                continue
            at = np.minimum(np.searchsorted(places, found), len(places) - 1)
            yield np.where(places[at] == found, rank[at], -1), batch["embedding"]


def _equal(column: pa.ChunkedArray, value: str) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.equal(column, value), False))
