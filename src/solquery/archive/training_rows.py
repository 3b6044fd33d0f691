"""Which patches of an archive a training sees, and which of them are real observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..config import Preset
from ..errors import SolqueryError
from ..lazy import deferred
from ..protocols import Patches

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

    from .store import Archive
else:
    # prepared patches are trained on where there is no Arrow
    pa, pc = deferred("pyarrow"), deferred("pyarrow.compute")

__all__ = ["Selection", "TrainingRows", "training_rows"]


class Selection:
    """Some rows of an array (N, H, W), read like an array of their own; nothing is copied before it is asked for."""

    def __init__(self, data: Patches, rows: np.ndarray) -> None:
        self.data, self.rows = data, np.asarray(rows)
        self.shape = (len(self.rows), *data.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Patch of one row (H, W), or patches (n, H, W) of a slice or an array of rows, float32."""
        return np.asarray(self.data[self.rows[index]], np.float32)


@dataclass(frozen=True)
class TrainingRows:
    """What `training_rows` found.

    Attributes
    ----------
    data
        Array-like (N, H, W) in preset units.
    real
        (N,) which of them are real observations.
    left_out
        Reason to number of patches that were left out.
    observed
        HARP numbers of the real ones, sorted, for the model's record; of those without a number none.
    left_out_harps
        HARP numbers whose real patches were kept for choosing and checking, sorted.
    """

    data: Patches
    real: np.ndarray
    left_out: dict[str, int] = field(default_factory=dict)
    observed: tuple[int, ...] = ()
    left_out_harps: tuple[int, ...] = ()

    def provenance(self) -> Document:
        """What a run's config.json tells of the real observations it has seen, and of those kept from it."""
        told: Document = {}
        if self.real.any():
            told["real"] = {"patches": int(self.real.sum()), "harps": list(self.observed)}
        if self.left_out_harps:
            told["left_out_harps"] = list(self.left_out_harps)
        return told


def training_rows(
    archive: Archive, preset: Preset, where: str | None = None, leave_out_harps: Sequence[int] = ()
) -> TrainingRows:
    """Patches of an archive to train on: of one kind of field, without the regions that are to be left out.

    Where there are radial and line-of-sight fields, those along the line of sight are left out and counted: the same
    region looks different in them, and a network that is shown both unsaid learns neither.

    Parameters
    ----------
    archive, preset
        Where the patches are, and how they are prepared.
    where
        SQL condition; which of them.
    leave_out_harps
        HARP numbers whose real patches are left out.

    Raises
    ------
    SolqueryError
        When a HARP that is to be left out is not there, or nothing is left.
    """
    from .places import places

    about = archive.table(["id", "source", "quantity", "harpnum"], where)
    source, quantity = (np.asarray(about[name].to_pylist(), object) for name in ("source", "quantity"))
    harp = np.asarray(pc.fill_null(about["harpnum"], 0))
    real = source == "real"
    absent = sorted(set(leave_out_harps) - set(harp[real].tolist()))
    if absent:
        raise SolqueryError(
            f"{archive.uri} has no real patch of HARP {', '.join(map(str, absent))} to leave out; "
            "`solquery archive sql` lists those it has"
        )
    kept = np.ones(len(source), bool)
    left_out: dict[str, int] = {}
    along = quantity == "line-of-sight"
    if along.any() and not along.all():
        kept &= ~along
        left_out["line-of-sight"] = int(along.sum())
    out = kept & real & np.isin(harp, list(leave_out_harps))
    if out.any():
        kept &= ~out
        left_out["of a region that is left out"] = int(out.sum())
    if not kept.any():
        raise SolqueryError(f"{archive.uri} has no patch left to train on; check --where and --leave-out-harps")
    ids, data = _prepared(archive, preset, where, about["id"].combine_chunks(), left_out)
    at = np.asarray(places(ids, about["id"].combine_chunks(), archive.uri))
    usable = np.flatnonzero(kept[at])
    seen = at[usable]
    observed = sorted({int(number) for number in harp[seen][real[seen]] if number})
    if len(usable) < len(data):
        data = Selection(data, usable)
    return TrainingRows(data, real[seen], left_out, tuple(observed), tuple(sorted(set(leave_out_harps))))


def _prepared(
    archive: Archive, preset: Preset, where: str | None, ids: pa.Array, left_out: dict[str, int]
) -> tuple[pa.Array, Patches]:
    """Ids and prepared patches of those of `ids` that have what the preset needs: in a file where it can be."""
    data: Patches
    if archive.path is None:
        known, data = archive.prepared(preset, where)
        found = pa.array(known, pa.string())
    else:
        found, data = archive.prepared_file(preset)
        if len(found) != len(ids) or not found.equals(ids):
            rows = pc.indices_nonzero(pc.is_in(found, value_set=ids))
            found, data = found.take(rows), Selection(data, np.asarray(rows))
    if len(found) < len(ids):
        left_out["without a scale"] = len(ids) - len(found)
    return found, data
