"""Archives of any size for benchmarks, written as tables: nothing is simulated, measured or embedded row by row.

A row is that of a sample patch under another name. Its embedding and its parameters are drawn around those of the
samples, 27 frames a region as in the archive of the paper. The rows nearest to `query_file()` have a field and a
prepared picture of full size, since a search reads those; the others have an empty field of 2 x 2 pixels.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import feather

from solquery import Archive, Model, prepare, sample_patches
from solquery.archive.cache import content_key
from solquery.archive.prepare import preset_key
from solquery.archive.records import checksum, encode_field, row_of
from solquery.archive.tables import FIELDS_SCHEMA
from solquery.encoder import embed
from solquery.physics import measure, parameters
from solquery.sharp.fits import read_sharp

FRAMES, WHOLE, AT_A_TIME = 27, 512, 50_000


def query_file() -> Path:
    """A SHARP that ships with the package."""
    return Path(str(files("solquery"))) / "samples" / "sharp-856-20110915T052400-magnetogram.fits"


def synthesise(folder: str | Path, rows: int, seed: int = 0) -> Archive:
    """An archive of `rows` patches, embedded and measured on the grid for the model that is used by default."""
    model = Model.load()
    # as an archive keeps them
    samples = [replace(p, field=p.field.astype(np.float16).astype(np.float32)) for p in sample_patches()]
    known = [row_of(patch, list(parameters())) for patch in samples]
    pictures = np.stack([prepare(patch, model.preset) for patch in samples])
    vectors = embed(model.encoder, pictures)
    grid = {k: v.numpy() for k, v in measure(model.preset.to_gauss(pictures), model.preset.scale_mm).items()}

    rng = np.random.default_rng(seed)
    source = np.repeat(rng.integers(len(samples), size=-(-rows // FRAMES)), FRAMES)[:rows]
    spread = np.linalg.cholesky(np.cov(vectors.T) + 1e-4 * np.eye(vectors.shape[1])).astype(np.float32)
    centres = rng.standard_normal((-(-rows // FRAMES), vectors.shape[1]), np.float32) @ spread.T
    made = np.repeat(vectors.mean(0) + centres, FRAMES, 0)[:rows]
    made += 0.1 * rng.standard_normal(made.shape, np.float32) @ spread.T
    factor = np.exp(0.5 * rng.standard_normal(rows))

    query = prepare(read_sharp(query_file()), model.preset)
    near = np.argsort(((made - embed(model.encoder, query)) ** 2).sum(1), kind="stable")[:WHOLE]
    whole = np.zeros(rows, bool)
    whole[near] = True

    archive = Archive.create(folder)
    kind = pa.list_(pa.float32(), vectors.shape[1])
    archive._patches.add_columns(
        [pa.field("embedding", kind)]
        + [pa.field(name, pa.string()) for name in ("embedding_model", "embedding_precision", "grid_preset")]
        # without it the grid is taken for one of a former meaning, and every row is embedded anew
        + [pa.field(name, pa.float64()) for name in ("flux_outside_view", *(f"grid_{name}" for name in grid))]
    )
    began, keys = datetime(2010, 5, 1, tzinfo=UTC), []
    small = encode_field(np.zeros((2, 2), np.float32))
    for start in range(0, rows, AT_A_TIME):
        at = np.arange(start, min(start + AT_A_TIME, rows))
        of, region, frame = source[at], at // FRAMES, at % FRAMES
        seen = [began + timedelta(hours=int(3 * r + 8 * f)) for r, f in zip(region, frame, strict=True)]
        columns = {name: pa.array([known[k][0][name] for k in range(len(known))]).take(of) for name in known[0][0]}
        columns["id"] = pa.array([f"sharp-{r + 1}-{t:%Y%m%dT%H%M%S}-Br" for r, t in zip(region, seen, strict=True)])
        columns["region"] = pa.array([f"HARP {r + 1}" for r in region])
        columns["harpnum"] = pa.array(region + 1, pa.int32())
        columns["t_rec"] = pa.array([f"{t:%Y.%m.%d_%H:%M:%S}_TAI" for t in seen])
        columns["t_utc"] = pa.array(seen, pa.timestamp("us", tz="UTC"))
        full = whole[at]
        for name, size in (("ny", 2), ("nx", 2)):
            columns[name] = pa.array(np.where(full, [known[k][0][name] for k in of], size).astype(np.int32))
        tiny = checksum(small, (2, 2))
        columns["checksum"] = pa.array([known[k][0]["checksum"] if w else tiny for k, w in zip(of, full, strict=True)])
        columns |= {name: pa.array(_drawn([known[k][0][name] for k in of], factor[at])) for name in parameters()}
        columns |= {f"grid_{name}": pa.array(_drawn(v[of], factor[at]), from_pandas=True) for name, v in grid.items()}
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(made[at].ravel()), vectors.shape[1])
        columns |= {"embedding_model": pa.array([model.encoder_hash] * len(at))}
        columns |= {"embedding_precision": pa.array(["fp32"] * len(at))}
        columns |= {"grid_preset": pa.array([model.preset.name] * len(at))}
        columns |= {"flux_outside_view": pa.array(np.zeros(len(at)))}
        schema = archive._patches.schema
        archive._patches.add(pa.table([columns[f.name].cast(f.type) for f in schema], schema=schema))
        fields = [known[k][1] if w else small for k, w in zip(of, full, strict=True)]
        archive._fields.add(pa.table({"id": columns["id"], "field": fields}, schema=FIELDS_SCHEMA))
        keys.append(pa.table({"id": columns["id"], "checksum": columns["checksum"]}))
    order = _pictures(archive, model, pa.concat_tables(keys))
    stored = _file(archive, model, order)
    place = np.empty(rows, np.int64)
    place[np.asarray(order["row"])] = np.arange(rows)
    for row in near:
        stored[place[row]] = pictures[source[row]]
    stored.flush()
    return archive


def _drawn(values: object, factor: np.ndarray) -> np.ndarray:
    """Values of the samples, each changed by a factor; those of a yes or no stay."""
    values = np.asarray(values, np.float64)
    return values if set(np.unique(values[np.isfinite(values)])) <= {-1.0, 0.0, 1.0} else values * factor


def _pictures(archive: Archive, model: Model, keys: pa.Table) -> pa.Table:
    return keys.append_column("row", pa.array(np.arange(len(keys)))).sort_by("id")


def _file(archive: Archive, model: Model, keys: pa.Table) -> np.memmap:
    """The file of prepared pictures that the archive looks for; where nothing is written it takes no room."""
    assert archive.path is not None
    keys = keys.drop_columns(["row"]).combine_chunks()
    path = archive.path / "prepared" / f"{preset_key(model.preset)}-{content_key(keys)[:16]}.npy"
    path.parent.mkdir()
    feather.write_feather(keys, str(path.with_suffix(".arrow")), compression="uncompressed")
    shape = (len(keys), *model.preset.shape)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
