"""Network input made of the patches of an archive, kept beside a local one and redone where something has changed."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..config import Preset, get_preset
from ..patch import Patch
from . import batches as batching
from . import cache, metadata
from .places import places, whole
from .prepare import prepare
from .tables import ArchiveError, quoted

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["PreparedPatches", "among_few"]

_NO_SCALE = "scale_y_mm IS NULL OR scale_x_mm IS NULL"
#: patches that are looked up by name, and of an archive no larger than this all are prepared at once
_FEW, _SMALL = 64, 1024


class PreparedPatches:
    """What an `Archive` gives to networks; the archive itself has the rest."""

    uri: str
    path: Path | None
    _seen: tuple[int, pa.Table] | None

    if TYPE_CHECKING:  # what `Archive` has

        @property
        def _patches(self) -> Table: ...
        def __len__(self) -> int: ...
        def ids(self, where: str | None = None) -> list[str]: ...
        def table(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table: ...
        def patches(self, where: str | None = None, ids: Iterable[str] | None = None) -> Iterator[Patch]: ...
        def _chosen(self, where: str | None, ids: Iterable[str] | None) -> pa.Array: ...
        def _names(self, among: str | None, where: str | None = None) -> pa.Array: ...

    def without_scale(self, preset: Preset | str | None = None) -> list[str]:
        """Ids of the patches without a scale, which `preset` cannot take; none for a preset that stretches patches."""
        if preset is not None and not get_preset(preset).physical:
            return []
        return self.ids(_NO_SCALE)

    def prepared(
        self, preset: Preset | str, where: str | None = None, ids: Iterable[str] | None = None
    ) -> tuple[list[str], np.ndarray]:
        """Network input of many patches: their ids, and (N, H, W) float32 in units of `preset`.

        Order and errors as in `patches`; patches without a scale are left out where the preset needs one, with a
        warning that counts them. Local archives keep the result of the resampling under ``prepared/``, as float16
        (within 0.0005 of the exact value), and redo only what has changed.
        """
        preset = get_preset(preset)
        wanted = self._with_scale(self._chosen(where, ids), preset)
        if self.path is None or (len(wanted) <= _FEW and len(self) > _SMALL):
            return wanted.to_pylist(), self.prepared_few(preset, self._sums(wanted))
        known, stored = self.prepared_file(preset)
        if wanted.equals(known):
            return wanted.to_pylist(), batching.as_float32(stored)
        return wanted.to_pylist(), batching.as_float32(stored[np.asarray(places(wanted, known, self.uri))])

    def prepared_few(self, preset: Preset | str, keys: pa.Table) -> np.ndarray:
        """`prepared` of some patches whose ids and checksums are known: a table of `id` and `checksum`.

        Of a large archive they are looked up in the file that there is, or prepared alone: no file is made for them.
        """
        preset = get_preset(preset)
        if self.path is None:
            patches = self.patches(ids=keys["id"].to_pylist())
            return cache.prepare_rows(patches, preset, len(keys)).astype(np.float32)
        if len(self) <= _SMALL:
            return self.prepared(preset, ids=keys["id"].to_pylist())[1]
        return cache.prepared_few(self.path / "prepared", preset, keys, self._maker(preset)).astype(np.float32)

    def prepared_memmap(self, preset: Preset | str) -> tuple[list[str], np.ndarray]:
        """Network input of the whole archive, on disk: ids, and (N, H, W) float16, for training on many patches.

        Raises
        ------
        ArchiveError
            For an archive in an object store: copy it to a local directory first, or use `prepared`.
        """
        known, stored = self.prepared_file(preset)
        return known.to_pylist(), stored

    def prepared_file(self, preset: Preset | str) -> tuple[pa.Array, np.ndarray]:
        """`prepared_memmap` with the ids as Arrow holds them."""
        if self.path is None:
            raise ArchiveError(f"{self.uri} is not local; use Archive.prepared, or copy the archive to a directory")
        preset = get_preset(preset)
        keys = self._usable_keys(preset)
        return whole(keys["id"]), cache.prepared(self.path / "prepared", preset, keys, self._maker(preset))

    def _sums(self, ids: pa.Array) -> pa.Table:
        """Ids and checksums of some patches, in their order."""
        keys = metadata.read(self._patches, self.uri, ["id", "checksum"], among=among_few(ids)).combine_chunks()
        return keys.take(pc.index_in(ids, value_set=whole(keys["id"])))

    def _maker(self, preset: Preset) -> cache.Make:
        return lambda ids: (prepare(patch, preset) for patch in self.patches(ids=ids))

    def _with_scale(self, ids: pa.Array, preset: Preset) -> pa.Array:
        """Those of `ids` that a preset can take; the others are counted in a warning."""
        if not preset.physical or not len(ids):
            return ids
        lacking = self._names(among_few(ids), _NO_SCALE)
        out = pc.is_in(ids, value_set=lacking)
        if count := pc.sum(out).as_py():
            _tell_left_out(count, preset)
        return ids.filter(pc.invert(out))

    def _usable_keys(self, preset: Preset) -> pa.Table:
        """Ids and checksums of the patches that a preset can take."""
        keys = self._keys()
        lacking = self.without_scale(preset)
        if not lacking:
            return keys
        _tell_left_out(len(lacking), preset)
        kept = pc.invert(pc.is_in(keys["id"], value_set=pa.array(lacking, pa.string())))
        return keys.filter(kept).combine_chunks()

    def _keys(self) -> pa.Table:
        """Ids and checksums, sorted; asked for again when the archive has changed."""
        version = self._patches.version
        if self._seen is None or self._seen[0] != version:
            self._seen = version, self.table(["id", "checksum"]).combine_chunks()
        return self._seen[1]

    def clear_prepared(self) -> None:
        """Remove the prepared patches of a local archive; they are made again when asked for."""
        if self.path is not None:
            shutil.rmtree(self.path / "prepared", ignore_errors=True)


def among_few(ids: pa.Array) -> str | None:
    """The condition that a row is one of `ids`; None where they are too many to be looked up by name."""
    return f"id IN ({quoted(ids.to_pylist())})" if 0 < len(ids) <= _FEW else None


def _tell_left_out(count: int, preset: Preset) -> None:
    warnings.warn(
        f"{count:,} patch{'es' if count > 1 else ''} without a scale left out: preset {preset.name!r} works in "
        "megametres "
        '(--where "scale_x_mm IS NULL" lists them)',
        UserWarning,
        stacklevel=3,
    )
