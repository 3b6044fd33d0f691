"""Real patches that come with the package: active regions seen by SDO/HMI between 2010 and 2016.

Line-of-sight magnetograms in the public domain, courtesy of NASA/SDO and the HMI science team, written by
``scripts/make_samples.py``: three SHARPs, and regions cut from full disks and reprojected to 0.03 degree per pixel.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files

from ..errors import SolqueryError
from ..patch import Patch
from ..sharp.fits import quality_fault, read_sharp

__all__ = ["sample_patches"]


def sample_patches(*, strict_quality: bool = False) -> list[Patch]:
    """The sample patches, sorted by id; `Patch.field` is in G, line of sight, 0.364425 Mm per pixel.

    Parameters
    ----------
    strict_quality
        True leaves out those whose QUALITY has a bit that the rule of `fits.quality_fault` refuses. The samples were
        looked at, and their field is sound; the flagged ones are somewhat blurred.

    Raises
    ------
    SolqueryError
        When the files are missing from the installation.
    """
    found = []
    for entry in files("solquery").joinpath("samples").iterdir():
        if not entry.name.endswith(".fits"):
            continue
        with as_file(entry) as path:
            patch = read_sharp(path, strict_quality=False)
        found.append(replace(patch, file=entry.name))
    if not found:
        raise SolqueryError("the sample patches are missing from this installation of solquery; install it again")
    if strict_quality:
        found = [patch for patch in found if quality_fault(patch.quality) is None]
    return sorted(found, key=lambda patch: patch.id)
