"""Single searches of an archive; of many with one model, a `SearchSession` answers sooner."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from .explanation import Explanation
from .hybrid import WEIGHTS
from .index import Match
from .matches import Matches
from .session import SearchSession

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model

__all__ = ["explain", "search", "search_hybrid"]


def search(
    archive: Archive,
    model: Model,
    query: object,
    k: int = 10,
    where: str | None = None,
    group: str = "region",
    exclude_region: str | Collection[str] | None = None,
    rerank: int | None = None,
    *,
    by: str = "embedding",
    weights: Mapping[str, float] | None = None,
) -> Matches:
    """The patches of an archive that are most like the query.

    All embeddings are compared, unless the archive has an approximate index (`build_index`, ``solquery index``), which
    finds nearly all of the same in milliseconds among millions.

    Parameters
    ----------
    archive
        With the embeddings of this model (`embed_archive`).
    model
        Whose encoder embeds the query.
    query
        A `Patch`, a sunpy Map, the path of a FITS file, the id of a patch of the archive, a `Match`, an `Answer`, an
        `Inversion`, a latent vector (D,), or (H, W) in preset units.
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
        How many of the nearest patches are compared again, pixel by pixel (`solquery.search.reranked`): one over
        which the query can be laid comes first. None: `RERANK_DEPTH` of a search by embedding, but 0 where the query
        was drawn by a generator and so is in no archive; 50 of one by structure, which are then ordered by how well
        their layout agrees with the shifted query's; and 0 of any other search.
    by
        What is compared: ``"embedding"`` (``"ssl"`` is the same); ``"physics"``, parameters; ``"hybrid"``, both;
        ``"structure"``, where on the grid which polarity lies, for a query of another kind of field than the archive's;
        ``"euclidean"`` and ``"mahalanobis"``, the paper's distances of (TUF, R, PSEP), as `search_parameters`.
    weights
        Of a search by ``"hybrid"`` or ``"physics"``: of ``"embedding"`` and of parameters by name; what is not named
        has no say. None: `solquery.search.WEIGHTS`.

    Returns
    -------
    Matches
        Nearest first, with distances in what was compared; before them what the query can be laid over. A distance of
        1 by ``"hybrid"`` or ``"physics"`` is one spread of the archive, in the mean over what is compared.

    Raises
    ------
    SearchError
        When the query does not fit the preset, nothing can be searched (see `load_index`), or the archive lacks a
        parameter on the grid.

    Examples
    --------
    >>> import tempfile
    >>> from solquery import Archive, Model, embed_archive, sample_patches, search
    >>> archive, model = Archive.create(tempfile.mkdtemp() + "/archive"), Model.load("paper")
    >>> _ = archive.add(sample_patches()), embed_archive(archive, model)
    >>> patch = sample_patches()[0]
    >>> search(archive, model, patch, k=3)[0].id == patch.id
    True
    """
    return SearchSession(archive, model).search(
        query, k, where, group, exclude_region, by=by, weights=weights, rerank=rerank
    )


def search_hybrid(
    archive: Archive,
    model: Model,
    query: object,
    k: int = 10,
    where: str | None = None,
    group: str = "region",
    exclude_region: str | Collection[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Matches:
    """`search` by ``"hybrid"``: patches that look like the query and have its physical parameters."""
    shares = dict(WEIGHTS if weights is None else weights)
    return search(archive, model, query, k, where, group, exclude_region, 0, by="hybrid", weights=shares)


def explain(
    archive: Archive,
    model: Model,
    query: object,
    matches: Sequence[Match],
    by: str = "embedding",
    where: str | None = None,
    weights: Mapping[str, float] | None = None,
    observed: Mapping[str, float] | None = None,
) -> list[Explanation]:
    """What can be said of each match of one search; the parameters are those of `search`.

    `observed` is as in `SearchSession.explain`.
    """
    session = SearchSession(archive, model)
    return session.explain(query, matches, by=by, where=where, weights=weights, observed=observed)
