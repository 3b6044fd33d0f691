"""Experiments on one archive with one model: the order of their stages and what each depends on.

`FULL` is the paper from its first figure to its last; the demo is a small plan of the same stages (`DEMO`).

A stage's inputs are hashed: the archive's contents, the model, the settings and the code. `reproduce_stages` skips a
stage whose inputs are those of the last run, so that a run that was stopped, or a changed setting, costs only what is
missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ..aliases import Array, Document, Entries
from ..errors import SolqueryError
from ..io import write_atomically
from .reproduce_stages import StageResult, Stages, digest, source_digest

if TYPE_CHECKING:
    import numpy as np

    from ..archive.store import Archive
    from ..model import Model

__all__ = ["DEMO", "FULL", "QUICK", "Plan", "Study", "reproduce"]

Progress = Callable[[str, float], None]

#: files of this package that decide what a stage gives; a report is rendered anew every time
_STUDY = ("magnetogram", "figures", "report", "retrieval", "retrieval_report", "reproduce", "reproduce_figures",
          "reproduce_experiments", "reproduce_retrieval", "describe_experiments", "paper_experiments",
          "reproduce_table", "shares", "steering_figures", "limb", "inversion_error")  # fmt: skip
#: what Figure 6 depends on, of a plan
_INVERTED = ("inversions", "crossings", "starts", "steps", "resamples")
#: the paper's experiments, in its order
PAPER_STAGES = ("training", "figure2", "figure3", "directions", "figure4", "figure5", "conditional", "figure6",
                "copies", "queries", "figure7", "figure8", "figure9", "table")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Which experiments, and how much of each.

    `FULL` has the paper's numbers; `QUICK` is for looking whether all is in order; `DEMO` shows the whole chain once.
    """

    #: random queries (paper, section 4: 1,000)
    queries: int = 1_000
    #: patches in Figures 2 and 3
    zoo: int = 100
    #: latents on the plane of Figure 4, of which one per cell is drawn
    plane: int = 1_000
    #: patches of the archive that are inverted for Figure 6, with how many starts and steps
    inversions: int = 160
    #: regions that are inverted on their way across the disk as well, at most eight frames of each
    crossings: int = 40
    starts: int = 2
    steps: int = 60
    #: draws of the bootstrap
    resamples: int = 1_000
    #: latents over which the effect of a strip is averaged
    effects: int = 64
    #: latents of the larger look-up table that conditional directions are fitted to as well (paper: 10,000)
    lookup: int = 40_000
    #: queries whose matches are compared by visual similarity
    judged: int = 200
    seed: int = 0
    #: which experiments
    stages: tuple[str, ...] = PAPER_STAGES
    #: what is asked for in words, and the observed region that is changed, where the plan has these stages
    description: str = "strong, widely separated bipole, leading polarity negative"
    harp: int = 856


FULL = Plan()
QUICK = Plan(
    queries=200, plane=400, inversions=32, crossings=8, starts=1, steps=30, resamples=300, effects=32, lookup=2_000,
    judged=24,
)  # fmt: skip
DEMO = Plan(
    zoo=36, resamples=300, effects=32,
    stages=("sample", "figure2", "described", "directions", "figure5", "observed", "queries", "figure7", "figure8",
            "figure9", "table"),
)  # fmt: skip


@dataclass
class Study:
    """What every stage works with."""

    archive: Archive
    model: Model
    plan: Plan
    progress: Progress
    #: run folders whose training curves are drawn
    runs: tuple[Path, ...] = ()

    def gauss(self, x: Array) -> np.ndarray:
        """Network units to gauss."""
        import numpy as np

        return np.asarray(self.model.preset.to_gauss(np.asarray(x, dtype=np.float32)))

    def drawn(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Latents (N, D) of the prior, and their patches (N, H, W) in network units."""
        from ..steering.drawing import draw_patches

        return draw_patches(self.model, count, seed)

    def pictures(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Id to (H, W) gauss, patches of the archive on the grid."""
        from .retrieval_report import pictures_of

        return pictures_of(self.archive, self.model, ids)


def _code() -> str:
    """Digest of the code that decides what comes out."""
    package = Path(__file__).parent.parent
    folders = ("physics", "steering", "search", "generator", "encoder")
    files = [file for folder in folders for file in sorted((package / folder).glob("*.py"))]
    files += [package / "study" / f"{name}.py" for name in _STUDY]
    return source_digest(*files, package / "config/preset.py")


def _model_key(model: Model) -> str:
    """The model's hash, or for one that was never saved the digest of what it holds."""
    if model.hash is not None:
        return model.hash
    from ..model import state_hash

    tensors = {} if model.directions is None else model.directions.tensors()
    parts = {name: digest([array.dtype.str, array.tobytes().hex()]) for name, array in tensors.items()}
    return digest([state_hash(model.generator), model.encoder_hash, parts, dataclasses.asdict(model.preset)])


def _archive_key(archive: Archive) -> str:
    """Fields and what else of the metadata the experiments use."""
    rows = archive.table(["id", "region", "source", "mu"])
    return digest([archive.content_hash(), *(rows[name].to_pylist() for name in rows.column_names)])


def _run_key(run: Path) -> dict[str, str]:
    files = [run / name for name in ("stats.jsonl", "choice.json") if (run / name).is_file()]
    if not files:
        raise SolqueryError(f"{run} has no stats.jsonl; name the run folder of `solquery train generator` or `encoder`")
    return {file.name: source_digest(file) for file in files}


def _version() -> str:
    try:
        return version("solquery")
    except PackageNotFoundError:
        return "from source"


def _stages(study: Study) -> Sequence[tuple[str, Entries, Callable[..., Document]]]:
    """Name, what it depends on, and its work, of the stages of the plan, in its order."""
    from . import describe_experiments as beyond
    from . import paper_experiments as paper
    from . import reproduce_experiments as experiments
    from . import reproduce_retrieval as retrieval

    plan, models = study.plan, {"model": _model_key(study.model), "code": _code(), "seed": study.plan.seed}
    data = {**models, "archive": _archive_key(study.archive)}
    asked = {**data, "queries": plan.queries, "judged": plan.judged}
    runs = [[run.name, _run_key(run)] for run in study.runs]
    known = (
        ("training", {**models, "runs": runs}, experiments.training),
        ("figure2", {**models, "zoo": plan.zoo}, experiments.figure2),
        ("figure3", {**models, "zoo": plan.zoo}, experiments.figure3),
        ("directions", models, experiments.directions),
        ("figure4", {**models, "plane": plan.plane}, experiments.figure4),
        ("figure5", {**models, "effects": plan.effects}, experiments.figure5),
        ("conditional", {**models, "effects": plan.effects, "lookup": plan.lookup}, paper.conditional),
        (
            "figure6",
            {**data, **{name: getattr(plan, name) for name in _INVERTED}},
            retrieval.figure6,
        ),
        ("copies", data, paper.changed_copies),
        ("queries", {**asked, "resamples": plan.resamples}, retrieval.queries),
        ("figure7", asked, retrieval.figure7),
        ("figure8", asked, retrieval.figure8),
        ("figure9", asked, retrieval.figure9),
        ("table", {**asked, "resamples": plan.resamples}, retrieval.table),
        ("sample", data, beyond.sample),
        ("described", {**data, "description": plan.description}, beyond.described),
        ("observed", {**data, "harp": plan.harp}, beyond.observed),
    )
    by_name = {stage[0]: stage for stage in known}
    return [by_name[name] for name in plan.stages]


@contextlib.contextmanager
def _all_cores() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(archive: Archive, model: Model) -> None:
    if not len(archive):
        raise SolqueryError(f"the archive at {archive.uri} is empty; fill it with `solquery ingest` or `simulate`")
    for what, there in (("encoder", model.encoder), ("directions", model.directions)):
        if there is None:
            raise SolqueryError(
                f"model {model.name!r} has no {what}, without which the paper cannot be reproduced; choose another "
                "one with --model, or train one with --train"
            )
    assert model.directions is not None
    if "tuf" not in model.directions.names:
        raise SolqueryError(
            f"model {model.name!r} has no direction for TUF; fit them with `solquery directions`, or train further"
        )


def _about(study: Study) -> Document:
    rows = study.archive.table(["region", "source"])
    sources, regions = rows["source"].to_pylist(), rows["region"].to_pylist()
    preset = study.model.preset
    return {
        "solquery": _version(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "archive": {
            "patches": len(sources),
            "regions": len(set(regions)),
            "simulated_regions": len({r for r, s in zip(regions, sources, strict=True) if s == "simulated"}),
            "sources": {name: sources.count(name) for name in sorted(set(sources))},
            "content": study.archive.content_hash(),
        },
        "model": {
            "name": study.model.name,
            "hash": study.model.hash,
            "preset": preset.name,
            "physical": preset.physical,
            "scale_mm": preset.scale_mm,
            "shape": list(preset.shape),
            "clip_gauss": preset.clip_gauss,
            "papers_method": preset.papers_method,
            "generator": {
                "arch": preset.generator.arch,
                "loss": preset.generator.loss,
                "weights": sum(p.numel() for p in study.model.generator.parameters()),
            },
            "encoder": {
                "loss": preset.encoder.loss,
                "physics": list(preset.encoder.physics),
                "downsample": preset.encoder.downsample,
                "prediction_rate": preset.encoder.prediction_rate,
            },
            "provenance": study.model.metadata.get("provenance", {}),
        },
        "plan": dataclasses.asdict(study.plan),
    }


def reproduce(
    archive: Archive,
    model: Model,
    out: str | Path,
    plan: Plan = FULL,
    runs: Sequence[str | Path] = (),
    progress: Progress | None = None,
    again: bool = False,
) -> Document:
    """Run the paper's experiments and write ``report.html`` and ``results.json`` into `out`.

    Parameters
    ----------
    archive
        What is searched; it is embedded with the model's encoder, and keeps the embeddings.
    model
        With generator, encoder and directions.
    out
        Folder, made if need be. ``stages/`` in it keeps what was done.
    plan
        How much of everything.
    runs
        Run folders (``stats.jsonl``) whose training curves are drawn.
    progress
        Called with a text and the fraction done.
    again
        Do every stage, whatever was done before.

    Returns
    -------
    What ``results.json`` holds, ``skipped``, the stages that were done already, and the ``seconds`` of each stage.

    Raises
    ------
    SolqueryError
        When the archive is empty or the model lacks encoder or directions.
    """
    from .reproduce_report import differences, render

    _check(archive, model)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda text, fraction: None)
    share = [0.0, 1.0]
    study = Study(
        archive,
        # as in the paper, everything is measured on the grid
        model.on_grid(),
        plan,
        lambda text, fraction: tell(text, share[0] + (share[1] - share[0]) * min(max(fraction, 0.0), 1.0)),
        tuple(Path(run) for run in runs),
    )
    stages, done, seconds = Stages(out), dict[str, StageResult](), dict[str, float]()
    with _all_cores(), warnings.catch_warnings(record=True) as caught:
        # a step or an inversion far from the prior is part of what is shown, and said in the report
        warnings.simplefilter("always")
        order = _stages(study)
        for k, (name, inputs, work) in enumerate(order):
            share[:] = [k / len(order), (k + 1) / len(order)]
            study.progress(name, 0.0)
            began = time.monotonic()
            done[name] = _one(stages, name, inputs, work, study, done, again)
            seconds[name] = time.monotonic() - began
    about = _about(study)
    results = {
        **about,
        "differences": differences(about),
        "stages": {name: stage.result for name, stage in done.items()},
        "table": done["table"].result["rows"],
        "warnings": list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning))),
    }
    write_atomically(out / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_atomically(out / "report.html", render(results, {name: stage.folder for name, stage in done.items()}))
    tell("done", 1.0)
    skipped = [name for name, stage in done.items() if stage.skipped]
    return {**results, "skipped": skipped, "seconds": seconds}


def _one(
    stages: Stages,
    name: str,
    inputs: Entries,
    work: Callable[..., Document],
    study: Study,
    done: Mapping[str, StageResult],
    again: bool,
) -> StageResult:
    folders = {other: stage.folder for other, stage in done.items()}
    return stages.run(name, inputs, lambda folder: work(study, folder, folders), again)
