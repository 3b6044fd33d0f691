"""The approximate index among millions of embeddings: what it takes to build, how quick it answers, what it finds.

    python benchmarks/index.py --rows 1000000
    python benchmarks/index.py --rows 10000000 --archive DIR
    python benchmarks/index.py --rows 1000000 --uniform

The embeddings spread as those of a real archive do (`--archive`, embedded; else one is simulated and embedded here by
the model that ships). A region's centre is an embedding of the archive moved by half the spread of all of them, and
its 200 frames move around it smoothly, by the spread that frames of one region have there. Queries are frames of
regions that are not in the archive. With `--uniform`, the hard case: unit vectors of all
directions alike, one a region.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from solquery import Archive, Model, simulate
from solquery.encoder import embed_archive
from solquery.search import build_index, nearest, open_index
from solquery.search.exact import all_squares, smallest

K, FRAMES, BLOCK = 10, 200, 100_000
HASH = "benchmark0123456"


class Spread:
    """Embeddings like those of an archive, of as many regions as are asked for."""

    def __init__(self, vectors: np.ndarray, regions: np.ndarray) -> None:
        self.vectors = vectors.astype(np.float32)
        codes = np.unique(regions, return_inverse=True)[1]
        sums = np.stack([np.bincount(codes, column) for column in self.vectors.T], 1)
        within = self.vectors - (sums / np.bincount(codes)[:, None])[codes]
        self.whole = _root(self.vectors - self.vectors.mean(0))
        self.within = _root(within[np.bincount(codes)[codes] > 3])

    def frames(self, regions: int, seed: int) -> np.ndarray:
        """(regions, FRAMES, D) float32."""
        rng, length = np.random.default_rng(seed), self.vectors.shape[1]
        centres = self.vectors[rng.integers(0, len(self.vectors), regions)]
        centres = centres + 0.5 * _normal(rng, (regions, length)) @ self.whole
        out = np.repeat(centres[:, None], FRAMES, 1)
        angle = np.linspace(0, np.pi, FRAMES, dtype=np.float32)
        for j in (1, 2, 3):
            phase = rng.uniform(0, 2 * np.pi, (regions, 1)).astype(np.float32)
            way = _normal(rng, (regions, length)) @ self.within / j
            out += np.sin(j * angle + phase)[:, :, None] * way[:, None]
        out += 0.15 * (_normal(rng, (regions * FRAMES, length)) @ self.within).reshape(out.shape)
        return out


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def _root(x: np.ndarray) -> np.ndarray:
    """(D, D): normal numbers times it spread as the rows of x do."""
    _, values, axes = np.linalg.svd(x, full_matrices=False)
    return (values[:, None] * axes / np.sqrt(len(x))).astype(np.float32)


def known_embeddings(place: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and regions of an archive, or of one that is simulated for the purpose."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive.open(place) if place else Archive.create(f"{folder}/archive")
        if not place:
            archive.add(simulate(60, 15, 0, 1))
            embed_archive(archive, Model.load("physical"))
        table = archive.table(["region", "embedding"], "embedding IS NOT NULL")
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(table), -1), np.asarray(table["region"].to_pylist(), dtype=str)


def blocks(rows: int, spread: Spread | None, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Embeddings and numbers of regions, BLOCK at a time."""
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        if spread is None:
            x = _normal(np.random.default_rng([1, start]), (n, length))
            yield x / np.linalg.norm(x, axis=1, keepdims=True), np.arange(start, start + n)
        else:
            x = spread.frames(-(-n // FRAMES), start + 1).reshape(-1, spread.vectors.shape[1])[:n]
            yield x, np.arange(start, start + n) // FRAMES


def make(folder: Path, rows: int, spread: Spread | None, length: int) -> Archive:
    """An archive of rows without fields, which no search reads."""
    archive = Archive.create(folder)
    kind = pa.list_(pa.float32(), length)
    archive._patches.add_columns([pa.field("embedding", kind), pa.field("embedding_model", pa.string())])
    schema, rng, done = archive._patches.schema, np.random.default_rng(7), 0
    for x, regions in blocks(rows, spread, length):
        n = len(x)
        given: dict[str, Any] = {
            "id": [f"sharp-{i:012d}" for i in range(done, done + n)],
            "region": [f"HARP {r:08d}" for r in regions],
            "source": ["simulated"] * n,
            "mu": rng.random(n),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), length),
            "embedding_model": [HASH] * n,
        }
        columns = {}
        for field in schema:
            none: Any = [""] * n if pa.types.is_string(field.type) else [0] * n
            empty = pa.nulls(n, field.type) if field.nullable else pa.array(none, field.type)
            columns[field.name] = pa.array(given[field.name], field.type) if field.name in given else empty
        archive._patches.add(pa.table(columns, schema=schema))
        done += n
    return archive


def build(folder: str) -> Any:
    """In a process of its own, whose memory is that of building."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        about = build_index(Archive.open(folder), SimpleNamespace(name="benchmark", encoder_hash=HASH))
    return about


def timed(what: Callable[[np.ndarray], Any], queries: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Answers to queries one by one, and milliseconds of each."""
    answers, spent = [], []
    for query in queries:
        began = time.perf_counter()
        answers.append(what(query))
        spent.append(1e3 * (time.perf_counter() - began))
    return answers, np.array(spent)


def by_the_loop(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Difference, square, sum, sort, as many rows at a time as there are in the archive of the paper."""
    parts = [((vectors[s : s + 49_552] - query) ** 2).sum(1) for s in range(0, len(vectors), 49_552)]
    return np.argsort(np.concatenate(parts), kind="stable")[:K]


def report(index: Any, queries: np.ndarray) -> None:
    vectors = index.vectors
    truth, _ = smallest(queries, vectors, K)
    _, spent = timed(lambda q: by_the_loop(q.astype(np.float32), vectors), queries[:3])
    loop = float(np.median(spent))
    print(f"{'loop over all rows':34s} {loop:9.1f} ms")
    _, spent = timed(lambda q: smallest(q[None], vectors, K, index._halves), queries[:5])
    print(
        f"{'exact search over all rows':34s} {np.median(spent):9.1f} ms              {loop / np.median(spent):8.1f} x"
    )
    cases = [(group, where) for where in (None, "mu < 0.01", "mu < 0.1", "mu < 0.5") for group in ("none", "region")]
    for group, where in cases:
        # the first time, a condition is answered by the archive; then it is remembered
        began = time.perf_counter()
        index.nearest_rows(queries[0], K, group, None, where)
        first = 1e3 * (time.perf_counter() - began)

        def ask(query: np.ndarray, group: str = group, where: str | None = where) -> Any:
            return index.nearest_rows(query, K, group, None, where)[0][0]

        answers, spent = timed(ask, queries)
        allowed = index.selected(where)
        few = min(len(queries), 20 if group == "region" or where else len(queries))
        found = []
        for at in range(few):
            if group == "none" and where is None:
                best = truth[at]
            else:
                rows = np.arange(len(index)) if allowed is None else allowed
                squares = all_squares(queries[at], vectors[rows] if allowed is not None else vectors)
                best = rows[nearest(squares[None], K, index.codes[rows] if group == "region" else None)[0]]
            found.append(len(np.intersect1d(best, answers[at])) / len(best))
        name = f"{'by region' if group == 'region' else 'every patch'}, {where or 'no condition'}"
        middle = np.median(spent)
        print(
            f"{name:34s} {middle:9.1f} ms (95 %: {np.percentile(spent, 95):6.1f}) {loop / middle:8.1f} x"
            f"  recall@{K} {np.mean(found):.3f}" + (f"  first time {first:.0f} ms" if where else ""),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--archive", help="embedded archive whose embeddings the benchmark's are like")
    parser.add_argument("--uniform", action="store_true")
    parser.add_argument("--length", type=int, default=100, help="numbers of an embedding, with --uniform")
    parser.add_argument("--folder", help="where to put the archive, 9 GB for ten million rows; removed afterwards")
    asked = parser.parse_args()
    spread = None if asked.uniform else Spread(*known_embeddings(asked.archive))
    length = asked.length if spread is None else spread.vectors.shape[1]
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        began = time.perf_counter()
        archive = make(folder / "archive", asked.rows, spread, length)
        took = time.perf_counter() - began
        kind = "uniform" if spread is None else "as in an archive"
        print(f"{len(archive):,} rows x {length}, {kind}; written in {took:.0f} s")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            about = pool.apply(build, (str(folder / "archive"),))
        print(
            f"index built in {about.seconds:.0f} s with {about.peak_bytes / 1e9:.2f} GB of memory at most; "
            f"{about.bytes / 1e9:.2f} GB on disk, {about.files['vectors.npy']['bytes'] / 1e9:.2f} of it the embeddings"
        )
        print(f"{about.lists} lists, {about.settings}", flush=True)
        began = time.perf_counter()
        index = open_index(archive, SimpleNamespace(name="benchmark", encoder_hash=HASH))
        assert index is not None
        print(f"opened in {time.perf_counter() - began:.2f} s")
        if spread is None:
            queries = _normal(np.random.default_rng(2), (asked.queries, length))
            queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        else:
            queries = spread.frames(asked.queries, 10**9)[:, FRAMES // 2]
        report(index, queries)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
