"""Patches for a description that a search can start from: one that meets it and that the archive has the like of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..steering import Answer, generate

if TYPE_CHECKING:
    from ..protocols import Model
    from ..steering import Target
    from .session import SearchSession

__all__ = ["described"]

#: more patches that are made where nothing is close to those that were asked for
_SPARE = 3


def described(
    model: Model,
    session: SearchSession | None,
    targets: Mapping[str, float | Target],
    n: int = 1,
    seed: int = 0,
    *,
    nearest: bool = False,
) -> list[Answer]:
    """Patches with the properties asked for, as `solquery.generate` makes them.

    Where the archive holds nothing close to one of them, three more are made, and those that it holds something close
    to come first: a few patches in a hundred that have all that was asked look like no observation.

    Parameters
    ----------
    model
        With generator and directions.
    session
        Of the archive that is searched; None takes the patches as they come.
    targets, n, seed, nearest
        As for `solquery.generate`.

    Returns
    -------
    At most n answers; those that meet what was asked come before those that do not.
    """
    answers = list(generate(model, targets, n, seed=seed, nearest=nearest))
    if session is None or all(session.close(answer.x) is not False for answer in answers):
        return answers
    more = generate(model, targets, n + _SPARE, seed=seed, nearest=nearest)
    ranked = sorted((answer.verdict != "met", session.close(answer.x) is False, k) for k, answer in enumerate(more))
    missed, far, _ = ranked[0]
    if far or (missed and answers[0].verdict == "met"):
        return answers
    return [more[k] for *_, k in ranked[:n]]
