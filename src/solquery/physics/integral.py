"""Integrals over the whole patch: unsigned and signed flux, flux of each polarity, area of strong field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import deferred
from ..patch import MX_PER_G_MM2
from .registry import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = [
    "POLARITY_THRESHOLD_GAUSS", "area", "imbalance", "integrate", "net_flux", "pixel_area", "strong", "tnf", "tpf",
    "tuf",
]  # fmt: skip

#: a pixel beyond this belongs to a polarity region (paper, section 4, after Schrijver 2007)
POLARITY_THRESHOLD_GAUSS = 150.0


def pixel_area(scale: Tensor | None) -> Tensor | float:
    """Area of a pixel, (N,) in Mm2, or 1 pixel where `scale` (N, 2) is None."""
    return 1.0 if scale is None else scale[:, 0] * scale[:, 1]


def integrate(density: Tensor, scale: Tensor | None) -> Tensor:
    """Sum of (N, H, W) in G over pixels: (N,) in Mx with a scale, in G pix without."""
    total = density.sum((1, 2), dtype=torch.float64)
    return total if scale is None else total * pixel_area(scale) * MX_PER_G_MM2


def strong(fields: Tensor, sign: int) -> Tensor:
    """Absolute field where it exceeds 150 G in the polarity `sign` (+1 or -1), else 0; same shape, G."""
    return torch.nn.functional.threshold(fields if sign > 0 else -fields, POLARITY_THRESHOLD_GAUSS, 0.0)


@parameter(
    "tuf",
    "Mx",
    grid_unit="G pix",
    symbol="TUF",
    title="Total unsigned flux",
    source="paper, section 4",
    formula="Σ |B| dA",
    domain="includes the noise of every pixel: USFLUX of a SHARP counts its region's confident pixels only",
)
def tuf(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Sum of the unsigned field over all pixels, times the pixel's area where it is known."""
    return integrate(fields.abs(), scale)


@parameter(
    "tpf",
    "Mx",
    grid_unit="G pix",
    symbol="TPF",
    title="Positive flux",
    source="paper, section 5",
    formula="Σ B dA over B > 150 G",
)
def tpf(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Field summed within the positive polarity region, the pixels above +150 G."""
    return integrate(strong(fields, +1), scale)


@parameter(
    "tnf",
    "Mx",
    grid_unit="G pix",
    symbol="TNF",
    title="Negative flux",
    source="paper, section 5",
    formula="Σ |B| dA over B < −150 G",
)
def tnf(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Unsigned field summed within the negative polarity region, the pixels below -150 G; never negative."""
    return integrate(strong(fields, -1), scale)


@parameter(
    "net_flux",
    "Mx",
    grid_unit="G pix",
    symbol="NET",
    title="Net flux",
    source="signed counterpart of TUF",
    formula="Σ B dA",
)
def net_flux(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Sum of the signed field over all pixels; positive where the positive polarity outweighs the negative."""
    return integrate(fields, scale)


@parameter(
    "area",
    "Mm2",
    grid_unit="pix",
    symbol="AREA",
    title="Area of strong field",
    source="threshold of the paper",
    formula="Σ dA over |B| > 150 G",
)
def area(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Area of the pixels with an unsigned field above 150 G; without a scale their number."""
    count = (fields.abs() > POLARITY_THRESHOLD_GAUSS).sum((1, 2)).to(torch.float64)
    return count * pixel_area(scale)


@parameter(
    "imbalance",
    "",
    symbol="IMB",
    title="Flux imbalance",
    source="|net flux| / TUF",
    formula="|Σ B dA| / Σ |B| dA",
    domain="0 (balanced) to 1 (one sign)",
    without="NaN without both polarities",
)
def imbalance(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Unsigned net flux as a share of the total unsigned flux, between 0 and 1.

    NaN where one polarity has no pixel beyond 150 G: such a patch is no bipole, balanced or not.
    """
    both = (fields > POLARITY_THRESHOLD_GAUSS).any(2).any(1) & (fields < -POLARITY_THRESHOLD_GAUSS).any(2).any(1)
    total = integrate(fields.abs(), None)
    share = integrate(fields, None).abs() / total
    return torch.where(both, share, torch.full_like(share, torch.nan))
