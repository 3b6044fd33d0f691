"""The picture of docs/how-to/plug-in-encoder.md: what the shipped encoder and that of the page find for one region.

    python scripts/make_plug_in_picture.py --archive heldout

One frame of each region is embedded by both; the first code block of the page is the plug-in. The region searched with
is the one whose total unsigned flux is the --percentile of all.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from solquery import Archive, Model, embed, load_plugin, prepare_many
from solquery.study.magnetogram import bare, grey_bar, show_field

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", required=True)
    parser.add_argument("--regions", type=int, default=200, help="at most")
    parser.add_argument("--percentile", type=float, default=80.0)
    parser.add_argument("--found", type=int, default=4)
    parser.add_argument("--out", type=Path, default=DOCS / "pictures" / "plug-in-encoder.png")
    options = parser.parse_args()
    page = (DOCS / "how-to" / "plug-in-encoder.md").read_text()
    block = re.search(r"```python\n(# my_encoder\.py.*?)```", page, re.S)
    assert block is not None
    archive, model = Archive.open(options.archive), Model.load()
    rows = archive.table(["id", "region", "tuf", "source"]).to_pandas().sort_values("id").drop_duplicates("region")
    rows = rows[: options.regions]
    x = np.nan_to_num(prepare_many(archive.patches(ids=list(rows["id"])), model.preset))
    query = int(np.argsort(rows["tuf"].to_numpy())[round(options.percentile / 100 * (len(rows) - 1))])
    with tempfile.TemporaryDirectory() as folder:
        plug_in = Path(folder) / "my_encoder.py"
        plug_in.write_text(block[1])
        load_plugin(plug_in)
        encoders = {model.name: model.encoder, "power": model.with_encoder("power").encoder}
        found = {}
        for name, encoder in encoders.items():
            vectors = np.asarray(embed(encoder, x))
            order = np.argsort(np.linalg.norm(vectors - vectors[query], axis=1))
            found[name] = [int(k) for k in order if k != query][: options.found]
    figure = Figure(figsize=(11.5, 3.7), layout="constrained")
    for line, (name, near) in zip(figure.subplots(2, 1 + options.found), found.items(), strict=True):
        for place, (axis, k) in enumerate(zip(line, [query, *near], strict=True)):
            image = show_field(axis, np.asarray(model.preset.to_gauss(x[k])))
            bare(axis)
            flux = float(rows["tuf"].iloc[k]) / 1e22
            told = f"{place}, by {name}" if place else "searched with"
            axis.set_title(f"{told} ({rows['source'].iloc[k]})\nTUF {flux:.2g} × 10²² Mx", fontsize=7)
    grey_bar(figure, image, figure.axes[:])
    figure.savefig(options.out, dpi=110, facecolor="white")
    print(options.out)


if __name__ == "__main__":
    main()
