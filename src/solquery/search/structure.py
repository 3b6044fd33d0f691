"""Search by coarse structure: where a patch has field of which sign, whatever its strength and the kind of field.

A line-of-sight field and the radial field of the same instant differ in strength, by the cosine of the heliocentric
angle and more, and the weak radial field away from disk centre is mostly noise. An embedding, which knows strength and
texture, takes the two for different regions. What they share is the layout of the polarities over tens of megametres.

The signature of a patch is its field, each pixel the signed square root of its value, averaged over blocks of pixels
and scaled to unit length. The square root keeps the few strongest pixels from ruling the average; averages of signed
values let the noise cancel. The distance of two signatures is that of two points on the unit sphere, 0 for the same
layout, 1.41 for unrelated ones and 2 for the negative.

Blocks of 14.6 Mm say which region it is, and not which of its frames. The nearest are therefore compared once more, on
every pixel: the normalised cross-correlation of the signed square roots, the largest over shifts within what the model
calls the same place. A grid is centred on the flux of its patch, and the noise of the radial field moves that centre
by some pixels from that of the line-of-sight field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import fft

from ..archive.batches import batches
from ..archive.places import whole
from ..archive.rows import table_with_places
from .index import EmbeddingIndex, SearchError
from .patch_list import texts

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..config import AugmentConfig
    from ..protocols import Model
    from .query import Query

__all__ = ["STRUCTURE", "STRUCTURE_DEPTH", "StructureIndex", "shifted_correlations", "signatures"]

#: the name of this search
STRUCTURE = "structure"
#: nearest patches that are compared once more, on every pixel
STRUCTURE_DEPTH = 50
#: pixels of a block along each side: 14.6 Mm on the grid of preset `physical`
_BLOCK = 8
#: patches whose signatures are computed at a time
_AT_A_TIME = 256


def signatures(x: np.ndarray) -> np.ndarray:
    """Signatures (N, D) float32 of patches (N, H, W) in preset units; NaN counts as 0.

    Their length is 1, or 0 of a patch without field. What is left over at the northern and the western edge is a
    smaller block.

    Examples
    --------
    >>> import numpy as np
    >>> field = np.zeros((1, 16, 16))
    >>> field[0, :8, :8], field[0, 8:, 8:] = 4.0, -1.0
    >>> signatures(field).round(2).tolist()
    [[0.8899999856948853, 0.0, 0.0, -0.44999998807907104]]
    """
    root = _signed_root(x)
    rows, columns = (np.arange(0, size, _BLOCK) for size in root.shape[1:])
    return _unit(np.add.reduceat(np.add.reduceat(root, rows, axis=1), columns, axis=2).reshape(len(root), -1))


def shifted_correlations(query: np.ndarray, candidates: np.ndarray, cfg: AugmentConfig) -> np.ndarray:
    """How well the layout of a patch, shifted, agrees with that of others.

    Parameters
    ----------
    query, candidates
        (H, W) and (N, H, W) in preset units; NaN counts as 0.
    cfg
        Whose `shift_px` bounds the shifts, in whole pixels.

    Returns
    -------
    (N,) float32: the largest sum of products of the signed square roots over their root mean squares, within [-1, 1]; 0
    for a patch without field.
    """
    height, width = query.shape
    reach = round(cfg.shift_px / cfg.pixel_aspect), round(cfg.shift_px)
    # what is shifted beyond an edge must not come back at the other one
    size = [fft.next_fast_len(n + r, real=True) for n, r in zip((height, width), reach, strict=True)]
    asked = fft.rfft2(_unit(_signed_root(query).reshape(1, -1)).reshape(height, width), size)
    rows, columns = (np.arange(-r, r + 1) for r in reach)
    out = np.empty(len(candidates), np.float32)
    for k, other in enumerate(_unit(_signed_root(candidates).reshape(len(candidates), height * width))):
        sums = fft.irfft2(fft.rfft2(other.reshape(height, width), size) * asked.conj(), size)
        out[k] = sums[np.ix_(rows, columns)].max()
    return out


def _signed_root(x: np.ndarray) -> np.ndarray:
    x = np.nan_to_num(np.asarray(x, np.float32))
    return np.sign(x) * np.sqrt(np.abs(x))


def _unit(rows: np.ndarray) -> np.ndarray:
    """(N, D) scaled to unit length; zero where there is nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


@dataclass(frozen=True)
class StructureIndex:
    """The signatures of the patches of an archive.

    Attributes
    ----------
    patches
        With the signatures as vectors; patches without field are left out.
    radial
        (N,) bool: which of them show the radial field.
    """

    patches: EmbeddingIndex
    radial: np.ndarray

    @classmethod
    def read(cls, archive: Archive, model: Model, where: str | None = None) -> StructureIndex:
        """The patches that meet a condition, sorted by id, on the grid of the model.

        Every patch is read: a second for some ten thousand, once they are prepared for the grid.

        Raises
        ------
        SearchError
            When no patch with field meets it.
        """
        places, table = table_with_places(archive, ["id", "region", "quantity"], where)
        ids, found = [], []
        for batch in batches(archive, model.preset, _AT_A_TIME, where):
            ids += batch.ids
            found.append(signatures(batch.x[:, 0].numpy()))
        vectors = np.concatenate(found) if found else np.empty((0, 1), np.float32)
        kept = np.flatnonzero(vectors.any(axis=1))
        if not len(kept):
            raise SearchError(f"no patch with field meets {where!r}" if where else "no patch of the archive has field")
        names = pa.array(ids, pa.string()).take(pa.array(kept))
        at = pc.index_in(names, value_set=whole(table["id"]))
        placed = None if places is None else places[np.asarray(at)]
        patches = EmbeddingIndex(names, whole(table["region"]).take(at), vectors[kept], placed)
        return cls(patches, np.asarray(pc.equal(whole(table["quantity"]).take(at), "radial").fill_null(False)))

    def among(self, ids: pa.Array, where: str | None) -> StructureIndex:
        """Those of some ids, which are of the patches that meet a condition; SearchError where there are none."""
        rows = np.flatnonzero(np.asarray(pc.is_in(self.patches.id_array, value_set=ids)))
        if not len(rows):
            raise SearchError(f"no patch with field meets {where!r}")
        return StructureIndex(self.patches.among(rows), self.radial[rows])

    def distances(self, asked: Query) -> np.ndarray:
        """Distances (N,) of a query from every patch.

        A line-of-sight query is compared with radial patches as an estimate of its radial field (`Query.as_radial`),
        with all others as it is.

        Raises
        ------
        SearchError
            For a query without field.
        """
        apart = self._from(asked.x)
        if self.radial.any() and asked.as_radial is not None:
            apart = np.where(self.radial, self._from(asked.as_radial), apart)
        return apart

    def correlations(self, asked: Query, cfg: AugmentConfig, ids: Sequence[str], x: np.ndarray) -> np.ndarray:
        """`shifted_correlations` (K,) of a query with some of the patches, by their ids and grids (K, H, W).

        A line-of-sight query is compared as `distances` compares it.
        """
        out = shifted_correlations(asked.x, x, cfg)
        radial = self.radial[np.asarray(pc.index_in(texts(ids), value_set=self.patches.id_array))]
        if radial.any() and asked.as_radial is not None:
            out[radial] = shifted_correlations(asked.as_radial, x[radial], cfg)
        return out

    def _from(self, x: np.ndarray) -> np.ndarray:
        signature = signatures(x[None])
        if not signature.any():
            raise SearchError("the query has no field to be compared by structure")
        return self.patches.distances(signature)[0]
