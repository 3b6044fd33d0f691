"""What an archive keeps of a patch: the columns, and the way from a `Patch` to a row and back.

The field is kept in gauss, native size, unclipped, as little-endian float16: exact to one part in 2048, which at
1000 G is half a gauss, far below the noise of HMI (some 5 G along the line of sight, 13 to 96 G radial).
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import warnings
from typing import Any

import numpy as np
import pyarrow as pa

from ..aliases import Document, Row
from ..patch import Patch, observation_time
from ..physics import measure_patch, parameters
from ..serialise import plain
from ..sharp.header import number
from ..sharp.identity import instrument_of
from ..sharp.limb import offlimb_fraction

__all__ = [
    "METADATA", "checksum", "decode_field", "encode_field", "field_checksum", "parameter_values", "patch_of", "row_of",
    "schema",
]  # fmt: skip

#: fields above this cannot be written as float16, and no place on the Sun comes near it
LARGEST_GAUSS = 65504.0
#: `clipped_fraction` counts the pixels beyond this, where the `paper` preset clips
CLIP_GAUSS = 1000.0
SOURCES = ("real", "simulated", "generated")

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int32()

#: the columns every archive has, in order; parameters follow
METADATA: dict[str, pa.DataType] = {
    "id": _TEXT,
    "region": _TEXT,
    "source": _TEXT,
    "quantity": _TEXT,
    "segment": _TEXT,
    "t_rec": _TEXT,
    "t_utc": pa.timestamp("us", tz="UTC"),
    "harpnum": _WHOLE,
    "noaa": pa.list_(pa.int32()),
    "latitude_deg": _REAL,
    "longitude_deg": _REAL,
    "carrington_deg": _REAL,
    "b0_deg": _REAL,
    "mu": _REAL,
    "quality": pa.int64(),
    "ny": _WHOLE,
    "nx": _WHOLE,
    "scale_y_mm": _REAL,
    "scale_x_mm": _REAL,
    "missing_fraction": _REAL,
    "clipped_fraction": _REAL,
    "checksum": _TEXT,
    "credit": _TEXT,
    "file": _TEXT,
    "keywords": _TEXT,
    "truth": _TEXT,
    "unit": _TEXT,
    "offlimb_fraction": _REAL,
    "usflux_mx": _REAL,
    "r_value": _REAL,
    "area_acr_uhem": _REAL,
    "latitude_positive_deg": _REAL,
    "longitude_positive_deg": _REAL,
    "latitude_negative_deg": _REAL,
    "longitude_negative_deg": _REAL,
    "instrument": _TEXT,
    "series": _TEXT,
}
#: SHARP keywords that are columns: total unsigned flux in Mx, Schrijver's R as log10, area of active pixels in
#: millionths of a hemisphere, flux-weighted centres of the polarities (Stonyhurst), as the pipeline computed them
SHARP_COLUMNS = {
    "usflux_mx": "USFLUX",
    "r_value": "R_VALUE",
    "area_acr_uhem": "AREA_ACR",
    "latitude_positive_deg": "LATFWTPO",
    "longitude_positive_deg": "LONFWTPO",
    "latitude_negative_deg": "LATFWTNE",
    "longitude_negative_deg": "LONFWTNE",
}


def schema() -> pa.Schema:
    """Schema of the metadata table: `METADATA`, then one float64 column per registered parameter."""
    fields = [pa.field(name, kind, nullable=name != "id") for name, kind in METADATA.items()]
    return pa.schema(fields + [pa.field(name, _REAL) for name in parameters()])


def encode_field(field: np.ndarray) -> bytes:
    """Field (ny, nx) in G to float16 little-endian bytes, row by row from the south."""
    return np.ascontiguousarray(field, dtype="<f2").tobytes()


def decode_field(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Bytes of `encode_field` to (ny, nx) float32 in G."""
    return np.frombuffer(data, dtype="<f2").reshape(shape).astype(np.float32)


def checksum(data: bytes, shape: tuple[int, int]) -> str:
    """SHA-256 of an encoded field and its shape."""
    digest = hashlib.sha256(f"{shape[0]}x{shape[1]}:".encode())
    digest.update(data)
    return digest.hexdigest()


def field_checksum(field: np.ndarray) -> str:
    """The `checksum` that the row of a field in G has, of which pixels that are not finite are missing."""
    values = np.asarray(field, dtype=np.float32)
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    return checksum(encode_field(values), values.shape)


def parameter_values(patch: Patch, names: list[str]) -> Document:
    """Parameters `names` of one patch at native scale, as an archive holds them (`solquery.physics.measure_patch`).

    Without a scale, only those whose unit does not depend on it have a value; the others are None, since a column
    must not mix maxwell with gauss times pixels. What cannot be told is None too: in SQL, NaN exceeds every number.
    """
    values = measure_patch(patch, names)
    return {n: None if math.isnan(value) else value for n, value in values.items()}


def _encoded(field: np.ndarray) -> tuple[bytes, int, int, float]:
    """`encode_field` of a field (ny, nx) float32, how many pixels are finite and beyond `CLIP_GAUSS`, and the largest.

    By a compiled pass where numba is loaded, which parameters are measured by; it gives the same to the bit.
    """
    if "numba" in sys.modules:
        from .half_kernel import encode

        values = np.ascontiguousarray(field).reshape(-1)
        out = np.empty(len(values), np.uint16)
        finite, clipped, largest = encode(values.view(np.uint32), values, np.float32(CLIP_GAUSS).view(np.uint32), out)
        return out.astype("<u2", copy=False).tobytes(), finite, clipped, float(np.uint32(largest).view(np.float32))
    known = np.isfinite(field)
    values = np.where(known, field, np.float32(np.nan))
    size = np.abs(values)
    # fmax passes over NaN
    largest = float(np.fmax.reduce(size, axis=None))
    with np.errstate(over="ignore"):  # what is too large is refused
        data = encode_field(values)
    return data, int(np.count_nonzero(known)), int(np.count_nonzero(size > CLIP_GAUSS)), largest


def _from_meridian(patch: Patch) -> float:
    """Longitude of the centre from the meridian of the observer, who need not be on the Earth's."""
    aside = number(patch.keywords.get("HGLN_OBS"))
    return patch.longitude_deg - (0.0 if math.isnan(aside) else aside)


def row_of(patch: Patch, names: list[str]) -> tuple[Document, bytes]:
    """Row of the metadata table with the parameters `names`, and the encoded field.

    Raises
    ------
    ValueError
        Naming the patch, when it has no id, an unknown source, or no proper field.
    """
    field = np.asarray(patch.field, dtype=np.float32)
    if not patch.id or not patch.region:
        raise ValueError(f"a patch needs an id and a region to enter an archive, got {patch.id!r}, {patch.region!r}")
    if patch.source not in SOURCES:
        raise ValueError(f"patch {patch.id}: source must be one of {', '.join(SOURCES)}, got {patch.source!r}")
    if field.ndim != 2 or min(field.shape, default=0) < 2:
        raise ValueError(f"patch {patch.id}: the field must be (ny, nx) of at least 2 x 2, got shape {field.shape}")
    data, finite, clipped, largest = _encoded(field)
    if not finite:
        raise ValueError(f"patch {patch.id}: every pixel is missing")
    if largest > LARGEST_GAUSS:
        raise ValueError(f"patch {patch.id}: {largest:.3g} G is no solar field; is the unit gauss?")
    scale_y, scale_x = patch.scale_mm if patch.scale_mm is not None else (None, None)
    row = {
        "id": patch.id,
        "region": patch.region,
        "source": patch.source,
        "quantity": patch.quantity,
        "segment": patch.segment,
        "t_rec": patch.t_rec,
        "t_utc": observation_time(patch.t_rec),
        "harpnum": patch.harpnum,
        "noaa": list(patch.noaa),
        "latitude_deg": patch.latitude_deg,
        "longitude_deg": patch.longitude_deg,
        "carrington_deg": patch.carrington_deg,
        "b0_deg": patch.b0_deg,
        "mu": patch.mu,
        "quality": patch.quality,
        "ny": field.shape[0],
        "nx": field.shape[1],
        "scale_y_mm": scale_y,
        "scale_x_mm": scale_x,
        "missing_fraction": 1.0 - finite / field.size,
        "clipped_fraction": clipped / field.size,
        "checksum": checksum(data, field.shape),
        "credit": patch.credit,
        "file": patch.file,
        "keywords": json.dumps(plain(patch.keywords), ensure_ascii=False),
        "truth": json.dumps(plain(patch.truth), ensure_ascii=False),
        "unit": "G",
        "offlimb_fraction": offlimb_fraction(
            field.shape, patch.scale_mm, patch.latitude_deg, _from_meridian(patch), patch.b0_deg
        ),
        "instrument": instrument_of(patch.keywords) if patch.source == "real" else "",
        "series": str(patch.keywords.get("SERIES") or ""),
        **{column: number(patch.keywords.get(keyword)) for column, keyword in SHARP_COLUMNS.items()},
    }
    if patch.t_rec and row["t_utc"] is None:
        warnings.warn(f"patch {patch.id}: {patch.t_rec!r} is no time; t_utc is null", UserWarning, stacklevel=2)
    # NaN is not a number that SQL filters sort well; unknown is null
    row = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
    return row | parameter_values(patch, names), data


def patch_of(row: Row, data: bytes) -> Patch:
    """The patch that `row_of` took apart."""

    def real(name: str) -> Any:
        return float("nan") if row[name] is None else row[name]

    return Patch(
        field=decode_field(data, (row["ny"], row["nx"])),
        scale_mm=None if row["scale_y_mm"] is None else (row["scale_y_mm"], row["scale_x_mm"]),
        noaa=tuple(row["noaa"] or ()),
        keywords=json.loads(row["keywords"] or "{}"),
        truth=json.loads(row["truth"] or "{}"),
        **{k: row[k] for k in ("id", "region", "source", "quantity", "segment", "t_rec", "harpnum", "quality")},
        **{k: row[k] for k in ("credit", "file")},
        **{k: real(k) for k in ("latitude_deg", "longitude_deg", "carrington_deg", "b0_deg", "mu")},
    )
