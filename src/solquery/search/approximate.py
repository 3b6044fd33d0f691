"""Search among millions of embeddings: lists of neighbours say which few to look at, true distances rank them.

The index is Faiss's inverted file with product-quantised codes of four bits (IVF-PQ, fast scan). It only proposes
candidates; distances and their order come from the embeddings themselves, which lie in a file beside it. An index is
of one version of the archive and of one encoder, and where it does not fit, `open_index` says so and gives none.

Jégou, Douze & Schmid 2011 (doi:10.1109/TPAMI.2010.57); André, Kermarrec & Le Scouarnec 2015 (PVLDB 9, 288) for the
scan; Douze et al. 2024 (arXiv:2401.08281) for the library.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import feather

from ..archive.rows import at_version, places_of, version_of
from . import approximate_files as files
from .approximate_files import About, IndexingError, Setting
from .exact import all_squares, one_per_region
from .index import Match, SearchError, checked_vectors, nearest, nearest_of_all, region_names
from .provenance import indexed_with

if TYPE_CHECKING:
    import faiss

    from ..archive.store import Archive
    from ..protocols import Model

__all__ = ["EXACT_ROWS", "ApproximateIndex", "faiss_module", "open_index"]

#: an archive of more rows than this should have an index; so many rows that meet a condition are searched one by one
WORTH_AN_INDEX, EXACT_ROWS = 1_500_000, 200_000
#: nearest patches among which regions are sought before all distances are taken
_DEEPEST = 16_384
_CONDITIONS, _GATHERED = 32, 2
_OPENED: OrderedDict[Path, ApproximateIndex] = OrderedDict()
_LOCK = threading.RLock()


class _Gathered(NamedTuple):
    """Some rows of an index, and what is known of them, in memory."""

    rows: np.ndarray
    vectors: np.ndarray
    halves: np.ndarray
    codes: np.ndarray


def faiss_module() -> ModuleType:
    """Faiss, or what to do where it is missing.

    Raises
    ------
    IndexingError
        When it is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise IndexingError('an index needs Faiss: pip install "solquery[index]"') from None
    return faiss


class ApproximateIndex:
    """An index on disk, opened; may be used from several threads.

    Parameters
    ----------
    folder
        Of the index; see `approximate_files`.
    archive
        That it belongs to.

    Raises
    ------
    IndexingError
        When Faiss is missing, or a file is not what it was.
    """

    def __init__(self, folder: Path, archive: Archive) -> None:
        self._faiss = faiss_module()
        about = files.read_about(folder)
        if about is None:
            raise files.Damaged(f"{folder} holds no index that can be read; build it again with `solquery index`")
        files.check(folder, about)
        self.folder, self.about = folder, about
        # what is written to the archive while this is open does not change which rows a condition means
        self._then = at_version(archive, about.version)
        self._lists = self._faiss.read_index(str(folder / "lists.faiss"))
        self._ivf = self._faiss.extract_index_ivf(self._lists)
        # as a plain array: the class of maps costs more than the reading of a few rows
        self.vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="r"))
        self.codes = np.load(folder / "codes.npy")
        self._halves = np.asarray(np.load(folder / "halves.npy", mmap_mode="r"))
        self._places, self._ranks = np.load(folder / "places.npy"), np.load(folder / "ranks.npy")
        self._ids = feather.read_table(str(folder / "ids.arrow"), memory_map=True)["id"]
        self.regions: pa.ChunkedArray = feather.read_table(str(folder / "regions.arrow"))["region"]
        self._conditions: OrderedDict[str, np.ndarray] = OrderedDict()
        self._gathered: OrderedDict[str, _Gathered] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.about.rows

    # ------------------------------------------------------------ conditions

    def selected(self, where: str | None) -> np.ndarray | None:
        """Rows of the index that meet a condition, in the order of their ids; None for all of them.

        Raises
        ------
        ArchiveError
            When the condition cannot be read.
        SearchError
            When nothing meets it.
        """
        if not where:
            return None
        with self._lock:
            if where in self._conditions:
                self._conditions.move_to_end(where)
                return self._conditions[where]
        asked = places_of(self._then, where)
        at = np.minimum(np.searchsorted(self._places, asked), len(self._places) - 1)
        rows = at[self._places[at] == asked]
        if not len(asked):
            raise SearchError(f"no patch matches {where!r}; widen the condition")
        if not len(rows):
            raise SearchError(f"none of the {len(asked)} patches that match {where!r} has an embedding; widen it")
        rows = rows[np.argsort(self._ranks[rows])]
        with self._lock:
            self._conditions[where] = rows
            while len(self._conditions) > _CONDITIONS:
                self._conditions.popitem(last=False)
        return rows

    def _of_regions(self, names: Collection[str]) -> np.ndarray:
        """Rows of some regions."""
        if not names:
            return np.zeros(0, np.int64)
        known = np.asarray(pa.compute.index_in(pa.array(list(names), pa.string()), value_set=self.regions).drop_null())
        return np.flatnonzero(np.isin(self.codes, known))

    # ---------------------------------------------------------------- search

    def nearest(
        self,
        queries: np.ndarray,
        k: int = 1,
        group: str = "region",
        exclude_region: str | Collection[str] | None = None,
        where: str | None = None,
    ) -> list[list[Match]]:
        """The `k` nearest patches of each query embedding (Q, D), without their rows; see `search`."""
        rows, squares = self.nearest_rows(queries, k, group, exclude_region, where)
        regions = self.regions
        return [
            [
                Match(
                    self._ids[int(row)].as_py(),
                    regions[int(self.codes[row])].as_py(),
                    float(distance),
                    rank,
                    place=int(self._places[row]),
                )
                for rank, (row, distance) in enumerate(zip(line, np.sqrt(apart), strict=True), start=1)
            ]
            for line, apart in zip(rows, squares, strict=True)
        ]

    def nearest_rows(
        self,
        queries: np.ndarray,
        k: int = 1,
        group: str = "region",
        exclude_region: str | Collection[str] | None = None,
        where: str | None = None,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Row numbers and squared distances (float64) of what `nearest` gives; equal ones in the order of their ids.

        Where few enough rows meet `where` all of them are looked at, and the answer is exact.
        """
        queries = checked_vectors(queries, k, group, self.about.length)
        allowed = self.selected(where)
        excluded = self._of_regions(region_names(exclude_region))
        if allowed is not None and len(allowed) <= EXACT_ROWS:
            return self._among(queries, k, group, self._gather(str(where), allowed), np.unique(self.codes[excluded]))
        if allowed is not None and len(excluded):
            allowed = allowed[~np.isin(self.codes[allowed], np.unique(self.codes[excluded]))]
        return self.by_lists(queries, k, group, allowed, excluded, self.about.settings[group])

    def _gather(self, where: str, rows: np.ndarray) -> _Gathered:
        """What is compared where few rows meet a condition; that of the newest conditions stays in memory."""
        with self._lock:
            if where in self._gathered:
                self._gathered.move_to_end(where)
                return self._gathered[where]
        found = _Gathered(rows, self.vectors[rows], self._halves[rows], self.codes[rows])
        with self._lock:
            self._gathered[where] = found
            while len(self._gathered) > _GATHERED:
                self._gathered.popitem(last=False)
        return found

    def _among(
        self, queries: np.ndarray, k: int, group: str, here: _Gathered, excluded: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """All of some rows looked at, but those of excluded regions."""
        halves = np.where(np.isin(here.codes, excluded), np.float32(np.inf), here.halves)
        lines, apart = nearest_of_all(queries, k, group, here.vectors, here.codes, halves)
        return [here.rows[line] for line in lines], apart

    def by_lists(
        self,
        queries: np.ndarray,
        k: int,
        group: str,
        allowed: np.ndarray | None,
        excluded: np.ndarray,
        setting: Setting,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The lists of neighbours asked, as deep as a setting says."""
        selector, kept = self._selector(allowed, excluded)
        available = len(self) - len(excluded) if allowed is None else len(allowed)
        # of the rows in a list only some may be candidates, so more lists are looked at
        share = max(available, 1) / len(self)
        probes = min(int(np.ceil(setting.probes / share)), self.about.lists)

        def find(some: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
            wanted = min(max(setting.candidates, 4 * depth), max(available, 1))
            pairs = [self._candidates(query, depth, wanted, probes, selector) for query in some]
            return np.stack([rows for rows, _ in pairs]), np.stack([squares for _, squares in pairs])

        if group == "none":
            rows, squares = find(queries, min(k, max(available, 1)))
            return [line[line >= 0] for line in rows], [s[line >= 0] for s, line in zip(squares, rows, strict=True)]
        lines, apart, left = one_per_region(find, queries, k, self.codes, available, _DEEPEST)
        for at in left:
            lines[at], apart[at] = self._all(queries[at], k, allowed, excluded)
        del kept
        return lines, apart

    def _selector(self, allowed: np.ndarray | None, excluded: np.ndarray) -> tuple[faiss.IDSelector | None, object]:
        """What Faiss asks whether a row may be found, and what must be kept as long as it does."""
        if allowed is None and not len(excluded):
            return None, None
        if allowed is None:
            batch = self._faiss.IDSelectorBatch(excluded)
            return self._faiss.IDSelectorNot(batch), batch
        mask = np.zeros(len(self), bool)
        mask[allowed] = True
        bits = np.packbits(mask, bitorder="little")
        return self._faiss.IDSelectorBitmap(bits), bits

    def _candidates(
        self, query: np.ndarray, depth: int, wanted: int, probes: int, selector: faiss.IDSelector | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `depth` nearest of `wanted` candidates, by true distance."""
        while True:
            asked = self._faiss.SearchParametersIVF(nprobe=probes, sel=selector)
            found = self._lists.search(query[None].astype(np.float32), wanted, params=asked)[1][0]
            found = found[found >= 0]
            if len(found) >= min(depth, wanted) or probes >= self.about.lists:
                break
            probes = min(4 * probes, self.about.lists)
        found.sort()
        squares = all_squares(query, self.vectors[found])
        order = np.lexsort((self._ranks[found], squares))[:depth]
        rows, apart = np.full(depth, -1, np.int64), np.full(depth, np.inf)
        rows[: len(order)], apart[: len(order)] = found[order], squares[order]
        return rows, apart

    def _all(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None, excluded: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """One per region after all distances: where the nearest frames belong to a few enormous regions."""
        squares = all_squares(query, self.vectors)
        if allowed is not None:
            inside = np.full(len(self), np.inf)
            inside[allowed] = squares[allowed]
            squares = inside
        squares[excluded] = np.inf
        line = nearest(squares[None], k, self.codes)[0]
        return line, squares[line]


def open_index(archive: Archive, model: Model) -> ApproximateIndex | None:
    """The index of an archive for the encoder of a model; opened once in a process.

    Returns
    -------
    ApproximateIndex, or None where there is none that fits: the search is then exact.

    Warns
    -----
    UserWarning
        When there is one that is of an earlier version of the archive, is damaged, or needs Faiss; and when an archive
        is so large that it should have one.
    """
    path = getattr(archive, "path", None)
    if path is None:
        return None
    version = version_of(archive)
    names = indexed_with(archive, model)
    mine = [(about, folder) for about, folder in files.indexes(path) if about.encoder in names]
    if not mine:
        if len(archive) > WORTH_AN_INDEX:
            _tell(f"{len(archive):,} patches are compared one by one; `solquery index {archive.uri}` makes it quick")
        return None
    for about, folder in mine:
        if about.version == version:
            return _opened(folder, archive, about)
    _tell(
        f"the index is of version {mine[0][0].version} of the archive, which is {version} by now: searching without; "
        f"build it again with `solquery index {archive.uri}`"
    )
    return None


def _opened(folder: Path, archive: Archive, about: About) -> ApproximateIndex | None:
    with _LOCK:
        key = folder.resolve()
        found = _OPENED.get(key)
        try:
            if found is None:
                found = _OPENED[key] = ApproximateIndex(folder, archive)
                while len(_OPENED) > 2:
                    _OPENED.popitem(last=False)
        except (IndexingError, OSError, ValueError, RuntimeError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            _tell(f"searching without the index: {reason}")
            return None
        _OPENED.move_to_end(key)
    if about.without:
        _tell(f"{about.without:,} of {about.rows + about.without:,} patches have no embedding of this encoder")
    return found


def _tell(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
