"""Experiments that stand beside the paper's text: conditional directions, changed copies, intervals of its comparisons.

Called like those of `reproduce_experiments`, with the study, the stage's own folder, and the folders of those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document, Entries
from ..encoder import embed
from ..encoder.collapse import effective_rank
from ..physics import measure
from ..serialise import finite
from ..steering import exact_traversals, fit_directions, measure_latents, sample_latents
from ..steering.editing import directions_of
from .describe_experiments import embedded
from .recall import copies
from .reproduce_stages import Folders
from .shares import difference_of
from .steering_figures import WATCHED

if TYPE_CHECKING:
    from .reproduce import Study
    from .retrieval import RetrievalStudy

__all__ = [
    "changed_copies", "changes_between", "conditional", "epoch_choices", "sigma_of_mean_zero", "similarity_differences",
]  # fmt: skip

#: what is changed and what is held (paper, section 4 and Fig. 5)
_CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tuf", ("r",)),
    ("psep", ("polarity",)),
    ("psep", ("polarity", "r")),
)
_EPSILON = 3.0
#: a led parameter is moved to so many spreads on either side
_SPREADS = 1.5


def changes_between(study: Study, ends: np.ndarray, led: str | None = None) -> dict[str, float | None]:
    """What changes from the first to the second half of latents (2N, D): medians in spreads, and polarities flipped.

    Medians have their sign; with `led`, the parameter that is led, those of the others are of the size of the change.
    """
    d = directions_of(study.model)
    values = measure_latents(study.model.generator, study.model.preset, ends, [*WATCHED, "polarity"])
    out: dict[str, float | None] = {}
    for name in WATCHED:
        first, last = np.split(values[name], 2)
        change = (last - first)[np.isfinite(last - first)]
        spread = d.spread(name) if name in d.names else 0.0
        size = change if led in (None, name) else np.abs(change)
        out[name] = finite(np.median(size) / spread) if len(change) and spread > 0 else None
    first, last = np.split(values["polarity"], 2)
    known = np.isfinite(first) & np.isfinite(last)
    out["flips"] = float((first != last)[known].mean()) if known.any() else None
    return out


def conditional(study: Study, folder: Path, before: Folders) -> Document:
    """One parameter changed, others held: along linear directions, of a larger table too, and solved for each patch.

    The paper's construction is linear (orthogonal complement of the held normals). Its directions come from a table of
    10,000 latents; here they are fitted to a larger one as well, which says whether more data would hold more. Beside
    them stands `exact_traversals`, which solves for each patch.
    """
    d = directions_of(study.model)
    z, _ = study.drawn(study.plan.effects, study.plan.seed + 3)
    names = [name for name in (*WATCHED, "polarity") if name in d.names]
    study.progress(f"fitting directions to {study.plan.lookup:,} latents", 0.0)
    table = sample_latents(study.model.generator, study.model.preset, study.plan.lookup, study.plan.seed + 4, names)
    larger = fit_directions(table, n_train=round(0.7 * study.plan.lookup), seed=study.plan.seed)
    rows = []
    for k, (name, hold) in enumerate(_CASES):
        if not {name, *hold} <= set(d.names) & set(larger.names):
            continue
        study.progress(f"{name} with {', '.join(hold)} held", (k + 0.3) / len(_CASES))
        found: dict[str, dict[str, float | None]] = {}
        for way, directions, held in (("free", d, ()), ("linear", d, hold), ("larger table", larger, hold)):
            normal = directions.normal(name, held)
            found[way] = changes_between(study, np.concatenate([z - _EPSILON * normal, z + _EPSILON * normal]), name)
        solved = [exact_traversals(study.model, z, name, hold, s).numpy() for s in (-_SPREADS, _SPREADS)]
        found["exact"] = changes_between(study, np.concatenate(solved), name)
        rows.append({"name": name, "hold": list(hold), "ways": found})
    accuracy = {
        name: {"model": float(d.accuracies[d.index(name)]), "larger": float(larger.accuracies[larger.index(name)])}
        for name in names
        if name in larger.names
    }
    left_out = {name: int(d.dropped[d.index(name)]) for name in names}
    return {
        "rows": rows, "accuracies": accuracy, "lookup": study.plan.lookup, "latents": len(z), "left_out": left_out,
    }  # fmt: skip


def changed_copies(study: Study, folder: Path, before: Folders) -> Document:
    """How often the patch that a changed copy was made from comes first among 1,000; rank of the embeddings."""
    embedded(study, 0.8)
    found = copies(study.archive, study.model, 200, study.plan.seed, among=1_000)
    _, x = study.drawn(512, study.plan.seed + 5)
    shares = {name: found[name] for name in ("all", "shift_px", "zoom", "rotation_deg", "vertical_flip", "negative")}
    return {
        **shares,
        "among": found["among"],
        "patches": found["patches"],
        "effective_rank_of_generated": finite(_rank(embed(study.model.encoder, x))),
    }


def _rank(vectors: np.ndarray) -> float:
    import torch

    return effective_rank(torch.from_numpy(np.asarray(vectors, np.float32)))


def similarity_differences(found: RetrievalStudy, resamples: int, seed: int) -> Document:
    """By how much matches by embedding are visually more similar than those of each other method, with intervals."""
    n = found.judged
    if not n or "ssl" not in found.alike:
        return {}
    rows = found.best["ssl"][:n]
    groups = np.where(rows >= 0, found.regions[rows], "")
    others = (method for method in found.alike if method != "ssl")
    return {method: difference_of(found.alike["ssl"], found.alike[method], groups, seed) for method in others}


def sigma_of_mean_zero(study: Study, found: RetrievalStudy) -> Document:
    """Correlation of query and match in the paper's SIGMA, a normal density of mean zero; `sigma` fits the mean too."""
    from .retrieval import correlate

    rows = found.best["ssl"]
    ids = [str(found.ids[row]) for row in np.unique(rows[rows >= 0])]
    if not ids:
        return {}
    x = study.archive.prepared(study.model.preset, ids=ids)[1]
    scale = study.model.preset.scale_mm
    values = measure(study.gauss(np.nan_to_num(x)), scale, ("sigma_zero",))["sigma_zero"].numpy()
    of = dict(zip(ids, values.tolist(), strict=True))
    matched = np.array([of.get(str(found.ids[row]), np.nan) if row >= 0 else np.nan for row in rows])
    asked = measure(study.gauss(found.x), scale, ("sigma_zero",))["sigma_zero"].numpy()
    return {key: finite(value) for key, value in correlate(asked, matched).items()}


def epoch_choices(lines: Sequence[Entries]) -> Document:
    """The epochs that the paper's rule chooses, on patches of the training and on held-out ones."""
    out: Document = {}
    for kind, key, chosen in (
        ("training", "discriminator_accuracy", "chosen_epoch"),
        ("held_out", "held_out_discriminator_accuracy", "held_out_chosen_epoch"),
    ):
        told = [line for line in lines if key in line and chosen in line]
        if told:
            epoch = int(told[-1][chosen])
            at = [line for line in told if round(float(line["epoch"])) == epoch]
            out[kind] = {"epoch": epoch, "accuracy": finite(at[0][key]) if at else None, "epochs": len(told)}
    return out
