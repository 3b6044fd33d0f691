"""Weights in eight bits: a whole number from -127 to 127 and a scale for each output channel.

A scale has four significant bits, so that its product with each of the whole numbers is a float16 without rounding.
Weights that were rounded to such products (`round_weights`) are the same in a file of whole numbers and in one of
float16, and have one hash; `packed` finds out that a tensor is one of these, and keeps it in half the space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["packed", "round_weights", "unpacked"]

#: name of a tensor's scales, behind its own
_SCALE = "::scale"
_LARGEST = 127
#: smaller tensors stay as they are, and so do vectors: there is nothing to gain
_LEAST = 4096
#: products of smaller scales would be rounded in float16
_SMALLEST = 2.0**-20


def _up(value: float) -> float:
    """The next number of four significant bits, at least `value`."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(mantissa * 16) / 16, exponent)


def _rows(value: Tensor) -> Tensor:
    return value.detach().double().reshape(len(value), -1)


def _worth(value: Tensor) -> bool:
    return value.is_floating_point() and value.ndim > 1 and value.numel() >= _LEAST


@torch.no_grad()
def round_weights(module: nn.Module) -> None:
    """Round the weights of a network to whole multiples of a scale for each output channel, at most 127 of them.

    Biases, normalisations and small layers stay as they are.
    """
    for value in module.parameters():
        if not _worth(value):
            continue
        rows = _rows(value)
        for k, row in enumerate(rows):
            scale = max(_up(float(row.abs().max()) / _LARGEST), _SMALLEST)
            # a small negative weight is 0, and not -0, which a whole number cannot be
            rows[k] = torch.round(row / scale) * scale + 0.0
        value.copy_(rows.reshape(value.shape).to(value.dtype))


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a network as a file holds them: those of whole multiples as int8 with their scales, exactly.

    Examples
    --------
    >>> layer = nn.Linear(100, 100, bias=False)
    >>> round_weights(layer)
    >>> held = packed({"weight": layer.weight.detach().half()})
    >>> held["weight"].dtype, held["weight::scale"].shape
    (torch.int8, torch.Size([100]))
    >>> bool((unpacked(held)["weight"] == layer.weight).all())
    True
    """
    out = {}
    for name, value in state.items():
        found = _whole(value) if _worth(value) and value.dtype == torch.float16 else None
        if found is None:
            out[name] = value
        else:
            out[name], out[name + _SCALE] = found
    return out


def unpacked(held: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `packed` was given."""
    out = {}
    for name, value in held.items():
        if name.endswith(_SCALE):
            continue
        scale = held.get(name + _SCALE)
        if scale is not None:
            value = (value.float() * scale.float().reshape(-1, *[1] * (value.ndim - 1))).half()
        out[name] = value
    return out


def _whole(value: Tensor) -> tuple[Tensor, Tensor] | None:
    """Whole numbers and scales whose products are the tensor, or None where there are none."""
    rows = _rows(value)
    numbers, scales = torch.zeros(rows.shape, dtype=torch.int8), torch.zeros(len(rows), dtype=torch.float16)
    for k, row in enumerate(rows):
        largest = float(row.abs().max())
        # rounding may have taken the largest number a little below 127 scales
        scale = max(_up(largest / _LARGEST), _SMALLEST)
        for _ in range(3):
            whole = row / scale
            if bool((whole == whole.round()).all()) and largest <= _LARGEST * scale:
                break
            scale = _up(math.nextafter(scale, math.inf))
        else:
            return None
        numbers[k], scales[k] = whole.to(torch.int8), scale
    return numbers.reshape(value.shape), scales
