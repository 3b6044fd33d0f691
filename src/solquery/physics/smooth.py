"""Versions of the parameters that a gradient can be taken of: soft thresholds in place of hard ones.

The definitions proper cut at 150 G, where their derivative by the field is none or infinite, and `measure` lets no
gradient pass. These are close to them (docs/parameters.md says how close) and have gradients that point somewhere:
for an optimiser that moves a latent vector towards a flux or a separation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import SolqueryError
from ..patch import MX_PER_G_MM2
from .dilation import dilated
from .geometry import R_DILATION_PX
from .given import as_scale
from .integral import POLARITY_THRESHOLD_GAUSS, pixel_area
from .registry import get_parameter

__all__ = ["SMOOTH", "SOFT_ABSOLUTE_GAUSS", "WIDTH_GAUSS", "smooth_measure", "step"]

#: width of the step at 150 G: a field of that size is counted half, 4 widths further all of it
WIDTH_GAUSS = 5.0
#: below about this, the unsigned field is rounded off
SOFT_ABSOLUTE_GAUSS = 1.0
#: Mm2 or pixels squared, below which a separation is no direction
_TINY = 1e-12

Definition = Callable[[Tensor, Tensor | None, float], Tensor]


def _above(fields: Tensor, width: float) -> Tensor:
    """Soft mask (N, H, W) of the pixels above +150 G."""
    return torch.sigmoid((fields - POLARITY_THRESHOLD_GAUSS) / width)


def _absolute(fields: Tensor) -> Tensor:
    return fields * torch.tanh(fields / SOFT_ABSOLUTE_GAUSS)


def _total(density: Tensor, scale: Tensor | None) -> Tensor:
    total = density.sum((1, 2))
    return total if scale is None else total * (scale[:, 0] * scale[:, 1]).to(total.dtype) * MX_PER_G_MM2


def _tuf(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    return _total(_absolute(fields), scale)


def _tpf(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    return _total(fields * _above(fields, width), scale)


def _tnf(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    return _tpf(-fields, scale, width)


def _centroid(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    """(N, 2) of the positive polarity, (y, x) in Mm or pixels; NaN where there is next to none of it."""
    # weak field of the other sign must not weigh negatively
    weight = fields.clamp(min=0) * _above(fields, width)
    total = weight.sum((1, 2))
    y = torch.arange(fields.shape[1], dtype=fields.dtype, device=fields.device)
    x = torch.arange(fields.shape[2], dtype=fields.dtype, device=fields.device)
    centre = torch.stack([weight.sum(2) @ y, weight.sum(1) @ x], 1) / total[:, None]
    # less than one pixel at the threshold
    centre = torch.where((total > POLARITY_THRESHOLD_GAUSS)[:, None], centre, torch.nan)
    return centre if scale is None else centre * scale.to(centre.dtype)


def step(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    """(N, 2) from the centroid of the negative to that of the positive polarity, (y, x) in Mm or pixels."""
    return _centroid(fields, scale, width) - _centroid(-fields, scale, width)


def _psep(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    return (step(fields, scale, width).square().sum(1) + _TINY).sqrt()


def _tilt(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    dy, dx = step(fields, scale, width).unbind(1)
    # half the angle of the doubled direction: the same whichever polarity leads, and smooth where that changes
    return torch.rad2deg(0.5 * torch.atan2(2.0 * dy * dx, dx.square() - dy.square() + _TINY))


def _r(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    positive, negative = (dilated(_above(part, width), R_DILATION_PX) for part in (fields, -fields))
    return _total(_absolute(fields) * positive * negative, scale)


def _area(fields: Tensor, scale: Tensor | None, width: float) -> Tensor:
    return (_above(fields, width) + _above(-fields, width)).sum((1, 2)) * pixel_area(scale)


#: parameters of which there is a smooth version
SMOOTH: dict[str, Definition] = {
    "tuf": _tuf, "tpf": _tpf, "tnf": _tnf, "area": _area, "psep": _psep, "tilt": _tilt, "r": _r,
}  # fmt: skip


def smooth_measure(
    fields: Tensor,
    scale_mm: ArrayLike | None = None,
    names: Iterable[str] | None = None,
    width_gauss: float = WIDTH_GAUSS,
) -> dict[str, Tensor]:
    """Smooth versions of TUF, TPF, TNF, AREA, PSEP, TILT and R, through which gradients pass back to the field.

    Parameters
    ----------
    fields
        (N, H, W) tensor of floating-point numbers, gauss, finite; on any device.
    scale_mm
        As `measure` takes it.
    names
        Which; None for all of them.
    width_gauss
        Width of the soft step at 150 G: the wider, the further a gradient reaches, and the larger the error.

    Returns
    -------
    One (N,) tensor per parameter, of the dtype of `fields`, in the unit of the exact one. NaN where PSEP or TILT have
    no polarity to go by.

    Raises
    ------
    SolqueryError
        For a parameter that has no smooth version.
    ValueError
        For fields that are no batch of floating-point numbers, or a width that is not positive.
    """
    if not isinstance(fields, Tensor) or fields.ndim != 3 or not fields.is_floating_point():
        raise ValueError("smooth parameters take a floating-point tensor (N, H, W) in gauss")
    if not width_gauss > 0:
        raise ValueError(f"the width of the step must be positive, got {width_gauss}")
    scale = as_scale(scale_mm, len(fields), fields.device)
    out = {}
    for name in SMOOTH if names is None else names:
        if name not in SMOOTH:
            get_parameter(name)
            raise SolqueryError(f"{name!r} has no smooth version; there are: {', '.join(SMOOTH)}")
        out[name] = SMOOTH[name](fields, scale, float(width_gauss))
    return out
