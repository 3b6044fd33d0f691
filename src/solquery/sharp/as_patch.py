"""Whatever stands for a patch, as a `Patch`: a sunpy Map, a FITS file, an archive's id, an answer of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from ..errors import SolqueryError
from ..patch import Patch
from ..protocols import Named

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = ["HasPatch", "PatchSource", "as_patch", "patch_of_map"]


@runtime_checkable
class HasPatch(Protocol):
    """What a patch can be made of: a `solquery.Answer`, a `solquery.Inversion`."""

    def to_patch(self) -> Patch:
        """The patch, its field in gauss."""
        ...


class PatchSource(Protocol):
    """What finds a patch by its id; an `Archive` does."""

    def get(self, patch_id: str) -> Patch:
        """The patch of that id; SolqueryError where there is none."""
        ...


def as_patch(
    what: Patch | HasPatch | GenericMap | Named | str | Path,
    archive: PatchSource | None = None,
    *,
    strict_quality: bool | None = None,
    scale_mm: float | tuple[float, float] | None = None,
) -> Patch:
    """A `Patch` of whatever stands for one.

    Parameters
    ----------
    what
        A `Patch`; a ``sunpy.map.GenericMap``; the path of a FITS file (`read_sharp`); the id of a patch of `archive`,
        or one of its matches; or what has ``to_patch``, such as an `Answer` and an `Inversion`.
    archive
        Where an id is looked up.
    strict_quality, scale_mm
        As `read_sharp` takes them, for a file or a Map. None refuses a file whose QUALITY is bad, but no Map, which
        somebody has looked at; the patch says what its quality is.

    Raises
    ------
    SolqueryError
        When it stands for no patch; `UnreadableFits` for a file or a map that cannot be read.

    Examples
    --------
    >>> from solquery import sample_patches
    >>> from solquery.sharp import as_patch
    >>> patch = sample_patches()[0]
    >>> as_patch(patch.to_map()).field.shape == patch.field.shape
    True
    """
    if isinstance(what, Patch):
        return what
    if isinstance(what, HasPatch):
        return what.to_patch()
    if isinstance(what, str | Path):
        return _named(what, archive, strict_quality is not False, scale_mm)
    if hasattr(what, "fits_header") and hasattr(what, "data"):
        return patch_of_map(what, strict_quality=bool(strict_quality), scale_mm=scale_mm)
    patch_id = getattr(what, "id", None)
    if isinstance(patch_id, str):
        if archive is None:
            raise SolqueryError(f"{what!r} is of an archive, and none was given; pass archive[match]")
        return archive.get(patch_id)
    raise SolqueryError(
        f"a {type(what).__name__} is no patch; give a Patch, a sunpy Map, the path of a FITS file or the id of a patch"
    )


def _named(
    text: str | Path,
    archive: PatchSource | None,
    strict_quality: bool,
    scale_mm: float | tuple[float, float] | None,
) -> Patch:
    """The patch of a file or, where there is no such file, of an id."""
    from .fits import read_sharp

    if archive is None or isinstance(text, Path) or Path(text).is_file():
        return read_sharp(text, strict_quality=strict_quality, scale_mm=scale_mm)
    return archive.get(text)


def patch_of_map(
    what: GenericMap, *, strict_quality: bool = False, scale_mm: float | tuple[float, float] | None = None
) -> Patch:
    """A patch of a ``sunpy.map.GenericMap``: its data, read by its header as `read_sharp` reads a file.

    Masked pixels are missing (NaN). What was made by `Patch.to_map` comes back as it was.

    Raises
    ------
    UnreadableFits
        When the header says that it is no image of the magnetic field that can be used as it stands.
    """
    from .fits import ReadOptions, UnreadableFits, images_of_array, pair, patch_of_image

    values = np.asarray(what.data)
    if what.mask is not None:
        values = np.where(what.mask, np.nan, values)
    options = ReadOptions(strict_quality, scale_mm=pair(scale_mm))
    name = str(what.meta.get("filename") or "map")
    try:
        return patch_of_image(Path(name), images_of_array(values, what.fits_header), options)
    except UnreadableFits as error:
        raise UnreadableFits(f"the map {error}") from error.__cause__
