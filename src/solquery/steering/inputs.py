"""What a search or an inversion takes, on the grid of a model: patches, Maps, files, ids, answers, latents, arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ..archive.prepare import prepare
from ..errors import SolqueryError
from ..patch import Patch
from ..sharp.as_patch import PatchSource, as_patch
from .generated import Generated
from .latent_text import open_latent
from .latents import as_latents, render

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["GridInput", "grid_input", "patch_on_grid"]

_LATENT = "latent:"


@dataclass(frozen=True)
class GridInput:
    """An image on the grid of a model, and what it came from.

    Attributes
    ----------
    x
        (H, W) float32 in preset units; NaN where a pixel is missing.
    kind
        ``"patch"``, ``"generated"``, ``"latent"`` or ``"array"``.
    patch
        Of kind ``"patch"``: the patch, at its native scale.
    z
        Of kinds ``"generated"`` and ``"latent"``: the latent vector (D,).
    """

    x: np.ndarray
    kind: str
    patch: Patch | None = None
    z: np.ndarray | None = None

    @property
    def drawn(self) -> bool:
        """Whether a generator drew it, so that no archive of observations can have it."""
        return self.kind in ("generated", "latent")


def patch_on_grid(patch: Patch, model: Model, scale_mm: float | None = None) -> np.ndarray:
    """(H, W) in preset units of a patch; `scale_mm` (Mm per pixel) stands in for one that it lacks.

    Raises
    ------
    SolqueryError
        When it has none and the preset needs one.
    """
    if patch.scale_mm is None and scale_mm is not None:
        patch = replace(patch, scale_mm=(scale_mm, scale_mm))
    if patch.scale_mm is None and model.preset.physical:
        raise SolqueryError(
            f"{patch.file or patch.id}: has no scale, and preset {model.preset.name!r} works in megametres; give its "
            "Mm per pixel with --scale"
        )
    return prepare(patch, model.preset)


def _latent(z: ArrayLike, model: Model) -> GridInput:
    z = as_latents(z, int(model.generator.latent_dim))
    return GridInput(render(model.generator, z, model.preset.shape)[0, 0].numpy(), "latent", z=z[0])


def grid_input(
    what: object,
    model: Model,
    archive: PatchSource | None = None,
    *,
    strict_quality: bool | None = None,
    scale_mm: float | None = None,
) -> GridInput:
    """An image on the grid of a model, of whatever stands for one.

    Parameters
    ----------
    what
        (H, W) in preset units, numpy or torch; a latent vector (D,), or ``"latent:TEXT"`` of `encode_latent`; an
        `Answer` or an `Inversion`; or what `solquery.as_patch` takes: a `Patch`, a sunpy Map, the path of a FITS file,
        the id of a patch of `archive`, a `Match`.
    model
        Gives the grid, and the generator of a latent vector.
    archive
        Where ids are looked up.
    strict_quality, scale_mm
        As `as_patch` takes them; the scale also for a patch that has none.

    Raises
    ------
    SolqueryError
        When it stands for no image, or the model's grid cannot take it.
    """
    if isinstance(what, GridInput):
        return what
    if isinstance(what, Generated):
        return GridInput(np.asarray(what.x, dtype=np.float32), "generated", z=what.z)
    if isinstance(what, str) and what.startswith(_LATENT):
        opened, z = open_latent(model, what.removeprefix(_LATENT))
        return _latent(z, opened)
    if isinstance(what, np.ndarray | Tensor | list | tuple):
        array = what.detach().cpu().numpy() if isinstance(what, Tensor) else np.asarray(what)
        return _latent(array, model) if array.ndim == 1 else GridInput(array, "array")
    patch = as_patch(
        what, archive, strict_quality=strict_quality,
        scale_mm=scale_mm if isinstance(what, str | Path) or hasattr(what, "fits_header") else None,
    )  # fmt: skip
    return GridInput(patch_on_grid(patch, model, scale_mm), "patch", patch)
