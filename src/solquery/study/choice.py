"""Which checkpoint of a run to use: chosen by held-out regions, or by the paper's rule; with the reasons written down.

By quality, every kept checkpoint is held beside the same held-out patches and ranked in each of six measures; the
smallest mean rank wins, and of equal ones the later. By search, each draws the same queries, and the largest mean
correlation of eight parameters between query and best match wins (paper, section 4). By the paper's rule it is the
epoch, among the first 100, for which the run's own discriminator tells generated from real least well (same place), on
patches of the training or on held-out ones.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.torch import load_file

from ..aliases import Document
from ..config import PaperGanConfig, preset_of_run
from ..encoder import embed_archive
from ..errors import SolqueryError
from ..generator.registry import build_generator
from ..generator.training import read_settings
from ..model import Model
from ..training.run_folder import write_then_rename
from ..training.statistics import read_statistics
from .quality import read_held_out, run_quality
from .retrieval import PARAMETERS, run_retrieval

if TYPE_CHECKING:
    from ..archive.store import Archive

__all__ = ["MEASURES", "RULES", "ChoiceError", "choose_checkpoint", "mean_ranks"]

#: what a checkpoint can be chosen by
RULES = ("quality", "search", "paper", "paper-held-out")

#: measures a checkpoint is ranked in, and whether more is better
MEASURES = {
    "median_ks": False,
    "frechet": False,
    "recall": True,
    "coverage": True,
    "spectrum_dex": False,
    "tuf_reached": True,
}


class ChoiceError(SolqueryError):
    """There is nothing to choose from."""


def mean_ranks(table: list[Document]) -> list[float]:
    """Mean over the measures of each row's rank, from 1; equal values share their mean rank."""
    from scipy.stats import rankdata

    ranks = []
    for name, more_is_better in MEASURES.items():
        values = np.array([row[name] for row in table], float)
        ranks.append(rankdata(-values if more_is_better else values))
    return np.mean(ranks, axis=0).tolist()


def _kept(run: Path) -> dict[int, Path]:
    """Images shown to the generator's weights at that point."""
    files = sorted((run / "checkpoints" / "kept").glob("*-generator.safetensors"))
    return {int(file.name.split("-")[0]): file for file in files}


def choose_checkpoint(
    run: str | Path,
    archive: Archive | None = None,
    encoder: Model | None = None,
    by: str = "quality",
    *,
    preset: str | None = None,
    count: int = 500,
    seed: int = 0,
    where: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Document:
    """Choose a checkpoint; it becomes `checkpoints/generator.safetensors` of the run.

    Parameters
    ----------
    run
        Run folder of a generator.
    archive, where
        Held-out patches, of regions that the run was not trained on; by quality or search only.
    encoder
        A model whose encoder gives the space of comparison, or searches; by quality or search only.
    by
        One of `RULES`: ``quality``; ``search``, whose patches find what is most like them in the archive; ``paper``, on
        patches of the training; ``paper-held-out``, on the held-out patches that the run was given.
    preset
        Of the run, where its folder does not say.
    count, seed
        Patches of each kind, or queries; of the draw.

    Returns
    -------
    What is written to the run's `choice.json`: `by`, `chosen` (images and file), `why`, and the `table`.

    Raises
    ------
    ChoiceError
        When the run kept nothing to choose from, or what the choice needs was not given.
    """
    run = Path(run)
    if by not in RULES:
        raise ChoiceError(f"checkpoints are chosen by {', '.join(RULES[:-1])} or {RULES[-1]}, not by {by!r}")
    config, shape, resolved = read_settings(run)
    if by in ("paper", "paper-held-out"):
        within = config.choose_within_epochs if isinstance(config, PaperGanConfig) else 0
        document = _by_paper(run, within, by)
    else:
        if archive is None or encoder is None:
            raise ChoiceError(f"choosing by {by} needs an archive of held-out regions and a model with an encoder")
        files = _kept(run)
        if not files:
            raise ChoiceError(f"{run} has kept no checkpoints to choose from: train it for longer")
        named = preset or resolved.get("provenance", {}).get("preset") or encoder.preset.name
        base = preset_of_run(named, shape)
        full = dataclasses.replace(base, generator=config, encoder=encoder.preset.encoder)

        def candidates() -> Iterator[tuple[int, Model]]:
            for k, (images, file) in enumerate(files.items()):
                if progress is not None:
                    progress(f"checkpoint {k + 1} of {len(files)}", k / len(files))
                network = build_generator(config, shape)
                network.load_state_dict(load_file(file))
                candidate = Model("candidate", full, network, encoder.encoder)
                # embeddings are the encoder's, by the hash that its own model has for it
                candidate._encoder_hash = encoder._encoder_hash
                yield images, candidate

        rule = _by_quality if by == "quality" else _by_search
        best, why, table, more = rule(archive, candidates(), count, seed, where)
        document = {
            "by": by,
            "chosen": {"images": best["images"], "file": str(files[best["images"]].relative_to(run))},
            "why": f"of {len(table)} checkpoints the one after {best['images']:,} images has {why}",
            "archive": archive.uri,
            "where": where,
            "encoder": {"model": encoder.name, "hash": encoder.encoder_hash},
            "seed": seed,
            **more,
            "table": table,
        }
    _install(run, run / document["chosen"]["file"])
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    write_then_rename(run / "choice.json", text.encode())
    return document


#: the best row, why it is, all rows, and what else is written down
_Chosen = tuple[Document, str, list[Document], Document]


def _by_quality(
    archive: Archive, candidates: Iterable[tuple[int, Model]], count: int, seed: int, where: str | None
) -> _Chosen:
    held, table, floor = None, [], {}
    for images, model in candidates:
        held = held or read_held_out(archive, model, count, seed, where)
        got = run_quality(archive, model, len(held.x), seed, where, held=held, critic_steps=0).document
        row = {name: got[name] for name in MEASURES if name in got}
        table.append({"images": images, **row, "tuf_reached": got["parameters"]["tuf"]["reached"]})
        floor = {"median_ks": got["median_ks_floor"], "spectrum_dex": got["spectrum_dex_floor"], **got["floor"]}
    assert held is not None  # a run without checkpoints was refused
    for row, rank in zip(table, mean_ranks(table), strict=True):
        row["mean_rank"] = round(rank, 3)
    best = min(table, key=lambda row: (row["mean_rank"], -row["images"]))
    why = f"the smallest mean rank, {best['mean_rank']:.2f}, in {', '.join(MEASURES)}, beside {len(held.x)} held-out "
    why += f"patches of {len(np.unique(held.regions))} regions"
    return best, why, table, {"floor": {name: floor[name] for name in MEASURES if name in floor}}


def _by_search(
    archive: Archive, candidates: Iterable[tuple[int, Model]], count: int, seed: int, where: str | None
) -> _Chosen:
    table, patches = [], 0
    for k, (images, model) in enumerate(candidates):
        if not k:
            embed_archive(archive, model)
        found = run_retrieval(archive, model, count, seed, judged=0, where=where, methods=("ssl",))
        alike = {name: one["pearson"] for name, one in found.correlations()["ssl"].items()}
        # patches that are all one find one match, which agrees with nothing
        row = {name: round(value, 4) if np.isfinite(value) else 0.0 for name, value in alike.items()}
        matches = len(np.unique(found.best["ssl"]))
        mean = float(np.mean(list(row.values())))
        table.append({"images": images, **row, "mean_correlation": round(mean, 4), "matches": matches})
        patches = len(found.ids)
    best = max(table, key=lambda row: (row["mean_correlation"], row["images"]))
    why = f"the largest mean correlation of query and best match in {', '.join(PARAMETERS)}, "
    why += f"{best['mean_correlation']:.3f}, of {count:,} queries among {patches:,} held-out patches"
    return best, why, table, {"queries": count}


def _by_paper(run: Path, within: int, by: str) -> Document:
    keys = ("discriminator_accuracy", "held_out_discriminator_accuracy")
    table = [
        {"images": line["images"], "epoch": round(line["epoch"]), **{key: line[key] for key in keys if key in line}}
        for line in read_statistics(run)
        if line.get(keys[0]) is not None
    ]
    held_out = by == "paper-held-out"
    key, name = (keys[1], "chosen-held-out") if held_out else (keys[0], "chosen")
    file = run / "checkpoints" / f"{name}.safetensors"
    among = [row for row in table if row["epoch"] <= within and key in row]
    if not among or not file.exists():
        needed = "loss 'bce', one epoch at least" + (", and --held-out patches" if held_out else "")
        raise ChoiceError(
            f"{run} has no epoch judged by its discriminator, as the paper's rule needs ({needed}): choose by quality"
        )
    best = min(among, key=lambda row: row[key])
    return {
        "by": by,
        "chosen": {"images": best["images"], "epoch": best["epoch"], "file": str(file.relative_to(run))},
        "why": f"of the first {len(among)} epochs (at most {within}), in epoch {best['epoch']} the run's discriminator "
        f"tells generated from {'held-out' if held_out else 'real'} least well: accuracy {best[key]:.3f}",
        "table": table,
    }


def _install(run: Path, file: Path) -> None:
    """The chosen weights, and the inference network of the same moment, in the place that the other verbs read."""
    pairs = [(file, "generator.safetensors")]
    beside = file.with_name(file.name.replace("-generator", "-inference"))
    if beside != file and beside.exists():
        pairs.append((beside, "inference.safetensors"))
    for source, name in pairs:
        part = run / "checkpoints" / f"{name}.part"
        shutil.copyfile(source, part)
        part.replace(run / "checkpoints" / name)
