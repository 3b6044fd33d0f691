"""The package's exact search against what libraries have for it: Faiss's flat index, and Lance's own search.

    python benchmarks/libraries.py ARCHIVE

All compare every embedding of an archive with the same queries, on one thread; queries are embeddings of the archive
moved by a little. Printed are processor seconds a query, in one run in turn, and how often the ten nearest, in their
order, are those of a loop over differences in double precision. Faiss and Lance multiply in single precision, in which
near-duplicates cannot be ranked.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numpy as np

from solquery import Archive, Model
from solquery.search import load_index

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    faiss.omp_set_num_threads(1)
    archive, model = Archive.open(asked.archive), Model.load()
    index = load_index(archive, model)
    vectors, rng = index.vectors, np.random.default_rng(0)
    queries = vectors[rng.integers(len(vectors), size=asked.queries)].astype(np.float32)
    queries += 0.02 * vectors.std(0) * rng.standard_normal(queries.shape, np.float32)
    flat = faiss.IndexFlatL2(vectors.shape[1])
    flat.add(vectors)
    some = queries[: max(asked.queries // 50, 5)]
    assert index.places is not None  # the archive is one of Lance
    places = {int(place): row for row, place in enumerate(index.places)}

    def by_lance(some: np.ndarray) -> list[list[int]]:
        found = []
        for query in some:
            asks = archive._patches.search(query, vector_column_name="embedding").limit(K).with_row_id(True)
            found.append([places[row["_rowid"]] for row in asks.select(["id", "_distance"]).to_list()])
        return found

    ways: dict[str, tuple[np.ndarray, Callable[[np.ndarray], list]]] = {
        "EmbeddingIndex": (queries, lambda q: index.nearest_rows(q, K, "none")[0]),
        "EmbeddingIndex, one by one": (some, lambda q: [index.nearest_rows(x, K, "none")[0][0] for x in q]),
        "Faiss, flat": (queries, lambda q: list(flat.search(q, K)[1])),
        "Faiss, flat, one by one": (some, lambda q: [flat.search(x[None], K)[1][0] for x in q]),
        "Lance, no index, one by one": (some, by_lance),
    }
    truth = [np.argsort(((vectors.astype(np.float64) - x) ** 2).sum(1), kind="stable")[:K] for x in some]
    spent: dict[str, list[float]] = {name: [] for name in ways}
    same = {}
    for turn in range(asked.repeat + 1):
        for name, (given, find) in ways.items():
            began = time.process_time()
            found = find(given)
            if turn:  # the first time compiles and finds axes
                spent[name].append((time.process_time() - began) / len(given))
            same[name] = np.mean([list(a) == list(b) for a, b in zip(found, truth, strict=False)])
    print(f"{len(vectors):,} x {vectors.shape[1]}, {K} answers each, one thread")
    least = np.median(spent["EmbeddingIndex"])
    for name, seconds in spent.items():
        each = np.median(seconds)
        print(f"{name:28s} {1e3 * each:8.3f} ms a query {each / least:7.2f} x   same ten in order {same[name]:.2f}")


if __name__ == "__main__":
    main()
