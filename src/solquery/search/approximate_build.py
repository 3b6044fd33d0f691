"""Building an approximate index beside an archive, in bounded memory, and finding how deep it has to look.

How many lists and candidates a search needs depends on how the embeddings lie, so it is measured: some patches of the
archive are taken as queries, each as if its own region were not there, since a query is rarely a frame of the archive;
the index is asked ever deeper until it finds the share of the truth that is wanted.
"""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from ..archive.grid_names import where_on_grid
from ..archive.places import whole
from ..archive.rows import at_version, places_of, rows_with_places, version_of
from . import approximate_files as files
from .approximate import ApproximateIndex, faiss_module
from .approximate_files import About, IndexingError, Setting
from .exact import half_squares
from .index import SearchError
from .provenance import embed_with, made_with

if TYPE_CHECKING:
    import faiss as faiss_types

    from ..archive.store import Archive
    from ..protocols import Model

__all__ = ["FEWEST", "build_index"]

#: told what is being done, and the fraction of the whole that is
Progress = Callable[[str, float], None]

#: rows that an index is made for; fewer are searched exactly in a millisecond
FEWEST = 1000
#: rows read and coded at a time, rows that a list is learned from, rows of the truth taken at a time
_BLOCK, _LEARNED_FROM, _TRUE = 65536, 40, 131072
#: queries that recall is measured by, answers of each, and the share of them to be found
_ASKED, _K, _RECALL = 100, 10, 0.99
_MOST_CANDIDATES = 16_384


def build_index(archive: Archive, model: Model, progress: Progress | None = None, seed: int = 0) -> About:
    """Make the approximate index of an archive for the encoder of a model; it replaces the one before.

    The archive is read at the version that it has now. The index appears when it is complete; a process that is
    killed leaves the one before as it was.

    Parameters
    ----------
    archive
        A local one, embedded by this model (`embed_archive`).
    model
        Whose encoder made the embeddings.
    progress
        Called with what is being done and the fraction done.
    seed
        Of the rows that the lists are learned from, and of the queries.

    Raises
    ------
    IndexingError
        When Faiss is missing, the archive is not local, too small, or being indexed by another process.
    SearchError
        When it has no embeddings of this encoder.
    """
    began, tell = time.monotonic(), progress or (lambda what, fraction: None)
    faiss = faiss_module()
    if archive.path is None:
        raise IndexingError(f"{archive.uri} is not local; copy the archive to a directory to make an index")
    version = version_of(archive)
    then = at_version(archive, version)
    where = _embedded_where(then, model)
    places = places_of(then, where)
    if len(places) < FEWEST:
        raise IndexingError(
            f"{archive.uri} has {len(places)} patches with an embedding: fewer than {FEWEST} need no index, "
            "they are searched one by one"
        )
    code, _, preset = made_with(model).partition("_")
    mine = f"{code[:16]}_{preset}".replace("-", "_")
    with files.being_built(archive.path, f"{mine}-{version}") as folder:
        length, regions = _write_columns(then, where, places, folder, tell)
        lists = 2 ** round(np.log2(np.sqrt(len(places))))
        index = _learned(faiss, folder, (len(places), length), lists, seed, tell)
        for start in range(0, len(places), _BLOCK):
            index.add(_rows(folder, start, min(start + _BLOCK, len(places))))
            tell("coding embeddings", 0.35 + 0.45 * start / len(places))
        faiss.write_index(index, str(folder / "lists.faiss"))
        del index
        about = {
            "encoder": made_with(model),
            "version": version,
            "rows": len(places),
            "without": len(then) - len(places),
            "length": length,
            "regions": regions,
            "lists": int(lists),
            "settings": {group: Setting(1, _K, 0.0) for group in ("none", "region")},
            "seconds": 0.0,
            "peak_bytes": 0,
        }
        files.write_about(folder, about)
        about["settings"] = _measured(ApproximateIndex(folder, archive), folder, seed, tell)
        about["seconds"] = time.monotonic() - began
        about["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        (folder / "about.json").unlink()
        files.write_about(folder, about)
        tell("index done", 1.0)
    found = next(a for a, _ in files.indexes(archive.path) if a.encoder == about["encoder"])
    return found


def _embedded_where(archive: Archive, model: Model) -> str:
    advice = embed_with(archive, model)
    if not {"embedding", "embedding_model"} <= set(archive.columns):
        raise SearchError(f"the {len(archive)} patches of {archive.uri} have no embeddings; {advice}")
    where = f"embedding_model = '{model.encoder_hash}' AND embedding IS NOT NULL"
    preset = getattr(model, "preset", None)
    if preset is not None and "grid_preset" in archive.columns:
        where += f" AND {where_on_grid(archive.columns, preset)}"
    if not len(places_of(archive, where)):
        raise SearchError(
            f"{archive.uri} has no embedding by the encoder and preset of model {model.name!r} "
            f"({str(model.encoder_hash)[:12]}); {advice}"
        )
    return where


def _write_columns(archive: Archive, where: str, places: np.ndarray, folder: Path, tell: Progress) -> tuple[int, int]:
    """Vectors, ids and regions in the order of `places`, and what is derived from them; (length, regions)."""
    ids: list[pa.Array] = []
    regions: list[pa.Array] = []
    order: list[np.ndarray] = []
    vectors: _Rows | None = None
    halves = np.empty(len(places), np.float32)
    done = 0
    for at, batch in rows_with_places(archive, ["id", "region", "embedding"], where):
        column = batch.column("embedding")
        length = column.type.list_size
        if vectors is None:
            vectors = _Rows(folder / "vectors.npy", (len(places), length))
        rows = np.searchsorted(places, at)
        block = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, length).astype(np.float32, copy=False)
        vectors.put(rows, block)
        halves[rows] = half_squares(block)
        order.append(rows.astype(np.int32 if len(places) < 2**31 else np.int64))
        # copied: the column itself would keep the whole batch, embeddings and all
        ids.append(batch.column("id").take(pa.array(np.arange(len(at)))))
        regions.append(batch.column("region").dictionary_encode())
        done += len(at)
        tell("reading embeddings", 0.2 * done / len(places))
    assert vectors is not None  # there are rows
    vectors.close()
    if done != len(places):
        raise IndexingError(
            f"{done:,} of {len(places):,} rows could be read of {archive.uri}; run `solquery archive check`"
        )
    back = np.argsort(np.concatenate(order))
    names = whole(pa.chunked_array(ids))
    del ids
    if not np.array_equal(back, np.arange(len(back))):
        names = names.take(pa.array(back))
    ranks = np.empty(len(places), np.int32 if len(places) < 2**31 else np.int64)
    ranks[np.asarray(pc.array_sort_indices(names))] = np.arange(len(places))
    feather.write_feather(
        pa.table({"id": names}), str(folder / "ids.arrow"), compression="uncompressed", chunksize=2**30
    )
    coded = whole(pa.chunked_array(regions).unify_dictionaries())
    codes = np.asarray(coded.indices).astype(np.int32)[back]
    feather.write_feather(pa.table({"region": coded.dictionary}), str(folder / "regions.arrow"))
    for name, array in {"halves": halves, "places": places, "ranks": ranks, "codes": codes}.items():
        np.save(folder / f"{name}.npy", array)
    return vectors.shape[1], len(coded.dictionary)


class _Rows:
    """A .npy file of float32 written by runs of rows: a map of it would count as memory."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._file = path.open("wb")
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start = self._file.tell()

    def put(self, rows: np.ndarray, block: np.ndarray) -> None:
        """Write rows of `block` at their places, runs of neighbours at once."""
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            self._file.seek(self._start + int(rows[first]) * self.shape[1] * 4)
            self._file.write(np.ascontiguousarray(block[first:last], "<f4").data)

    def close(self) -> None:
        self._file.truncate(self._start + 4 * self.shape[0] * self.shape[1])
        self._file.close()


def _rows(folder: Path, start: int, stop: int) -> np.ndarray:
    """Some rows of the vectors in memory, and nothing of the others."""
    return np.array(np.load(folder / "vectors.npy", mmap_mode="r")[start:stop])


def _learned(
    faiss: ModuleType, folder: Path, shape: tuple[int, int], lists: int, seed: int, tell: Progress
) -> faiss_types.Index:
    """An empty index with its lists and codes, learned from some rows of the (N, D) vectors."""
    tell("learning lists of neighbours", 0.2)
    n, length = shape
    # two numbers of the embedding in four bits, or as many as divide it
    divisors = [part for part in range(1, length + 1) if length % part == 0]
    parts = max([part for part in divisors if 4 * part >= length and 2 * part <= length], default=length)
    index = faiss.index_factory(length, f"IVF{lists},PQ{parts}x4fs")
    index.cp.seed = index.pq.cp.seed = seed + 1
    sample = np.sort(np.random.default_rng(seed).choice(n, min(n, max(_LEARNED_FROM * lists, 4096)), replace=False))
    blocks = range(0, n, _TRUE)
    cuts = np.searchsorted(sample, [*blocks, n])
    chosen = [
        _rows(folder, start, min(start + _TRUE, n))[sample[first:last] - start]
        for start, first, last in zip(blocks, cuts[:-1], cuts[1:], strict=True)
    ]
    index.train(np.concatenate(chosen))
    return index


# ------------------------------------------------------------------- recall


def _measured(index: ApproximateIndex, folder: Path, seed: int, tell: Progress) -> dict[str, Setting]:
    """The least deep setting of each kind of search that finds enough of the truth."""
    tell("measuring recall", 0.8)
    rng = np.random.default_rng(seed + 1)
    asked = np.sort(rng.choice(len(index), min(_ASKED, len(index)), replace=False))
    queries = np.array(index.vectors[asked])
    own = index.codes[asked]
    truth = _truth(queries, own, index.codes, len(index.regions), folder)
    out = {}
    for group in ("none", "region"):
        setting = _recall(index, queries, own, truth[group], group, max(index.about.lists // 64, 4), 500)
        while setting.recall < _RECALL:
            # whether lists or candidates are missing is seen by trying each
            more = []
            if setting.probes < index.about.lists:
                more.append((min(2 * setting.probes, index.about.lists), setting.candidates))
            if setting.candidates < _MOST_CANDIDATES:
                more.append((setting.probes, 2 * setting.candidates))
            if not more:
                break
            trials = [_recall(index, queries, own, truth[group], group, *depths) for depths in more]
            setting = max(trials, key=lambda trial: trial.recall)
        out[group] = setting
    if min(setting.recall for setting in out.values()) < _RECALL:
        warnings.warn(
            f"the index finds {min(s.recall for s in out.values()):.3f} of what an exact search does, at its deepest",
            stacklevel=2,
        )
    return out


def _recall(
    index: ApproximateIndex,
    queries: np.ndarray,
    own: np.ndarray,
    truth: np.ndarray,
    group: str,
    probes: int,
    candidates: int,
) -> Setting:
    """The share of the answers that are as near as the truth, of which there may be several at one distance."""
    setting, found = Setting(probes, candidates, 0.0), 0
    for query, code, reach in zip(queries, own, truth, strict=True):
        _, squares = index.by_lists(query[None], _K, group, None, np.flatnonzero(index.codes == code), setting)
        # the last of the truth may be missing where there are fewer; it is infinite then
        wanted = np.isfinite(reach).sum()
        found += min(int((squares[0] <= reach[:wanted].max(initial=0.0)).sum()), wanted) / max(wanted, 1)
    return Setting(probes, candidates, found / len(queries))


def _truth(
    queries: np.ndarray, own: np.ndarray, codes: np.ndarray, regions: int, folder: Path
) -> dict[str, np.ndarray]:
    """Squared distances (Q, 10) of the nearest rows, and regions, of each query outside its own region.

    The archive is read a few rows at a time. Single precision will do; distances are widened by its error.
    """
    middle = queries.mean(0)
    asked = queries - middle
    near = np.full((len(queries), _K), np.inf, np.float32)
    least = np.full((len(queries), regions), np.inf, np.float32)
    for start in range(0, len(codes), _TRUE):
        part = _rows(folder, start, min(start + _TRUE, len(codes))) - middle
        here = codes[start : start + _TRUE]
        # half the squared distance, less what is the same for all rows
        apart = half_squares(part)[None] - asked @ part.T
        apart[own[:, None] == here[None]] = np.inf
        near = np.partition(np.concatenate([near, apart], 1), _K - 1, axis=1)[:, :_K]
        order = np.argsort(here, kind="stable")
        there, first = np.unique(here[order], return_index=True)
        least[:, there] = np.minimum(least[:, there], np.minimum.reduceat(apart[:, order], first, axis=1))
    if regions < _K:
        least = np.pad(least, ((0, 0), (0, _K - regions)), constant_values=np.inf)
    lengths = (asked.astype(np.float64) ** 2).sum(1)[:, None]
    out = {}
    for group, halves in (("none", near), ("region", np.partition(least, _K - 1, axis=1)[:, :_K])):
        squares = np.sort(2.0 * halves.astype(np.float64) + lengths, axis=1)
        out[group] = squares + 1e-5 * (np.abs(squares) + lengths)
    return out
