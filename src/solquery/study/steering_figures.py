"""Figures 3, 4 and 5 of the paper for any model and parameter, each with the numbers that stand behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..aliases import Document
from ..physics import measure
from ..serialise import finite
from ..steering import latent_traversal, measure_latents, render
from ..steering.editing import directions_of
from ..steering.projection import plane_axes, project
from .reproduce_figures import figure_parameters, figure_plane, figure_strips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..model import Model

__all__ = ["parameters_figure", "plane_figure", "strips_figure"]

_WATCHED = ("tuf", "r", "psep")
#: latents among which the start of the strips is chosen: the one nearest to the middle of the population
_STARTS = 64
_REACH, _STEPS = 3.0, 25


def _drawn(model: Model, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, D) from the prior and their patches (n, H, W) in gauss."""
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(n, int(model.generator.latent_dim), generator=source)
    made = model.preset.to_gauss(render(model.generator, z, model.preset.shape)[:, 0])
    return z.numpy(), np.asarray(made)


def parameters_figure(model: Model, n: int = 60, seed: int = 0) -> tuple[Figure, Document]:
    """Masks and centroids of n generated patches; the one with much of everything is taken apart (paper, Fig. 3)."""
    _, gauss = _drawn(model, n, seed)
    values = {k: v.numpy() for k, v in measure(gauss, model.preset.scale_mm, _WATCHED).items()}
    rank = sum(np.nan_to_num(v).argsort().argsort() for v in values.values())
    shown = int(np.argmax(rank))
    numbers = {"patches": n, "shown": shown, "values": {name: finite(v[shown]) for name, v in values.items()}}
    return figure_parameters(gauss, shown), numbers


def plane_figure(
    model: Model, name: str, n: int = 1000, seed: int = 0, axes: tuple[int, int] | str | None = None
) -> tuple[Figure, Document]:
    """Patches on the plane in which the boundary of a parameter is a line (paper, Fig. 4).

    `axes` are the latent numbers that span it, from 0, or "best" for the two that weigh most in the normal. None: the
    paper's first two for the paper's networks, else the best.

    `right_side` is the share of the patches that lie on the side of the boundary on which their measured value says
    they should.
    """
    model = model.on_grid()
    directions = directions_of(model)
    k = directions.index(name)
    z, gauss = _drawn(model, n, seed)
    chosen = plane_axes(directions.normals[k], model.preset.papers_method, axes)
    flat = project(z, directions.normals[k], float(directions.intercepts[k]), chosen)
    measured = measure(gauss, model.preset.scale_mm, [name])[name].numpy()
    known = np.isfinite(measured)
    right = flat.side()[known] == (measured[known] > directions.medians[k])
    numbers = {"param": name, "latents": n, "axes": list(flat.axes), "right_side": float(right.mean())}
    return figure_plane(flat, gauss, directions.position(z, name), name), numbers


def strips_figure(model: Model, name: str, hold: tuple[str, ...] = (), seed: int = 0) -> tuple[Figure, Document]:
    """A patch in the middle of the population, moved along a direction alone and with others held (paper, Fig. 5)."""
    model = model.on_grid()
    directions = directions_of(model)
    directions.normal(name, hold)  # names and conflicts before any work
    watched = [k for k in dict.fromkeys((name, *hold, *_WATCHED)) if k in directions.names]
    watched = [k for k in watched if not directions.is_binary(k)]
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(_STARTS, directions.latent_dim, generator=source).numpy()
    values = measure_latents(model.generator, model.preset, z, watched)
    ranks = np.stack([np.abs(directions.percentile(k, values[k]) - 50.0) for k in watched])
    start = z[int(np.argmin(np.nan_to_num(ranks, nan=100.0).max(0)))]
    drawn, rows = [], []
    for held in dict.fromkeys([(), hold]):
        one = latent_traversal(model, start, name, held, np.linspace(-_REACH, _REACH, _STEPS))
        percent = {k: np.asarray(directions.percentile(k, one.values[k])) for k in watched}
        drawn.append((one, model.preset.to_gauss(one.x[:, 0]), percent))
        curves = {k: [finite(v) for v in one.values[k]] for k in watched}
        rows.append({"hold": list(held), "eps": one.eps.tolist(), "values": curves})
    return figure_strips(drawn, physical=model.preset.physical), {"param": name, "strips": rows}
