"""Single searches: each makes a session of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .explanation import Explanation
from .hybrid import WEIGHTS
from .patch_list import Match
from .rerank import RERANK_DEPTH
from .session import SearchSession

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model

__all__ = ["explain", "search", "search_hybrid"]


def search(
    archive: Archive,
    model: Model,
    query: Any,
    k: int = 10,
    where: str | None = None,
    group: str = "region",
    exclude_region: str | Collection[str] | None = None,
    rerank: int = RERANK_DEPTH,
) -> list[Match]:
    """The patches of an archive that look most like the query.

    All embeddings are compared, unless the archive has an approximate index (`build_index`, ``solquery index``), which
    finds nearly all of the same in milliseconds among millions.

    Parameters
    ----------
    archive
        With the embeddings of this model (`embed_archive`).
    model
        Whose encoder embeds the query.
    query
        (H, W) in preset units, numpy or tensor: generated, edited, or a prepared observation.
    k
        How many; fewer come back where the archive has fewer.
    where
        SQL condition on the columns of the archive, e.g. ``"source = 'real' AND tuf > 1e22"``.
    group
        ``"region"``: the best frame of each region, since frames of one region are near-duplicates in time;
        ``"none"``: every patch for itself.
    exclude_region
        Name or names of regions to leave out, e.g. that of the query.
    rerank
        How many of the nearest patches are looked at again, pixel by pixel (`solquery.search.reranked`): one over
        which the query can be laid comes first. 0 for none, where the query is no image that could be in the archive.

    Returns
    -------
    list of Match
        Nearest first, with Euclidean distances of the embeddings; before them what the query can be laid over.

    Raises
    ------
    SearchError
        When the query does not fit the preset, or nothing can be searched (see `load_index`).
    """
    return SearchSession(archive, model).search(query, k, where, group, exclude_region, rerank=rerank)


def search_hybrid(
    archive: Archive,
    model: Model,
    query: Any,
    k: int = 10,
    where: str | None = None,
    group: str = "region",
    exclude_region: str | Collection[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> list[Match]:
    """The patches of an archive that look like the query and have its physical parameters.

    Parameters
    ----------
    archive, model, query, k, where, group, exclude_region
        As in `search`.
    weights
        Of ``"embedding"`` (the embedding) and of parameters by name; what is not named has no say. None: `WEIGHTS`, the
        look, the eight parameters of the paper and which polarity leads. Without ``"embedding"``, or with 0 for it, the
        search is by physics alone.

    Returns
    -------
    list of Match
        Nearest first. A distance of 1 is one spread of the archive, in the mean over what is compared.

    Raises
    ------
    SearchError
        As `search`, and where the archive lacks a parameter on the grid.
    """
    session = SearchSession(archive, model)
    weights = dict(WEIGHTS if weights is None else weights)
    return session.search(query, k, where, group, exclude_region, by="hybrid", weights=weights, rerank=0)


def explain(
    archive: Archive,
    model: Model,
    x: np.ndarray,
    matches: Sequence[Match],
    by: str = "ssl",
    where: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> list[Explanation]:
    """What can be said of each match of one search; of many, `SearchSession.explain` says it sooner.

    Parameters
    ----------
    archive, model, x, by, where, weights
        As in `SearchSession.search`; those of the search.
    matches
        Its answers, nearest first.
    """
    return SearchSession(archive, model).explain(x, matches, by=by, where=where, weights=weights)
