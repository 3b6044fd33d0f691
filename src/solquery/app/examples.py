"""Several examples as one query: patches that the answers should be like, and patches that they should not."""

from __future__ import annotations

import numpy as np

__all__ = ["by_examples"]


def by_examples(query: np.ndarray, more: np.ndarray, less: np.ndarray) -> np.ndarray:
    """Distances from a query and examples together.

    Parameters
    ----------
    query
        (N,) distances of the patches of an archive from the query.
    more
        (M, N) distances from examples of what is wanted.
    less
        (L, N) distances from examples of what is not.

    Returns
    -------
    (N,): the root mean square of the distances from the query and from what is wanted; a patch that lies nearer to an
    example of what is not wanted is moved away by the difference. Without examples it is `query`.
    """
    wanted = np.sqrt(np.mean(np.square(np.vstack([query[None, :], more])), axis=0))
    if not len(less):
        return wanted
    return wanted + np.maximum(0.0, wanted - less.min(axis=0))
