"""What a search reads of an archive: the embeddings that one encoder made, and the rows of the answers."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..archive.grid_names import GRID_COLUMNS, grid_names
from ..archive.places import whole
from ..archive.rows import rows_with_places, table_with_places
from ..archive.tables import quoted
from .index import EmbeddingIndex, SearchError
from .provenance import embed_with, other_encoder, other_preset

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model

__all__ = ["Embedded", "load_index", "row_columns", "rows_of"]


def rows_of(archive: Archive, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Metadata and parameters of the patches `ids`, by id, without the embedding."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    table = archive.table(columns=row_columns(archive), where=f"id IN ({quoted(wanted)})")
    return {row["id"]: row for row in table.to_pylist()}


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
        self._models = table["embedding_model"] if "embedding_model" in names else absent
        self._presets = grid_names(table) if "grid_preset" in names else None
        # asked once: a property that looks at every weight of the encoder
        self._usable = _equal(self._models, model.encoder_hash)
        self._same = None if self._presets is None else _equal(self._presets, model.preset.name)

    @property
    def missing(self) -> int:
        """Patches without an embedding of this encoder and preset."""
        return self.rows - int((self._usable if self._same is None else self._usable & self._same).sum())

    def encoders(self) -> set[str]:
        """Hashes of the encoders that made the embeddings that are there."""
        return {name for name in self._models.unique().to_pylist() if name is not None}

    def index(self) -> EmbeddingIndex:
        """The embeddings; errors and warnings as for `load_index`."""
        self._check()
        usable = self._usable if self._same is None else self._usable & self._same
        order = np.asarray(pc.sort_indices(self._ids))
        order = order[usable[order]]
        rank = np.full(self.rows, -1)
        rank[order] = np.arange(len(order))
        vectors, filled = self._vectors(rank, len(order))
        if not filled.all():
            order, vectors = order[filled], vectors[filled]
        if not len(order):
            raise SearchError(self._none())
        if len(order) < self.rows:
            warnings.warn(
                f"{self.rows - len(order)} of {self.rows} patches have no embedding of this encoder and preset and "
                f"cannot be found; {embed_with(self._archive, self._model)}",
                stacklevel=3,
            )
        at = pa.array(order)
        places = None if self._places is None else self._places[order]
        return EmbeddingIndex(self._ids.take(at), self._regions.take(at), vectors, places)

    def _check(self) -> None:
        archive, model = self._archive, self._model
        if not self.rows:
            what = f"no patch matches {self._where!r}" if self._where else "the archive is empty"
            raise SearchError(
                f"{what}; {'widen the condition' if self._where else 'add patches with `solquery ingest`'}"
            )
        if self._models.null_count == self.rows or "embedding" not in archive.columns:
            raise SearchError(self._none())
        if not self._usable.any():
            raise SearchError(other_encoder(self.encoders(), archive, model))
        if self._same is not None and self._presets is not None and not (self._usable & self._same).any():
            raise SearchError(other_preset(self._presets.unique().to_pylist(), model.preset.name, archive, model))

    def _none(self) -> str:
        return f"the {self.rows} patches searched have no embeddings; {embed_with(self._archive, self._model)}"

    def _vectors(self, rank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(count, D) float32 in the order that `rank` (N,) gives the rows, -1 for none, and which were there."""
        out, filled = np.empty((count, 0), np.float32), np.zeros(count, bool)
        for at, column in self._parts(rank):
            length = column.type.list_size
            if not out.shape[1]:
                out = np.empty((count, length), np.float32)
            # flattened, a column leaves out what is null
            known = ~np.asarray(column.is_null())
            numbers, at = np.asarray(column.flatten()).reshape(-1, length), at[known]
            kept = at >= 0
            out[at[kept]] = numbers if kept.all() else numbers[kept]
            filled[at[kept]] = True
        return out, filled

    def _parts(self, rank: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Array]]:
        """Embeddings some at a time, and the `rank` of their rows."""
        if self._places is None:
            yield rank, whole(self._archive.table(columns=["embedding"], where=self._where)["embedding"])
            return
        order = np.argsort(self._places)
        places, rank = self._places[order], rank[order]
        for found, batch in rows_with_places(self._archive, ["embedding"], self._where):
            # a row that was written meanwhile has another place
            at = np.minimum(np.searchsorted(places, found), len(places) - 1)
            yield np.where(places[at] == found, rank[at], -1), batch["embedding"]


def _equal(column: pa.ChunkedArray, value: str) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.equal(column, value), False))
