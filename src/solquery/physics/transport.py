"""How far the two polarities are apart where there are several of each: optimal transport between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import deferred
from .integral import strong
from .registry import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = ["CELLS", "CUT", "SOFTNESS", "SWEEPS", "separation"]

#: cells along each axis into which flux is gathered before it is transported
CELLS = 12
#: a cell with less than this share of its polarity's flux is left out
CUT = 1e-3
#: entropy of the plan, in units of the mean squared distance: blurs it by far less than a cell
SOFTNESS = 0.05
#: scalings of rows and columns (Sinkhorn)
SWEEPS = 30


def _gathered(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Share of the flux (N, CELLS**2), and its centroid's y and x in pixels, cell by cell, of weights (N, H, W)."""
    height, width = weight.shape[1:]
    device, dtype = weight.device, torch.float64

    def cells(length: int) -> tuple[Tensor, Tensor]:
        place = torch.arange(length, device=device)
        member = torch.nn.functional.one_hot(place * CELLS // length, CELLS).to(dtype)
        return member, member * place[:, None]

    (rows, rows_y), (columns, columns_x) = cells(height), cells(width)
    half = weight.to(dtype) @ columns
    mass = (rows.T @ half).flatten(1)
    y = (rows_y.T @ half).flatten(1)
    x = (rows.T @ (weight.to(dtype) @ columns_x)).flatten(1)
    safe = torch.where(mass > 0, mass, torch.ones_like(mass))
    share = mass / mass.sum(1, keepdim=True)
    share = torch.where(share > CUT, share, torch.zeros_like(share))
    return share / share.sum(1, keepdim=True), y / safe, x / safe


@parameter(
    "separation",
    "Mm",
    grid_unit="pix",
    symbol="SEP",
    title="Separation by transport",
    source="optimal transport (Cuturi 2013, entropic); see docs/parameters.md",
    formula="exp ⟨log |r₊ − r₋|⟩ over the plan that carries the positive flux onto the negative at least Σ d²",
    domain="single and multiple bipoles; needs both polarities in the patch",
    without="NaN without both polarities",
)
def separation(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Typical distance between the fluxes of opposite sign that belong together.

    PSEP is the distance between two centroids, which cancel where bipoles are nested or stand side by side. Here the
    flux of each sign above 150 G, gathered in 12 x 12 cells with the centroid of each and normalised, is carried
    from one sign to the other at the least sum of squared distances (entropic optimal transport); the geometric mean
    of the distances over that plan is the separation. For two concentrations of equal shape it is their distance, as
    PSEP is. NaN where one polarity is missing.
    """
    a, ay, ax = _gathered(strong(fields, +1))
    b, by, bx = _gathered(strong(fields, -1))
    one = torch.ones(len(fields), dtype=torch.float64, device=fields.device)
    step_y, step_x = (one, one) if scale is None else scale.unbind(1)
    dy = (ay[:, :, None] - by[:, None, :]) * step_y[:, None, None]
    dx = (ax[:, :, None] - bx[:, None, :]) * step_x[:, None, None]
    squared = dy.square() + dx.square()
    known = ~torch.isnan(a).any(1) & ~torch.isnan(b).any(1)
    a, b = torch.nan_to_num(a), torch.nan_to_num(b)
    mean = (a[:, None, :] @ squared @ b[:, :, None])[:, 0, 0]
    floor = step_y * step_x
    kernel = torch.exp(-squared / (SOFTNESS * torch.maximum(mean, floor))[:, None, None])
    tiny = torch.finfo(torch.float64).tiny
    v = (b > 0).to(b.dtype)
    for _ in range(SWEEPS):
        u = a / (kernel @ v[:, :, None])[:, :, 0].clamp(min=tiny)
        v = b / (u[:, None, :] @ kernel)[:, 0].clamp(min=tiny)
    plan = u[:, :, None] * kernel * v[:, None, :]
    # distances below a pixel are not resolved
    logs = 0.5 * torch.log(torch.maximum(squared, floor[:, None, None]))
    out = torch.exp((plan * logs).sum((1, 2)) / plan.sum((1, 2)))
    return torch.where(known, out, torch.full_like(out, torch.nan))
