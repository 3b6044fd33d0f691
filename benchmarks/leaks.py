"""What holding by local directions leaves: TUF led with R held, and PSEP with polarity and R held.

    python benchmarks/leaks.py --model paper --latents 24

Each latent is led by 1.5 spreads forth and back; the change of what is held is set against its own spread (half the
distance between the 16th and 84th percentile of generated patches), beside what it changes by when nothing is held.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from solquery import Model
from solquery.steering import exact_traversals, measure_latents

CASES = (("tuf", ("r",)), ("psep", ("polarity", "r")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--latents", type=int, default=24)
    parser.add_argument("--spreads", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    model = Model.load(asked.model)
    directions = model.directions
    assert directions is not None, "the model has no directions"
    z = torch.randn(asked.latents, directions.latent_dim, generator=torch.Generator().manual_seed(asked.seed))
    out: dict[str, object] = {"model": model.name, "latents": asked.latents, "spreads": asked.spreads}
    for name, hold in CASES:
        names = [name, *hold]
        half = {k: 0.5 * (directions.quantile(k, 84) - directions.quantile(k, 16)) for k in names}
        start = measure_latents(model.generator, model.preset, z, names)
        for held in ((), hold):
            changes: dict[str, list[np.ndarray]] = {k: [] for k in names}
            for way in (1.0, -1.0):
                end = exact_traversals(model, z, name, held, way * asked.spreads)
                values = measure_latents(model.generator, model.preset, end, names)
                for k in names:
                    changes[k].append(np.abs(values[k] - start[k]) / half[k])
            case = f"{name} led, {', '.join(hold)} " + ("held" if held else "free")
            both = {k: np.concatenate(v) for k, v in changes.items()}
            out[case] = {k: {"median": float(np.nanmedian(v)), "mean": float(np.nanmean(v))} for k, v in both.items()}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
