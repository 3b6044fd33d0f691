"""Training, validation and test by region: frames of one region are near-duplicates and must stay together.

A region's place follows from its name and the seed alone, so a region keeps its place when the archive grows, and two
archives that share regions agree on them. The shares are met on average over many regions.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import SolqueryError

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["PARTS", "part_of", "split"]

PARTS = ("train", "validation", "test")
FEW_REGIONS = 30


def part_of(region: str, seed: int, shares: tuple[float, float, float]) -> str:
    """The part that a region belongs to: a number in [0, 1) from SHA-256 of seed and name, laid beside the shares."""
    at = int.from_bytes(hashlib.sha256(f"{seed}:{region}".encode()).digest()[:8], "big") / 2**64
    total = 0.0
    for part, share in zip(PARTS, shares, strict=True):
        total += share
        if at < total:
            return part
    return PARTS[-1] if shares[-1] > 0 else PARTS[0]


def split(archive: Archive, shares: Iterable[float] = (0.8, 0.1, 0.1), seed: int = 0) -> dict[str, dict[str, int]]:
    """Write the columns ``split`` (train, validation or test) and ``split_rule`` for every patch.

    Parameters
    ----------
    archive
        Where; a split that is there is replaced.
    shares
        Of training, validation and test; they add up to one.
    seed
        The same seed gives the same parts, in any archive.

    Returns
    -------
    Part to its numbers of patches and regions.

    Raises
    ------
    SolqueryError
        When the shares make no sense, or the archive is empty.
    """
    given = tuple(float(share) for share in shares)
    if len(given) != 3 or min(given) < 0 or abs(sum(given) - 1) > 1e-6:
        raise SolqueryError(f"shares must be three numbers from 0 that add up to 1, got {', '.join(map(str, given))}")
    rows = archive.table(["id", "region"]).to_pylist()
    if not rows:
        raise SolqueryError(f"the archive at {archive.uri} is empty; there is nothing to split")
    parts = {region: part_of(region, seed, given) for region in sorted({row["region"] for row in rows})}
    rule = f"by region, seed {seed}, shares {'/'.join(f'{share:g}' for share in given)}"
    archive.set_columns(
        [row["id"] for row in rows],
        {"split": [parts[row["region"]] for row in rows], "split_rule": [rule] * len(rows)},
    )
    found = {
        part: {
            "patches": sum(parts[row["region"]] == part for row in rows),
            "regions": sum(place == part for place in parts.values()),
        }
        for part in PARTS
    }
    empty = [part for part, share in zip(PARTS, given, strict=True) if share > 0 and not found[part]["regions"]]
    if empty or len(parts) < FEW_REGIONS:
        what = (
            f"no region fell to {' and '.join(empty)}; another seed may do"
            if empty
            else "shares are met on average only"
        )
        warnings.warn(f"{len(parts)} regions are few for a split: {what}", UserWarning, stacklevel=2)
    return found
