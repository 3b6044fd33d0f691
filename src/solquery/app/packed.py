"""Patches on the wire: one JSON document and the fields behind it, as float16, in one response.

Layout: the four letters ``SQP1``, the length of the JSON text as little-endian uint32, the JSON text padded with
spaces so that what follows starts at a multiple of four, then the fields (N, H, W) as little-endian float16 in gauss,
row by row from the south. The document's `fields` holds N, H and W. Float16 is exact to half a gauss at 1000 G.
"""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Document, Entries

__all__ = ["MEDIA_TYPE", "field_record", "pack", "unpack"]

MEDIA_TYPE = "application/vnd.solquery.patch"
_MAGIC = b"SQP1"


def _halves(gauss: ArrayLike) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(gauss, dtype=np.float32).astype("<f2"))


def pack(document: Entries, gauss: ArrayLike) -> bytes:
    """A document (plain JSON) and fields (H, W) or (N, H, W) in gauss as one body."""
    fields = _halves(gauss)
    if fields.ndim == 2:
        fields = fields[None]
    text = json.dumps({**document, "fields": list(fields.shape)}, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return _MAGIC + struct.pack("<I", len(text)) + text + fields.tobytes()


def unpack(body: bytes) -> tuple[Document, np.ndarray]:
    """The document and the fields (N, H, W) float32 of a body that `pack` wrote.

    Raises
    ------
    ValueError
        When it is none, or cut short.
    """
    if body[:4] != _MAGIC or len(body) < 8:
        raise ValueError("no packed patch: it does not begin with SQP1")
    (size,) = struct.unpack("<I", body[4:8])
    document = json.loads(body[8 : 8 + size])
    shape = tuple(document["fields"])
    data = body[8 + size :]
    if len(data) != 2 * int(np.prod(shape)):
        raise ValueError(f"the packed patch is cut short: {len(data)} bytes for fields {shape}")
    return document, np.frombuffer(data, dtype="<f2").reshape(shape).astype(np.float32)


def field_record(gauss: ArrayLike) -> Document:
    """One field (H, W) in gauss for a JSON document."""
    field = _halves(gauss)
    return {
        "unit": "G",
        "dtype": "<f2",
        "shape": list(field.shape),
        "data": base64.b64encode(field.tobytes()).decode(),
    }
