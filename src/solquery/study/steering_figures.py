"""Figures 3, 4 and 5 of the paper for any model and parameter, each with the numbers that stand behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..physics import measure
from ..serialise import finite
from ..steering import latent_traversal, measure_latents
from ..steering.drawing import draw_patches
from ..steering.editing import directions_of
from ..steering.latents import prior_latents
from ..steering.projection import plane_axes, project
from .reproduce_figures import figure_parameters, figure_plane, figure_strips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..model import Model

__all__ = ["WATCHED", "middle_latent", "parameters_figure", "plane_figure", "strips_figure", "traversals_figure"]

#: parameters whose values are followed
WATCHED = ("tuf", "r", "psep")
#: latents among which the start of a traversal is chosen
_STARTS = 64
_REACH, _STEPS = 3.0, 25


def parameters_figure(model: Model, n: int = 60, seed: int = 0) -> tuple[Figure, Document]:
    """Masks and centroids of n generated patches; the one with much of everything is taken apart (paper, Fig. 3)."""
    gauss = np.asarray(model.preset.to_gauss(draw_patches(model, n, seed)[1]))
    values = {k: v.numpy() for k, v in measure(gauss, model.preset.scale_mm, WATCHED).items()}
    rank = sum(np.nan_to_num(v).argsort().argsort() for v in values.values())
    shown = int(np.argmax(rank))
    return figure_parameters(gauss, shown), {
        "patches": n,
        "shown": shown,
        "values": {name: finite(v[shown]) for name, v in values.items()},
        "without_r": int((values["r"] == 0).sum()),
        "without_psep": int((~np.isfinite(values["psep"])).sum()),
    }


def plane_figure(
    model: Model,
    name: str,
    n: int = 1000,
    seed: int = 0,
    axes: tuple[int, int] | str | None = None,
    drawn: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Figure, Document]:
    """Patches on the plane in which the boundary of a parameter is a line (paper, Fig. 4).

    `axes` are the latent numbers that span it, from 0, or "best" for the two that weigh most in the normal. None: the
    paper's first two for the paper's networks, else the best. `drawn` are latents and patches of `draw_patches`, where
    they are at hand.

    `right_side` is the share of the patches that lie on the side of the boundary on which their measured value says
    they should.
    """
    model = model.on_grid()
    directions = directions_of(model)
    k = directions.index(name)
    z, x = draw_patches(model, n, seed) if drawn is None else drawn
    gauss = np.asarray(model.preset.to_gauss(x))
    chosen = plane_axes(directions.normals[k], model.preset.papers_method, axes)
    flat = project(z, directions.normals[k], float(directions.intercepts[k]), chosen)
    measured = measure(gauss, model.preset.scale_mm, [name])[name].numpy()
    known = np.isfinite(measured)
    right = flat.side()[known] == (measured[known] > directions.medians[k])
    numbers = {"param": name, "latents": len(z), "axes": list(flat.axes), "right_side": float(right.mean())}
    return figure_plane(flat, gauss, directions.position(z, name), name), numbers


def strips_figure(model: Model, name: str, hold: tuple[str, ...] = (), seed: int = 0) -> tuple[Figure, Document]:
    """A patch in the middle of the population, moved along a direction alone and with others held (paper, Fig. 5)."""
    model = model.on_grid()
    directions = directions_of(model)
    directions.normal(name, hold)  # names and conflicts before any work
    watched = [k for k in dict.fromkeys((name, *hold, *WATCHED)) if k in directions.names]
    watched = [k for k in watched if not directions.is_binary(k)]
    start = middle_latent(model, prior_latents(_STARTS, directions.latent_dim, seed).numpy(), watched)
    figure, rows = traversals_figure(model, start, [(name, held) for held in dict.fromkeys([(), hold])], watched)
    return figure, {"param": name, "strips": rows}


def middle_latent(model: Model, z: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Of latents (N, D) the one (D,) whose patch is nearest to the median of every parameter.

    Both ends of a traversal that begins there stay near the prior.
    """
    directions = directions_of(model)
    values = measure_latents(model.generator, model.preset, z, names)
    ranks = np.stack([np.abs(directions.percentile(name, values[name]) - 50.0) for name in names])
    return np.asarray(z[int(np.argmin(np.nan_to_num(ranks, nan=100.0).max(0)))])


def traversals_figure(
    model: Model, start: np.ndarray, cases: Iterable[tuple[str, tuple[str, ...]]], watched: Sequence[str]
) -> tuple[Figure, list[Document]]:
    """Traversals from one latent (D,), each a parameter to change and those held, with the values on the way."""
    directions = directions_of(model)
    drawn, rows = [], []
    for name, hold in cases:
        one = latent_traversal(model, start, name, hold, np.linspace(-_REACH, _REACH, _STEPS))
        percent = {k: np.asarray(directions.percentile(k, one.values[k])) for k in watched}
        drawn.append((one, model.preset.to_gauss(one.x[:, 0]), percent))
        curves = {k: [finite(v) for v in one.values[k]] for k in directions.names if k in (*watched, "polarity")}
        rows.append({"name": name, "hold": list(hold), "eps": one.eps.tolist(), "values": curves})
    return figure_strips(drawn, physical=model.preset.physical), rows
