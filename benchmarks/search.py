"""Exact search over the archive of the paper, against a loop of difference, square, sum and argsort.

    python benchmarks/search.py
    python benchmarks/search.py --rows 500000 --queries 200

Both answer with the ten nearest of each query. The loop is timed on some of the queries, with numbers as they are kept
(single precision); its answers are compared with a loop in double precision, in which no two different distances of
such vectors fall together. Some vectors come three times, so that there are ties.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from solquery.retrieval import EmbeddingIndex

K = 10


def loop(queries: np.ndarray, vectors: np.ndarray) -> list[np.ndarray]:
    return [np.argsort(((vectors - query) ** 2).sum(1), kind="stable")[:K] for query in queries]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=49_552)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--looped", type=int, default=100, help="queries that the loop is timed on")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((asked.rows, asked.length)).astype(np.float32)
    copies = rng.choice(asked.rows, (2, max(asked.rows // 50, 1)))
    vectors[copies[0]] = vectors[copies[1]]
    queries = rng.standard_normal((asked.queries, asked.length)).astype(np.float32)
    # every fifth query is in the archive, perhaps several times
    queries[::5] = vectors[rng.choice(copies[1], len(queries[::5]))]
    regions = np.char.add("R", (np.arange(asked.rows) // 27).astype(str))
    index = EmbeddingIndex(np.arange(asked.rows).astype(str), regions, vectors)
    index.nearest_rows(queries, K, "none")
    some = queries[: asked.looped]
    rates: dict[str, list[float]] = {"loop": [], "search": [], "by region": [], "one by one": []}
    for _ in range(asked.repeats):
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
    print(f"{asked.queries:,} queries over {asked.rows:,} x {asked.length}, {K} answers each, {asked.repeats} times")
    middle = {name: float(np.median(values)) for name, values in rates.items()}
    for name, rate in middle.items():
        ratios = np.divide(rates[name], rates["loop"])
        print(
            f"{name:12s} {rate:9,.0f} queries a second  {np.median(ratios):7.1f} times the loop "
            f"({ratios.min():.1f} to {ratios.max():.1f})"
        )
    print(f"the same rows in the same order: {same:,} of {len(queries):,} (loop in double precision)")
    print(f"                                 {alike:,} of {len(some):,} (loop in single precision)")


if __name__ == "__main__":
    main()
