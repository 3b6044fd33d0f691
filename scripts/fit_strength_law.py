"""The mean strength of simulated regions by their flux, which far-side ensembles are led to: writes the law that ships.

    python scripts/fit_strength_law.py --archive train --out src/solquery/farside/strength.json

One frame of each region, at random; none of a region that ensembles are judged on. Observed frames in the folders of
`--observed` are only compared: where they stand among the quantiles of the law.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from solquery import Archive, Model, Patch, SolqueryError, prepare_many, read_sharp
from solquery.farside import StrengthLaw
from solquery.farside.strength import mean_strength


def fields_of(patches: list[Patch], model: Model) -> np.ndarray:
    """(N, H, W) gauss on the grid of the model."""
    return np.asarray(model.preset.to_gauss(np.nan_to_num(prepare_many(patches, model.preset))))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", required=True)
    parser.add_argument("--model", help="whose grid; the shipped default without it")
    parser.add_argument("--regions", type=int, default=800, help="at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--observed", type=Path, nargs="*", default=[], help="folders of SHARP files of Br")
    options = parser.parse_args()
    model, archive = Model.load(options.model), Archive.open(options.archive)
    rows = archive.table(["id", "region"], "source = 'simulated'").to_pandas()
    rows = rows.sample(frac=1.0, random_state=options.seed).drop_duplicates("region")[: options.regions]
    law = StrengthLaw.of(fields_of(list(archive.patches(ids=list(rows["id"]))), model), model.preset)
    law.save(options.out)
    print(f"{options.out}: {law.regions} simulated regions")
    for at in (0, len(law.flux) // 2, len(law.flux) - 1):
        low, middle, high = (10 ** float(law.at(np.array([p]))[0, at]) for p in (0.16, 0.5, 0.84))
        print(f"  {10 ** law.flux[at]:.1e} Mx: {middle:.0f} G, 68 % within {low:.0f} and {high:.0f}")
    found: dict[str, list[float]] = defaultdict(list)
    for file in sorted(f for folder in options.observed for f in folder.rglob("*.Br.fits")):
        try:
            patch = read_sharp(file, strict_quality=False)
        except SolqueryError:
            continue
        flux, strength = (float(v[0]) for v in mean_strength(fields_of([patch], model), model.preset))
        quantiles = [np.interp(np.log10(flux), law.flux, line) for line in law.strength.T]
        found[patch.region].append(float(np.interp(np.log10(strength), quantiles, law.levels, 0.0, 1.0)))
    for region, levels in found.items():
        print(f"  observed {region}: {len(levels)} frames, in the law at {np.median(levels):.2f}")


if __name__ == "__main__":
    main()
