"""Targets of TUF, PSEP and R drawn jointly inside the 5th to 95th percentile box: how well and how fast they are met.

    python benchmarks/targets.py --model paper --targets 200 --answers 8

Beside the seconds it prints the work, which does not depend on what else the machine does: patches made and measured,
with gradients found through the generator counted as five.

The targets are what held-out patches measure, in the numbers of the model (at native scale where it is calibrated):
of an archive (`--archive`), or, without one, of generated patches that are not in the look-up table. Joint, so that
each can be had.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from solquery import Archive, Model, embed, generate, prepare_many
from solquery.steering.native_scale import measure_native, measure_native_latents
from solquery.steering.solving import Search

NAMES = ["tuf", "psep", "r"]


def drawn(model: Model, archive: str | None, number: int, seed: int) -> dict[str, np.ndarray]:
    """Targets (T,) of each parameter."""
    if archive is None:
        z = torch.randn(3 * number, int(model.generator.latent_dim), generator=torch.Generator().manual_seed(seed))
        values = {k: np.asarray(v) for k, v in measure_native_latents(model, z, NAMES).items()}
    else:
        store = Archive.open(archive)
        ids = np.random.default_rng(seed).permutation(sorted(store.ids()))[: 3 * number]
        values = measure_native(model, prepare_many(store.patches(ids=list(ids)), model.preset), NAMES)
    inside = np.ones(len(values["tuf"]), bool)
    for v in values.values():
        low, high = np.nanpercentile(v, [5, 95])
        inside &= (v >= low) & (v <= high)
    return {k: v[inside][:number] for k, v in values.items()}


class Counted:
    """Counts the work of a search while it goes on."""

    def __init__(self) -> None:
        self.work = 0
        for name, weight in (("values", 1), ("gradients", 5)):
            setattr(Search, name, self._counting(getattr(Search, name), weight))

    def _counting(self, method: Any, weight: int) -> Any:
        def counted(search: Search, z: torch.Tensor, *rest: Any) -> Any:
            self.work += weight * len(z)
            return method(search, z, *rest)

        return counted


def _off(got: float, wanted: float) -> float:
    """Relative error; R is 0 on many regions, of which nothing else is right."""
    return abs(got / wanted - 1.0) if wanted else float(got != 0.0)


def spread_of(model: Model, x: np.ndarray) -> float:
    """Mean distance between pairs of patches (N, H, W) in encoder space."""
    e = np.asarray(embed(model.encoder, x), np.float64)
    distance = np.linalg.norm(e[:, None] - e[None], axis=2)
    return float(distance[np.triu_indices(len(e), 1)].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--archive", default=None)
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--answers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=777)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = Model.load(asked.model)
    targets = drawn(model, asked.archive, asked.targets, asked.seed)
    errors, seconds, processor, verdicts, diversity, work = [], [], [], [], [], []
    counted = Counted()
    for k in range(len(targets["tuf"])):
        want = {name: float(targets[name][k]) for name in NAMES}
        began, began_processor, counted.work = time.perf_counter(), time.process_time(), 0
        answers = generate(model, want, asked.answers, seed=k)
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - began_processor)
        work.append(counted.work)
        errors += [[_off(a.measured[name], want[name]) for name in NAMES] for a in answers]
        verdicts += [a.verdict == "met" for a in answers]
        if model.encoder is not None and len(answers) > 1:
            diversity.append(spread_of(model, np.stack([a.x for a in answers])))
    error = np.nan_to_num(np.array(errors), nan=np.inf)
    out: dict[str, Any] = {
        "model": model.name,
        "targets": len(seconds),
        "answers": len(error),
        "median_error": {name: float(np.median(error[:, j])) for j, name in enumerate(NAMES)},
        "median_error_psep_and_r": float(np.median(error[:, 1:])),
        "within_10_percent_in_all": float((error <= 0.1).all(1).mean()),
        "met": float(np.mean(verdicts)),
        "seconds_median": float(np.median(seconds)),
        "seconds_p90": float(np.percentile(seconds, 90)),
        "work_median": float(np.median(work)),
        "work_p90": float(np.percentile(work, 90)),
        "processor_seconds_median": float(np.median(processor)),
    }
    if diversity:
        z = torch.randn(64, int(model.generator.latent_dim), generator=torch.Generator().manual_seed(asked.seed + 1))
        with torch.no_grad():
            random = spread_of(model, model.generator(z)[:, 0].numpy())
        out |= {"pair_distance": float(np.mean(diversity)), "random_pair_distance": random}
        out["diversity"] = out["pair_distance"] / random
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
