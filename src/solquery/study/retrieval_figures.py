"""The pictures of a retrieval study: a pair and its flip, rows of queries and matches, densities of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..physics import measure
from ..retrieval import embed, load_index
from .figures import METHOD_LABELS, figure_joint
from .reproduce_figures import figure_rows, write_figure
from .retrieval import RetrievalStudy, correlate

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle

__all__ = ["bipole", "draw_joints", "draw_pair", "draw_rows"]

_HEADS = {**METHOD_LABELS, "ssl": "embedding"}


def _gauss(bundle: Bundle, x: Any) -> np.ndarray:
    return np.asarray(bundle.preset.to_gauss(np.nan_to_num(np.asarray(x, dtype=np.float32))))


def _pictures(archive: Archive, bundle: Bundle, ids: list[str]) -> dict[str, np.ndarray]:
    """(H, W) in gauss by id."""
    names, x = archive.prepared(bundle.preset, ids=sorted(set(ids)))
    return {name: _gauss(bundle, x[k]) for k, name in enumerate(names)}


def bipole(found: RetrievalStudy) -> int:
    """Number of a query with two strong, well separated polarities."""
    size = np.minimum(found.queries["tpf"], found.queries["tnf"])
    psep = found.queries["psep"]
    middle = np.nanmedian(psep) if np.isfinite(psep).any() else 0.0
    return int(np.argmax(np.where(np.nan_to_num(psep, nan=-1.0) >= middle, size, -1.0)))


def draw_joints(bundle: Bundle, found: RetrievalStudy, folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Density of query and match, one file a parameter (paper, right of Fig. 7, and Fig. 9); their names."""
    files = {}
    for name in names:
        matched = found.matched("ssl", name)
        drawn = figure_joint(
            name, found.queries[name], matched, found.population[name], correlate(found.queries[name], matched),
            physical=bundle.preset.physical,
        )  # fmt: skip
        files[name] = write_figure(drawn, folder / f"{name}.png", 95, 64)
    return files


def draw_pair(archive: Archive, bundle: Bundle, found: RetrievalStudy, query: np.ndarray, path: Path) -> dict[str, Any]:
    """A query (H, W) in preset units and its match, and both with the polarities exchanged (paper, left of Fig. 7).

    Returns
    -------
    ``file``; ``matches``, two of id, region and source; ``leading``, the polarity of query and match of each.
    """
    both = np.stack([query, -query])
    answers = load_index(archive, bundle).nearest(embed(bundle.encoder, both), 1, group="none")
    ids = [matches[0].id if matches else None for matches in answers]
    shown = _pictures(archive, bundle, [name for name in ids if name])
    source = dict(zip(found.ids.tolist(), found.sources.tolist(), strict=True))
    region = dict(zip(found.ids.tolist(), found.regions.tolist(), strict=True))
    rows = [[_gauss(bundle, x), shown.get(name or "")] for x, name in zip(both, ids, strict=True)]
    drawn = figure_rows(rows, ("generated query", "best match"), ("as drawn", "polarities exchanged"))
    signs = []
    for x, name in zip(both, ids, strict=True):
        pair = [_gauss(bundle, x), shown[name]] if name else [_gauss(bundle, x)]
        value = measure(np.stack(pair), bundle.preset.scale_mm, ("polarity",))["polarity"]
        signs.append([float(v) if np.isfinite(v) else None for v in value])
    return {
        "file": write_figure(drawn, path, 100, 64),
        "matches": [{"id": i, "region": region.get(i or ""), "source": source.get(i or "")} for i in ids],
        "leading": signs,
    }


def draw_rows(
    archive: Archive,
    bundle: Bundle,
    found: RetrievalStudy,
    x: np.ndarray,
    numbers: Sequence[int],
    methods: Sequence[str],
    path: Path,
) -> str:
    """Queries x (K, H, W) beside the best match of each by each method (paper, Fig. 8).

    `numbers` (K,) says which queries of the study they are. Returns the file's name.
    """
    ids = [[str(found.ids[r]) if (r := int(found.best[m][k])) >= 0 else "" for m in methods] for k in numbers]
    shown = _pictures(archive, bundle, [name for row in ids for name in row if name])
    rows = [[_gauss(bundle, one), *(shown.get(name) for name in line)] for one, line in zip(x, ids, strict=True)]
    return write_figure(figure_rows(rows, ("query", *(_HEADS[m] for m in methods))), path, 100, 64)
