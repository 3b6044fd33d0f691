"""Translate a patch with a fitted map; the result says that it is translated, by what and with which error."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..patch import Patch
from ..sharp.as_patch import as_patch
from ..sharp.header import RSUN_MM
from ..sharp.limb import mu_of_pixels
from .grid import Window, saturation_level, seen, view_window, whole_window
from .kinds import TranslationError
from .maps import Translation, changed

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["shipped_translations", "translate"]

_SHIPPED = Path(__file__).parent / "shipped"
_SEGMENT = {"radial": "Br", "line-of-sight": "magnetogram"}


def shipped_translations() -> list[str]:
    """Names of the maps that ship with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.safetensors"))


def translation_of(what: Translation | str | Path) -> Translation:
    """A map itself, the shipped one of a name, or that of a file."""
    if isinstance(what, Translation):
        return what
    if str(what) in shipped_translations():
        return Translation.load(_SHIPPED / f"{what}.safetensors")
    if not Path(what).is_file():
        raise TranslationError(f"no map {str(what)!r}; name a file, or one of: {', '.join(shipped_translations())}")
    return Translation.load(what)


def translate(what: object, translation: Translation | str | Path, *, model: Model | None = None) -> Patch:
    """The patch that a map makes of one.

    Parameters
    ----------
    what
        A `Patch`, or what stands for one (`solquery.as_patch`): a sunpy Map, the path of a FITS file.
    translation
        A map, the name of one that ships (`shipped_translations`), or the file of one.
    model
        The model of a map that needs one (`Translation.model`).

    Returns
    -------
    Patch
        At the scale of the map, of source ``translated``: an estimate, not an observation. ``truth["translation"]`` and
        the keywords TRANSLAT, TRMETHOD, TRFROM, TRSOURCE, TRRMS and TRRMSSTR say by which map, of what, and the errors
        (G) of the map on regions that it was not fitted on, in all pixels and in those over 200 G.

    Raises
    ------
    TranslationError
        When the patch is of another field than the map reads, was translated before, has no scale, does not say its
        angle where the map depends on it, or has nothing missing or saturated that could be mended.

    Examples
    --------
    >>> from solquery import sample_patches
    >>> from solquery.translation import translate
    >>> patch = next(p for p in sample_patches() if p.quantity == "line-of-sight" and p.mu > 0.6)
    >>> made = translate(patch, "los-to-radial")
    >>> made.source, made.quantity, made.keywords["TRANSLAT"]
    ('translated', 'radial', 'los-to-radial')
    """
    patch, found = as_patch(what), translation_of(translation)
    kind = found.kind
    _refuse(patch, found)
    window = whole_window(patch, found.scale_mm) if found.model is None or model is None else view_window(
        patch, model.preset
    )  # fmt: skip
    one = seen(patch, window, angle=kind.angle)
    if kind.where != "all" and not changed(kind, one).any():
        what_is = "missing on the disk" if kind.where == "missing" else "saturated"
        raise TranslationError(f"{patch.file or patch.id}: no pixel is {what_is}; there is nothing to mend")
    field = np.where(one.valid, found.fields([one], model)[0], np.nan)
    error = found.error.get(found.method, {})
    record: Document = {
        "name": found.name, "kind": kind.name, "method": found.method, "of": patch.id, "of_source": patch.source,
        "error": error, "model": found.model, **found.provenance,
    }  # fmt: skip
    if kind.where == "saturated":
        record["saturated_at_gauss"] = saturation_level(patch)
    cards: Document = {
        "TRANSLAT": found.name,
        "TRMETHOD": found.method,
        "TRFROM": patch.id,
        "TRSOURCE": patch.source,
    }
    cards |= {key: round(error[name], 2) for key, name in _ERRORS.items() if name in error}
    return replace(
        patch.with_field(field, found.scale_mm, **_moved(patch, window)),
        id=f"{patch.id}-{found.name}", source="translated", quantity=kind.quantity, segment=_SEGMENT[kind.quantity],
        keywords={**patch.keywords, **cards}, truth={"translation": record}, file="",
    )  # fmt: skip


_ERRORS = {"TRRMS": "rms_gauss", "TRRMSSTR": "rms_strong_gauss"}


def _refuse(patch: Patch, found: Translation) -> None:
    name = patch.file or patch.id
    if patch.source == "translated":
        raise TranslationError(f"{name} is translated already; give the patch that it was made of")
    if patch.quantity != found.kind.reads:
        raise TranslationError(
            f"{name} is a {patch.quantity} field, and map {found.name!r} reads {found.kind.reads}; choose another map"
        )
    if not np.isfinite(patch.field).any():
        raise TranslationError(f"{name}: every pixel is missing; there is nothing to translate")


def _moved(patch: Patch, window: Window) -> dict[str, float]:
    """The place of the centre of a window that does not lie about that of its patch."""
    assert patch.scale_mm is not None
    off = [
        start + n * s / 2 - size * scale / 2
        for start, n, s, size, scale in zip(
            window.start_mm, window.shape, window.scale_mm, patch.field.shape, patch.scale_mm, strict=True
        )
    ]
    if max(map(abs, off)) < 1e-6 or not math.isfinite(patch.latitude_deg):
        return {}
    y, x = (math.degrees(value / RSUN_MM) for value in off)
    east_west = x / math.cos(math.radians(patch.latitude_deg))
    b0 = patch.b0_deg if math.isfinite(patch.b0_deg) else 0.0
    mu = mu_of_pixels(
        np.radians([x]), np.radians([y]), patch.latitude_deg, patch.longitude_deg, b0
    )  # fmt: skip
    return {
        "latitude_deg": patch.latitude_deg + y, "longitude_deg": patch.longitude_deg + east_west,
        "carrington_deg": (patch.carrington_deg + east_west) % 360.0, "mu": float(mu[0]),
    }  # fmt: skip
