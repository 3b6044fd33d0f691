"""The shipped encoder and one of your own on the same frames: what does the nearest one have in common with the query?

    python benchmarks/encoders.py --archive archive --plugin my_encoder.py --encoder power --regions 60 --frames 4

Frames of an archive with several frames a region (`solquery simulate`) are searched for among all the others, by the
embedding alone. Told are how often the nearest frame is of the query's region, and, of the nearest frame of another
region, the median ratio of the unsigned fluxes (TUF) and difference of the separations; beside them those of any two.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from solquery import Archive, Model, embed, load_plugin, prepare_many


def chosen(archive: Archive, regions: int, frames: int) -> Any:
    """Rows of so many frames, spread over time, of the first regions."""
    table = archive.table(["id", "region", "tuf", "psep"]).to_pandas().sort_values("id")
    parts = []
    for _, rows in list(table.groupby("region"))[:regions]:
        parts.append(rows.index[np.unique(np.linspace(0, len(rows) - 1, frames).astype(int))])
    return table.loc[np.concatenate(parts)]


def compared(vectors: np.ndarray, rows: Any) -> dict[str, float]:
    """What the nearest frames have in common with the query."""
    region, flux, apart = rows["region"].to_numpy(), rows["tuf"].to_numpy(float), rows["psep"].to_numpy(float)
    vectors = vectors.astype(np.float64)
    distance = ((vectors[:, None] - vectors[None]) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    same = region[:, None] == region[None]
    nearest = distance.argmin(1)
    other = np.where(same, np.inf, distance).argmin(1)
    ratio = np.abs(np.log(flux[:, None] / flux[None]))
    difference = np.abs(apart[:, None] - apart[None])
    line = np.arange(len(rows))
    return {
        "same region": float((region[nearest] == region).mean()),
        "by chance": float(((same.sum(1) - 1) / (len(rows) - 1)).mean()),
        "flux ratio": float(np.exp(np.median(ratio[line, other]))),
        "flux ratio of any two": float(np.exp(np.median(ratio[~same]))),
        "separation differs": float(np.nanmedian(difference[line, other])),
        "separation of any two differs": float(np.nanmedian(difference[~same])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", required=True, help="With several frames a region.")
    parser.add_argument("--model", help="Name or folder; the shipped default without it.")
    parser.add_argument("--plugin", help="Python file that registers the encoder.")
    parser.add_argument("--encoder", help="Its name, or an ONNX file.")
    parser.add_argument("--regions", type=int, default=60)
    parser.add_argument("--frames", type=int, default=4, help="Of each region.")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.plugin:
        load_plugin(args.plugin)
    archive, model = Archive.open(args.archive), Model.load(args.model)
    rows = chosen(archive, args.regions, args.frames)
    x = prepare_many(archive.patches(ids=list(rows["id"])), model.preset)
    models = {model.name: model}
    if args.encoder:
        models[args.encoder] = model.with_encoder(args.encoder)
    found = {name: compared(embed(one.encoder, x), rows) for name, one in models.items()}
    if args.json:
        print(json.dumps({"frames": len(rows), "regions": int(rows["region"].nunique()), "encoders": found}))
        return
    print(f"{len(rows)} frames of {rows['region'].nunique()} regions")
    for name, values in found.items():
        print(f"{name:12}" + "".join(f"  {what} {value:.3g}" for what, value in values.items()))


if __name__ == "__main__":
    main()
