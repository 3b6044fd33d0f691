"""The paper's job from end to end on an archive made on the spot: describe a region, see it, find it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..archive.samples import sample_patches
from ..archive.store import Archive
from ..encoder import embed_archive
from ..errors import SolqueryError
from ..io import write_atomically
from ..model import Model
from ..patch import Patch
from ..physics import measure_on_grid
from ..search import Match, search
from ..simulator import simulate
from ..steering import Answer, Inversion, Traversal, generate, invert, latent_traversal, measure_latents
from .demo_summary import summarise
from .retrieval import RetrievalStudy, run_retrieval

if TYPE_CHECKING:
    from ..steering import Directions

__all__ = ["DESCRIPTION", "REGIONS_SEED", "STRIPS", "Findings", "run_demo"]

Progress = Callable[[str, float], None]

DESCRIPTION = "strong, widely separated bipole, leading polarity negative"
#: where the strips begin: a patch in the middle of what the generator makes, so that both ends stay near the prior
STRIP_START = "moderate bipole, leading polarity negative"
#: seed of the demo's archive; the models were trained on another one
REGIONS_SEED = 7
REAL_HARP = 856
#: parameter that changes, and those held
STRIPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tuf", ()),
    ("tuf", ("r",)),
    ("psep", ()),
    ("psep", ("polarity", "r")),
)
#: random latents over which the effect of the strips is averaged
_LATENTS = 32
_REACH = 3.0
#: of the search for the real region's latent: fewer than the defaults, to keep the demo short
_STARTS, _STEPS = 6, 150
#: by how much the real region's flux is to rise
_RISE = 1.5


@dataclass
class Findings:
    """Everything that the report shows."""

    archive: Archive
    model: Model
    counts: dict[str, int]
    description: str = DESCRIPTION
    timings: dict[str, float] = field(default_factory=dict)
    zoo: tuple[np.ndarray, list[str]] = (np.empty(0), [])
    zoo_archive: tuple[np.ndarray, list[str]] = (np.empty(0), [])
    paper_zoo: np.ndarray | None = None
    answers: list[Answer] = field(default_factory=list)
    strips: list[Traversal] = field(default_factory=list)
    effects: list[dict[str, float]] = field(default_factory=list)
    #: random latents behind `effects`
    effect_latents: int = _LATENTS
    matches: list[Match] = field(default_factory=list)
    real: Patch | None = None
    real_x: np.ndarray | None = None
    real_values: dict[str, float] = field(default_factory=dict)
    inversion: Inversion | None = None
    rising: Traversal | None = None
    #: row of `rising` whose flux has risen by as much as was wanted
    edited: int = 0
    real_matches: list[Match] = field(default_factory=list)
    edited_matches: list[Match] = field(default_factory=list)
    finds_itself: bool = False
    #: patches of the archive in preset units, by id
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    retrieval: RetrievalStudy | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def physical(self) -> bool:
        """Whether the grid has a scale, so that its numbers are maxwell and megametres."""
        return self.model.preset.physical

    def gauss(self, patch_id: str) -> np.ndarray:
        """(H, W) of a patch of the archive, on the grid."""
        return np.asarray(self.model.preset.to_gauss(self.pictures[patch_id]))

    def values(self, x: np.ndarray) -> dict[str, float]:
        """Every parameter of one patch (H, W) in preset units, on the grid."""
        measured = measure_on_grid(np.asarray(x), self.model.preset)
        return {name: float(value[0]) for name, value in measured.items()}

    def fetch(self, ids: list[str]) -> None:
        """Read patches of the archive for showing them."""
        wanted = sorted(set(ids) - set(self.pictures))
        if wanted:
            names, x = self.archive.prepared(self.model.preset, ids=wanted)
            self.pictures |= {name: np.array(x[k], dtype=np.float32) for k, name in enumerate(names)}


def _directions(model: Model) -> Directions:
    if model.directions is None:
        raise SolqueryError(f"model {model.name!r} has no directions, the demo needs them; run `solquery directions`")
    return model.directions


@contextlib.contextmanager
def _all_cores() -> Iterator[None]:
    """Torch on every core for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _open_archive(out: Path, regions: int, frames: int, tell: Progress) -> Archive:
    """The demo's archive, made if it is not there, completed if an earlier run was cut short.

    A region's frames depend on how many there are, so that another size is another archive.
    """
    folder = out / ("archive" if (regions, frames) == (110, 20) else f"archive-{regions}x{frames}")
    archive = Archive.open_or_create(str(folder))
    have = set(archive.table(columns=["id"]).column("id").to_pylist()) if len(archive) else set()
    wanted = regions * frames
    made = sum(name.startswith(f"sim-{REGIONS_SEED}-") for name in have)

    def missing() -> Iterator[Patch]:
        for k, patch in enumerate(simulate(regions, frames, REGIONS_SEED), start=1):
            if k % 20 == 0 or k == wanted:
                tell(f"simulating active regions: {k} of {wanted} patches", k / wanted)
            if patch.id not in have:
                yield patch

    if made < wanted:
        archive.add(missing())
    real = [patch for patch in sample_patches() if patch.id not in have]
    if real:
        archive.add(real)
    return archive


def _counts(archive: Archive) -> dict[str, int]:
    table = archive.table(columns=["region", "source"])
    sources, regions = table.column("source").to_pylist(), table.column("region").to_pylist()
    return {
        "patches": len(sources),
        "regions": len(set(regions)),
        "simulated": sources.count("simulated"),
        "real": sources.count("real"),
        "simulated_regions": len({r for r, s in zip(regions, sources, strict=True) if s == "simulated"}),
    }


def _zoos(f: Findings) -> None:
    """36 random generated patches, and a random frame of each of 36 regions, of which some are real."""
    preset, generator = f.model.preset, f.model.generator
    f.zoo = (_random_patches(generator, preset, 36, seed=1), ["generated"] * 36)
    table = f.archive.table(columns=["id", "region", "source"]).to_pylist()
    rng = np.random.default_rng(1)
    chosen: list[dict[str, Any]] = []
    for source, count in (("real", 6), ("simulated", 36)):
        by_region: dict[str, list[dict[str, Any]]] = {}
        for row in table:
            if row["source"] == source:
                by_region.setdefault(row["region"], []).append(row)
        names = list(by_region)
        for name in rng.permutation(names)[: min(count, 36 - len(chosen))]:
            chosen.append(by_region[str(name)][rng.integers(len(by_region[str(name)]))])
    order = rng.permutation(len(chosen))
    chosen = [chosen[k] for k in order]
    f.fetch([row["id"] for row in chosen])
    f.zoo_archive = (np.stack([f.gauss(row["id"]) for row in chosen]), [row["source"] for row in chosen])
    # how far the generator built to the paper's letter has come, beside the one in use
    if preset.generator.arch != "paper" and "paper" in Model.list():
        paper = Model.load("paper")
        f.paper_zoo = _random_patches(paper.generator, paper.preset, 12, seed=1)


def _random_patches(generator: Any, preset: Any, n: int, seed: int) -> np.ndarray:
    from ..steering import render

    z = torch.randn(n, int(generator.latent_dim), generator=torch.Generator().manual_seed(seed))
    return preset.to_gauss(render(generator, z, preset.shape)[:, 0]).numpy()


def _strips(f: Findings) -> None:
    """The four strips, and what each does to random latents, so that the pictures can be judged."""
    directions = _directions(f.model)
    start = generate(f.model, STRIP_START, seed=2)[0].z
    z = np.random.default_rng(3).standard_normal((_LATENTS, directions.latent_dim)).astype(np.float32)
    names = ["tuf", "r", "psep", "polarity"]
    for name, hold in STRIPS:
        f.strips.append(latent_traversal(f.model, start, name, hold))
        normal = directions.normal(name, hold)
        ends = np.concatenate([z - _REACH * normal, z + _REACH * normal])
        values = measure_latents(f.model.generator, f.model.preset, ends, names)
        effect: dict[str, float] = {}
        for other in ("tuf", "r", "psep"):
            low, high = values[other][:_LATENTS], values[other][_LATENTS:]
            known = np.isfinite(low) & np.isfinite(high)
            difference = float(np.median(high[known] - low[known])) if known.any() else math.nan
            spread = directions.spread(other)
            effect[other] = difference / spread if spread > 0 else math.nan
        before, after = values["polarity"][:_LATENTS], values["polarity"][_LATENTS:]
        known = np.isfinite(before) & np.isfinite(after)
        effect["flips"] = float((before != after)[known].mean()) if known.any() else math.nan
        f.effects.append(effect)


def _real_region(f: Findings, tell: Progress) -> None:
    """Find the latent of a real region, raise its flux, and search with the region and with the edited patch."""
    rows = f.archive.table(columns=["id", "region", "harpnum"], where="source = 'real'").to_pylist()
    if not rows:
        raise SolqueryError("the archive holds no real patch; the samples of the package are missing, reinstall it")
    row = next((row for row in rows if row["harpnum"] == REAL_HARP), rows[0])
    f.real = f.archive.get(row["id"])
    f.fetch([row["id"]])
    f.real_x = f.pictures[row["id"]]
    f.real_values = f.values(f.real_x)
    tell("finding the latent vector of the real region", 0.0)
    f.inversion = invert(f.model, f.real_x, starts=_STARTS, steps=_STEPS, seed=4)[0]
    f.rising = latent_traversal(f.model, f.inversion.z, "tuf", eps_values=np.linspace(0.0, 4.0, 17))
    flux = f.rising.values["tuf"]
    f.edited = int(np.argmin(np.abs(flux - _RISE * flux[0])))
    tell("searching with the real and the edited region", 0.8)
    f.finds_itself = search(f.archive, f.model, f.real_x, k=1)[0].id == row["id"]
    f.real_matches = search(f.archive, f.model, f.real_x, k=5, exclude_region=row["region"])
    edited = f.rising.x[f.edited, 0]
    # what was drawn is no observation, and cannot be in the archive
    f.edited_matches = search(f.archive, f.model, edited, k=5, exclude_region=row["region"], rerank=0)
    f.fetch([match.id for match in f.real_matches + f.edited_matches])


def run_demo(
    out: str | Path,
    queries: int = 1_000,
    progress: Progress | None = None,
    model: Model | None = None,
    regions: int = 110,
    frames: int = 20,
) -> dict[str, Any]:
    """Run the whole chain and write ``report.html`` and ``summary.json`` into `out`.

    Parameters
    ----------
    out
        Folder; made if need be. The archive is kept in it and used again.
    queries
        How many random queries the study of retrieval draws.
    progress
        Called with a text and the fraction done.
    model
        None for the one that ships with the package.
    regions, frames
        Size of the simulated archive; the real samples of the package are added.

    Returns
    -------
    What ``summary.json`` holds.

    Raises
    ------
    SolqueryError
        When the model lacks what the demo needs, or the archive cannot be written.
    """
    from .demo_report import render_report

    out = Path(out)
    began = time.monotonic()
    tell = progress or (lambda text, fraction: None)
    timings: dict[str, float] = {}

    @contextlib.contextmanager
    def step(name: str, low: float, high: float) -> Iterator[Progress]:
        start = time.monotonic()
        tell(name, low)
        yield lambda text, fraction: tell(text, low + (high - low) * min(max(fraction, 0.0), 1.0))
        timings[name] = time.monotonic() - start

    with _all_cores(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = model or Model.load()
        _directions(model)
        out.mkdir(parents=True, exist_ok=True)
        with step("archive", 0.0, 0.40) as inner:
            archive = _open_archive(out, regions, frames, inner)
        with step("embedding", 0.40, 0.62) as inner:
            embed_archive(archive, model, lambda k, n: inner(f"embedding the archive: {k} of {n} patches", k / n))
        f = Findings(archive, model, _counts(archive), timings=timings)
        with step("zoo", 0.62, 0.64):
            _zoos(f)
        with step("asking", 0.64, 0.67):
            f.answers = generate(model, DESCRIPTION, n=4, seed=0)
        with step("strips", 0.67, 0.70):
            _strips(f)
        with step("search", 0.70, 0.71):
            f.matches = search(archive, model, f.answers[0].x, k=10, rerank=0)
            f.fetch([match.id for match in f.matches])
        with step("real region", 0.71, 0.82) as inner:
            _real_region(f, inner)
        with step("random queries", 0.82, 0.96) as inner:
            f.retrieval = run_retrieval(archive, model, queries, 0, inner)
        f.warnings = list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)))
        with step("report", 0.96, 1.0):
            report = out / "report.html"
            write_atomically(report, render_report(f))
    summary = summarise(f, report, time.monotonic() - began)
    write_atomically(out / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    tell("done", 1.0)
    return summary
