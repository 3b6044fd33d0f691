"""What `measure` is given: fields and scales as arrays and tensors, checked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Array
from ..lazy import deferred

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = ["as_fields", "as_scale", "checked_array", "checked_scale", "is_tensor"]


def as_fields(fields: ArrayLike) -> Tensor:
    """Input to a tensor (N, H, W), not yet converted to float32."""
    given = fields if isinstance(fields, torch.Tensor) else torch.from_numpy(_real(fields))
    return torch.as_tensor(_batch(given)).detach()


def checked_array(fields: ArrayLike) -> np.ndarray:
    """Input to an array (N, H, W) float32, checked as `as_fields` does."""
    return np.asarray(_batch(_real(fields)))


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a tensor, asked without importing torch: without it there is none."""
    return "torch" in sys.modules and isinstance(value, torch.Tensor)


def _real(fields: ArrayLike) -> np.ndarray:
    """Fields as float32; FITS data are big-endian, which neither torch nor the kernels take."""
    array = np.asarray(fields)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"fields must be real numbers in gauss, got dtype {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float32)


def _batch(fields: Array) -> Array:
    """(N, H, W) of one field or several, as they are, tensor or array."""
    if fields.ndim == 2:
        fields = fields[None]
    if fields.ndim != 3:
        raise ValueError(f"fields must have shape (H, W) or (N, H, W), got {tuple(fields.shape)}")
    if min(fields.shape[1:]) < 2:
        raise ValueError(f"a field needs at least 2 x 2 pixels, got {fields.shape[1]} x {fields.shape[2]}")
    return fields


def as_scale(scale_mm: ArrayLike | None, n: int, device: torch.device) -> Tensor | None:
    """Scale to (n, 2) float64 Mm per pixel, (y, x), or None."""
    scale = checked_scale(scale_mm, n)
    return None if scale is None else torch.from_numpy(scale).to(device).expand(n, 2)


def checked_scale(scale_mm: ArrayLike | None, n: int) -> np.ndarray | None:
    """Scale (2,) or (n, 2) float64, checked."""
    if scale_mm is None:
        return None
    if is_tensor(scale_mm):
        scale_mm = scale_mm.detach().cpu().numpy()
    scale = np.array(scale_mm, dtype=np.float64)
    if scale.shape not in ((2,), (n, 2)):
        raise ValueError(f"scale_mm must be (y, x) or of shape ({n}, 2), got shape {tuple(scale.shape)}")
    good = np.isfinite(scale) & (scale > 0)
    if not good.all():
        raise ValueError(
            f"scale_mm must be positive and finite in both axes, got {scale[~good][0]:g}; pass None for a grid "
            "without scale"
        )
    return scale
