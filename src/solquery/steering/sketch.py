"""A sketch of a region as a query: blobs with sign, flux, size and place become a patch, and by inversion a region.

The blobs are Gaussian. Their patch has the fluxes and places that were asked for and looks like no region; inversion
with physics (reconstruction.py) finds one that the generator draws with the same TUF, PSEP, tilt and polarity.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..aliases import Entries
from ..patch import MX_PER_G_MM2, Patch
from .inputs import patch_on_grid
from .inversion import Inversion
from .latents import SteeringError
from .reconstruction import Reconstruction, reconstruct, reconstruct_in_steps

if TYPE_CHECKING:
    from astropy.units import Quantity

    from ..config import Preset
    from ..protocols import Model

__all__ = ["Blob", "invert_sketch", "invert_sketch_in_steps", "read_sketch", "sketch_patch"]

#: sunspots are not stronger, but for a few (Livingston et al. 2006)
_STRONGEST_GAUSS = 4500.0
#: at its centre; separation and tilt are of the pixels beyond 150 G, which must hold the core of a blob
_WEAKEST_GAUSS = 300.0
#: share of the flux of a blob that must lie within the view
_LEAST_SEEN = 0.95
_SIGNS = {"+": 1, "+1": 1, "1": 1, "positive": 1, "-": -1, "-1": -1, "negative": -1}
#: of `reconstruct`: what no region looks like is not to be copied
_OPTIONS: Entries = {"layerwise": False, "prior": 1.0}
_UNITS = {"flux": "Mx", "size": "Mm", "x": "Mm", "y": "Mm"}


@dataclass(frozen=True)
class Blob:
    """One polarity of a sketch.

    Attributes
    ----------
    sign
        1 or -1.
    flux
        Unsigned, in Mx.
    size
        Full width at half maximum of the field, in Mm.
    x, y
        Of the centre, in Mm west and north of that of the view.
    """

    sign: int
    flux: float
    size: float
    x: float
    y: float

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise SteeringError(f"the sign of a blob is 1 or -1, not {self.sign!r}")
        for name, value in (("flux", self.flux), ("size", self.size)):
            if not (math.isfinite(value) and value > 0):
                raise SteeringError(
                    f"the {name} of a blob is a number above zero, not {value!r}; its sign stands apart"
                )
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise SteeringError(f"the place of a blob is two numbers of Mm, not {self.x!r} and {self.y!r}")

    @classmethod
    def of(cls, given: Entries) -> Blob:
        """From ``{"sign": "+", "flux": "1e22 Mx", "size": 20, "x": -15, "y": 0}``; plain numbers are in Mx and Mm."""
        lacking = [name for name in ("sign", *_UNITS) if name not in given]
        unknown = [name for name in given if name not in ("sign", *_UNITS)]
        if lacking or unknown:
            what = f"lacks {', '.join(lacking)}" if lacking else f"has {', '.join(map(repr, unknown))}"
            raise SteeringError(f"a blob {what}; it is given by sign, flux, size, x and y")
        said = given["sign"]
        sign = _SIGNS.get(str(int(said) if isinstance(said, float) and said.is_integer() else said).strip().lower())
        if sign is None:
            raise SteeringError(f'the sign of a blob is "+" or "-", not {said!r}')
        return cls(sign, **{name: _number(name, given[name]) for name in _UNITS})


def _number(name: str, value: float | str | Quantity) -> float:
    """In the unit of `name`, from a number, a text with a unit or a Quantity."""
    unit = _UNITS[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    import astropy.units as u

    try:
        if isinstance(value, bool):
            raise TypeError
        quantity = u.Quantity(value)
        return float(quantity.value if quantity.unit.is_equivalent(u.one) else quantity.to_value(unit))
    except (TypeError, ValueError, u.UnitsError):
        raise SteeringError(f"the {name} of a blob is a number of {unit}, not {value!r}") from None


def read_sketch(path: str | Path) -> list[Blob]:
    """Blobs of a JSON file: a list of them, or ``{"blobs": [...]}``, each as `Blob.of` takes it.

    Raises
    ------
    SteeringError
        Naming the file, and the blob that is wrong.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SteeringError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SteeringError(f"{path} is no JSON ({str(error).splitlines()[0]})") from None
    blobs = found.get("blobs") if isinstance(found, dict) else found
    if not isinstance(blobs, list) or not all(isinstance(blob, dict) for blob in blobs):
        raise SteeringError(
            f'{path} holds no sketch; write {{"blobs": [{{"sign": "+", "flux": 1e22, "size": 20, ...}}]}}'
        )
    out = []
    for k, blob in enumerate(blobs, start=1):
        try:
            out.append(Blob.of(blob))
        except SteeringError as error:
            raise SteeringError(f"{path}, blob {k}: {error}") from None
    return out


def sketch_patch(blobs: Sequence[Blob | Entries], preset: Preset) -> Patch:
    """The patch that a sketch stands for: radial field in gauss on the grid of a preset.

    Parameters
    ----------
    blobs
        Two or more, of both signs.
    preset
        Whose grid has a scale.

    Returns
    -------
    Patch
        Of source ``sketch``, which no archive takes; each blob has its flux to rounding.

    Raises
    ------
    SteeringError
        For fewer blobs, one polarity only, a blob out of view, smaller than a pixel, too weak for a
        separation, or stronger than the Sun has them.

    Examples
    --------
    >>> from solquery import get_preset
    >>> bipole = [{"sign": "+", "flux": 1e22, "size": 25, "x": -30, "y": 3},
    ...           {"sign": "-", "flux": 1e22, "size": 20, "x": 30, "y": -3}]
    >>> patch = sketch_patch(bipole, get_preset("physical"))
    >>> patch.source, patch.quantity
    ('sketch', 'radial')
    """
    given = [blob if isinstance(blob, Blob) else Blob.of(blob) for blob in blobs]
    if len(given) < 2 or len({blob.sign for blob in given}) < 2:
        raise SteeringError(
            f"a sketch has two blobs or more, of both signs; this one has {sum(b.sign > 0 for b in given)} positive "
            f"and {sum(b.sign < 0 for b in given)} negative"
        )
    if preset.scale_mm is None:
        raise SteeringError(f"a sketch is in Mm, and the grid of preset {preset.name!r} has no scale; use `physical`")
    field = np.zeros(preset.shape)
    for number, blob in enumerate(given, start=1):
        field += _field(blob, number, preset.shape, preset.scale_mm)
    plain = [[blob.sign, blob.flux, blob.size, blob.x, blob.y] for blob in given]
    return Patch(
        field.astype(np.float32), preset.scale_mm, "sketch", "SKETCH", "sketch", truth={"blobs": plain},
    )  # fmt: skip


def _field(blob: Blob, number: int, shape: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    """(H, W) in gauss of one blob."""
    sides = [n * mm for n, mm in zip(shape, scale, strict=True)]
    if blob.size < max(scale):
        raise SteeringError(f"blob {number} is {blob.size:g} Mm wide, less than a pixel of {max(scale):.3g} Mm")
    y, x = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, scale, strict=True))
    sigma = blob.size / math.sqrt(8 * math.log(2))
    shares = [np.exp(-0.5 * ((axis - at) / sigma) ** 2) for axis, at in ((y, blob.y), (x, blob.x))]
    profile = np.outer(*shares)
    whole = 2 * math.pi * sigma**2 / (scale[0] * scale[1])
    if not profile.sum() >= _LEAST_SEEN * whole:
        raise SteeringError(
            f"blob {number} at ({blob.x:g}, {blob.y:g}) Mm reaches out of the view, which is {sides[1]:.0f} x "
            f"{sides[0]:.0f} Mm about (0, 0)"
        )
    made = blob.flux / (scale[0] * scale[1] * MX_PER_G_MM2) * profile / profile.sum()
    if made.max() > _STRONGEST_GAUSS:
        raise SteeringError(
            f"blob {number}, {blob.flux:.3g} Mx within {blob.size:g} Mm, would have {made.max():,.0f} G, and the Sun "
            f"has at most {_STRONGEST_GAUSS:,.0f}; make it larger or weaker"
        )
    if made.max() < _WEAKEST_GAUSS:
        raise SteeringError(
            f"blob {number}, {blob.flux:.3g} Mx within {blob.size:g} Mm, would have {made.max():,.0f} G, and "
            f"separation and tilt are of stronger fields; make it smaller or stronger, to {_WEAKEST_GAUSS:.0f} G"
        )
    return blob.sign * made


def invert_sketch(model: Model, blobs: Sequence[Blob | Entries], **options: Any) -> Inversion:
    """The region that a generator draws for a sketch: same TUF, PSEP, tilt and polarity, and the look of a region.

    Parameters
    ----------
    model
        With generator and preset.
    blobs
        As `sketch_patch` takes them.
    **options
        Of `reconstruct`. Unless given, the latent vector stays closer to the prior (`prior`) and is one for all parts
        of the generator (`layerwise`).

    Returns
    -------
    Inversion
        What `solquery.search` takes as a query; `observed` are the sketch's parameters, `reconstructed` the region's.

    Raises
    ------
    SteeringError
        As `sketch_patch` and `reconstruct`.
    """
    patch = sketch_patch(blobs, model.preset)
    return reconstruct(model, patch_on_grid(patch, model), **{**_OPTIONS, **options})[0]


def invert_sketch_in_steps(model: Model, blobs: Sequence[Blob | Entries], **options: Any) -> Iterator[Reconstruction]:
    """`invert_sketch` on its way: a guess at once, then states as they come, the last of stage ``"done"``.

    Parameters
    ----------
    model, blobs
        As `invert_sketch` takes them.
    **options
        Of `reconstruct_in_steps`, with the same defaults.

    Raises
    ------
    SteeringError
        At once where the sketch is refused (`sketch_patch`).
    """
    x = patch_on_grid(sketch_patch(blobs, model.preset), model)
    return reconstruct_in_steps(model, x, **{**_OPTIONS, **options})
