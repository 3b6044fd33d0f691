"""Exact search over the archive of the paper, against a loop of difference, square, sum and argsort.

    python benchmarks/search.py
    python benchmarks/search.py --archive DIR
    python benchmarks/search.py --rows 500000 --queries 200

Both answer with the ten nearest of each query. The loop is timed on some of the queries, with numbers as they are kept
(single precision); its answers are compared with a loop in double precision, in which no two different distances of
such vectors fall together. Some vectors come three times, so that there are ties.

The embeddings spread as those of an archive do (`--archive`, embedded; else a small one is simulated and embedded by
the model that ships; `benchmarks/index.py` says how), 27 frames a region as in the paper's archive; queries are of
regions that are not in it. Then once more with normal numbers in all directions alike, which no encoder gives and no
axis is any help with.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from index import FRAMES, Spread, known_embeddings

from solquery.search import EmbeddingIndex

K, EACH = 10, 27


def loop(queries: np.ndarray, vectors: np.ndarray) -> list[np.ndarray]:
    return [np.argsort(((vectors - query) ** 2).sum(1), kind="stable")[:K] for query in queries]


def as_in_an_archive(place: str | None, rows: int, queries: int) -> tuple[str, np.ndarray, np.ndarray]:
    """What they are, vectors (rows, D) and queries (queries, D)."""
    spread = Spread(*known_embeddings(place))
    frames = np.linspace(0, FRAMES - 1, EACH).astype(int)
    vectors = spread.frames(-(-rows // EACH), 1)[:, frames].reshape(-1, spread.vectors.shape[1])[:rows]
    variances = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    most = int((np.cumsum(variances) < 0.95 * variances.sum()).sum()) + 1
    what = f"embeddings as of {place or 'a simulated archive'}: 95 % of the variance along {most} axes"
    return what, vectors, spread.frames(queries, 2)[:, FRAMES // 2]


def timed(vectors: np.ndarray, queries: np.ndarray, looped: int, repeats: int, rng: np.random.Generator) -> None:
    rows = len(vectors)
    copies = rng.choice(rows, (2, max(rows // 50, 1)))
    vectors[copies[0]] = vectors[copies[1]]
    # every fifth query is in the archive, perhaps several times
    queries[::5] = vectors[rng.choice(copies[1], len(queries[::5]))]
    regions = np.char.add("R", (np.arange(rows) // EACH).astype(str))
    index = EmbeddingIndex(np.arange(rows).astype(str), regions, vectors)
    index.nearest_rows(queries[:100], K, "none")
    began = time.perf_counter()
    kept = index._principal_axes.kept
    spent = time.perf_counter() - began
    some = queries[:looped]
    rates: dict[str, list[float]] = {"loop": [], "search": [], "by region": [], "one by one": []}
    for _ in range(repeats):
        began = time.perf_counter()
        loop(some, vectors)
        rates["loop"].append(len(some) / (time.perf_counter() - began))
        began = time.perf_counter()
        found, _ = index.nearest_rows(queries, K, "none")
        rates["search"].append(len(queries) / (time.perf_counter() - began))
        began = time.perf_counter()
        index.nearest_rows(queries, K)
        rates["by region"].append(len(queries) / (time.perf_counter() - began))
        began = time.perf_counter()
        for query in some:
            index.nearest_rows(query, K, "none")
        rates["one by one"].append(len(some) / (time.perf_counter() - began))
    same = sum(np.array_equal(a, b) for a, b in zip(found, loop(queries, vectors.astype(np.float64)), strict=True))
    alike = sum(np.array_equal(a, b) for a, b in zip(found, loop(some, vectors), strict=False))
    middle = {name: float(np.median(values)) for name, values in rates.items()}
    for name, rate in middle.items():
        ratios = np.divide(rates[name], rates["loop"])
        print(
            f"{name:12s} {rate:9,.0f} queries a second  {np.median(ratios):7.1f} times the loop "
            f"({ratios.min():.1f} to {ratios.max():.1f})"
        )
    print(f"{kept} of {vectors.shape[1]} axes in the product; found once for an archive, in {spent:.2f} s")
    print(f"the same rows in the same order: {same:,} of {len(queries):,} (loop in double precision)")
    print(f"                                 {alike:,} of {len(some):,} (loop in single precision)\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", help="whose embeddings are to be spread like; without: one is simulated")
    parser.add_argument("--rows", type=int, default=49_552)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--looped", type=int, default=100, help="queries that the loop is timed on")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    what, vectors, queries = as_in_an_archive(asked.archive, asked.rows, asked.queries)
    length = vectors.shape[1]
    print(f"{asked.queries:,} queries over {asked.rows:,} x {length}, {K} answers each, {asked.repeats} times\n")
    print(what)
    timed(vectors, queries, asked.looped, asked.repeats, rng)
    print("normal numbers, all directions alike")
    vectors, queries = (
        rng.standard_normal((n, length)).astype(np.float32) for n in (asked.rows, asked.queries)
    )  # fmt: skip
    timed(vectors, queries, asked.looped, asked.repeats, rng)


if __name__ == "__main__":
    main()
