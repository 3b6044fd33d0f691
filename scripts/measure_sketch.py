"""How well a rough sketch of a region finds it, on simulated regions; see docs/how-to/search-with-a-sketch.md.

python scripts/measure_sketch.py --archive regions --queries 24
"""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np

from solquery import Archive, Model, Patch, SearchSession, SolqueryError, SteeringWarning, embed_archive, prepare
from solquery.physics import measure_on_grid
from solquery.steering import Blob, invert_sketch, sketch_patch

NAMES = ("tuf", "psep", "r", "tilt")
WAYS = ("embedding", "hybrid")


def rough_sketch(patch: Patch, model: Model, rng: np.random.Generator) -> list[Blob]:
    """Two blobs as somebody would draw them: fluxes within 20 %, places within 4 Mm, sizes within 30 % (1 sigma).

    Wide and weak polarities are drawn as small as 400 G make them, since sketches of less than 300 G are refused.
    """
    scale = model.preset.scale_mm
    assert scale is not None  # sketch_patch refuses other grids
    field = np.nan_to_num(model.preset.to_gauss(prepare(patch, model.preset))).astype(np.float64)
    y, x = (
        ((np.arange(n) - (n - 1) / 2) * mm).reshape(side)
        for n, mm, side in zip(field.shape, scale, ((-1, 1), (1, -1)), strict=True)
    )
    out = []
    for sign in (1, -1):
        strength = np.where(sign * field > 100, np.abs(field), 0.0)
        flux = strength.sum()
        if flux == 0:
            raise SolqueryError(f"{patch.id} has one polarity only")
        at = [float((strength * axis).sum() / flux) for axis in (y, x)]
        spread = np.sqrt((strength * ((y - at[0]) ** 2 + (x - at[1]) ** 2)).sum() / flux / 2)
        mx = float(flux * scale[0] * scale[1] * 1e16 * np.exp(0.2 * rng.normal()))
        size = 2.355 * spread * np.exp(0.3 * rng.normal())
        size = max(min(size, np.sqrt(mx / (1.133 * 400e16))), 1.2 * max(scale))
        out.append(
            Blob(
                sign, mx, float(size),
                at[1] + 4 * rng.normal(), at[0] + 4 * rng.normal(),
            )
        )  # fmt: skip
    return out


def rank(session: SearchSession, query: object, region: str, regions: int, by: str) -> int:
    """Place of a region among all."""
    found = session.search(query, regions, by=by, rerank=0)
    return 1 + [match.region for match in found].index(region)


def measured(archive: Archive, model: Model, queries: int, seed: int, where: str | None = None) -> dict:
    rng, session = np.random.default_rng(seed), SearchSession(archive, model)
    regions = sorted(set(archive.table(["region"])["region"].to_pylist()))
    ranks: dict[str, list[int]] = {f"{kind}, {by}": [] for kind in ("blobs", "region") for by in WAYS}
    errors: dict[str, list[float]] = {name: [] for name in NAMES}
    refused: list[str] = []
    drawn = 0
    for region in rng.permutation(sorted(set(archive.table(["region"], where)["region"].to_pylist()))):
        if len(ranks["region, hybrid"]) == queries:
            break
        patch = next(iter(archive.patches(f"region = '{region}'")))
        try:
            blobs = rough_sketch(patch, model, rng)
            flat = sketch_patch(blobs, model.preset)
        except SolqueryError as error:
            refused.append(str(error))
            continue
        found = invert_sketch(model, blobs, seed=seed)
        drawn += found.verdict == "drawn"
        for kind, query in (("blobs", prepare(flat, model.preset)), ("region", found)):
            for by in WAYS:
                ranks[f"{kind}, {by}"].append(rank(session, query, str(region), len(regions), by))
        asked = measure_on_grid(prepare(flat, model.preset), model.preset, NAMES)
        got = measure_on_grid(found.x, model.preset, NAMES)
        for name in NAMES:
            a, b = float(asked[name][0]), float(got[name][0])
            errors[name].append(abs(b - a) if name == "tilt" else abs(b / a - 1) if a else np.nan)
    return {
        "regions": len(regions), "queries": len(ranks["region, hybrid"]), "drawn": drawn, "refused": refused,
        "median rank": {way: float(np.median(found)) for way, found in ranks.items()},
        "among the first ten": {way: float(np.mean(np.array(found) <= 10)) for way, found in ranks.items()},
        "median error": {name: float(np.nanmedian(values)) for name, values in errors.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--where", help="regions to sketch, in SQL; all are searched")
    parser.add_argument("--queries", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    archive, model = Archive.open(asked.archive), Model.load(asked.model)
    embed_archive(archive, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)
        print(json.dumps(measured(archive, model, asked.queries, asked.seed, asked.where), indent=1))


if __name__ == "__main__":
    main()
