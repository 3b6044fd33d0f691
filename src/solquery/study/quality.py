"""How real are a model's patches, beside held-out patches of an archive: one table, one figure, `quality.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ..aliases import Document
from ..encoder import embed
from ..errors import SolqueryError
from ..generator.critic import critic_accuracy
from ..generator.quality import (
    compare_embeddings,
    compare_parameters,
    halves,
    memorisation,
    radial_spectrum,
    spectrum_distance,
)
from ..physics import get_parameter, measure_on_grid, unit_of
from ..protocols import Patches
from ..steering.drawing import draw_patches
from .figures import KIND_COLOURS, prefixed
from .retrieval import PARAMETERS
from .shares import one_of_each_first

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from ..steering import EntanglementTable

__all__ = [
    "HeldOut", "QualityError", "QualityStudy", "figure_entanglement", "figure_quality", "read_held_out", "run_quality",
]  # fmt: skip

Progress = Callable[[str, float], None]
#: generated patches whose nearest training patch is looked for
_MEMORY = 1_000
_FEWEST = 100
#: what is told of the sampler that the draws went through
_SAMPLER = ("accepted", "told_apart", "patches", "regions", "draws")


class QualityError(SolqueryError):
    """The comparison cannot be made."""


@dataclass(frozen=True)
class QualityStudy:
    """Generated against held-out patches, both on the preset's grid.

    Attributes
    ----------
    made, held
        Parameter name to (N,) and (M,), in the units of the grid.
    spectra
        Mean radial power spectra of generated and held-out patches, (H/2 - 1,) each.
    document
        What ``solquery quality --json`` prints.
    """

    made: dict[str, np.ndarray] = field(repr=False)
    held: dict[str, np.ndarray] = field(repr=False)
    spectra: tuple[np.ndarray, np.ndarray] = field(repr=False)
    document: Document = field(repr=False)


@dataclass(frozen=True)
class HeldOut:
    """Patches of an archive that generated ones are held against.

    Attributes
    ----------
    x, regions
        (M, H, W) in preset units, and the region of each.
    values
        Parameter name to (M,).
    embeddings
        (M, D) of an encoder.
    halves
        Rows of two halves in which no region occurs twice.
    """

    x: np.ndarray = field(repr=False)
    regions: np.ndarray = field(repr=False)
    values: dict[str, np.ndarray] = field(repr=False)
    embeddings: np.ndarray = field(repr=False)
    halves: tuple[np.ndarray, np.ndarray] = field(repr=False)


def _measured(model: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    found = measure_on_grid(x, model.preset, PARAMETERS)
    return {name: values.double().numpy() for name, values in found.items()}


def read_held_out(
    archive: Archive, model: Model, count: int = 2_000, seed: int = 0, where: str | None = None
) -> HeldOut:
    """At most `count` patches of the archive, measured and embedded as `run_quality` needs them.

    Of as many regions as there are: a second frame of a region is drawn when every region has one. Frames of one
    region are near copies, and the overlap measures take patches for independent draws: with four frames of each, the
    nearest neighbours of a patch are itself some hours later, and hardly anything else comes as close.

    Raises
    ------
    QualityError
        When the archive holds fewer than 100 such patches, or those of one region only, or the model no encoder.
    """
    if model.encoder is None:
        raise QualityError(f"model {model.name!r} has no encoder, in whose space patches could be compared")
    rng = np.random.default_rng(seed)
    table = archive.table(["id", "region"], where)
    if table.num_rows < _FEWEST:
        raise QualityError(
            f"{table.num_rows} patches to compare with are too few: at least {_FEWEST} are needed; "
            "give a larger archive, or a `where` that keeps more"
        )
    names, of = (np.asarray(table[key].to_pylist(), dtype=str) for key in ("id", "region"))
    rows = np.sort(one_of_each_first(of, rng)[:count])
    ids, regions = names[rows].tolist(), of[rows]
    try:
        both = halves(list(regions), seed)
    except ValueError as error:
        raise QualityError(f"{error}; give an archive of more regions") from None
    x = np.asarray(archive.prepared(model.preset, ids=ids)[1], np.float32)
    return HeldOut(x, regions, _measured(model, x), embed(model.encoder, x), both)


def _asked_for(model: Model) -> bool:
    """Whether draws were held to this encoder: in training (`generator.embedding_critic`), or by the sampler."""
    story = model.metadata.get("provenance", {}).get("generator", {})
    shown = {story.get("provenance", {}).get("encoder"), model.sampler and model.sampler.record.get("encoder")}
    return model.encoder_hash in shown


def run_quality(
    archive: Archive,
    model: Model,
    count: int = 2_000,
    seed: int = 0,
    where: str | None = None,
    train: Patches | None = None,
    progress: Progress | None = None,
    held: HeldOut | None = None,
    critic_steps: int = 150,
) -> QualityStudy:
    """Compare `count` generated patches with as many held-out ones.

    Parameters
    ----------
    archive
        Patches of regions that the model was not trained on.
    model
        With generator and encoder.
    count, seed
        Patches of each kind, at most; of the draw and of the splits.
    where
        Which patches of the archive are compared, in SQL.
    train
        (T, H, W) training patches in preset units, for the test of memorisation; None leaves it out.
    held
        What `read_held_out` gave for a model of the same preset and encoder, to read it once for many generators.
    critic_steps
        For how long a fresh discriminator is trained to tell generated from held-out; 0 leaves it out.

    Raises
    ------
    QualityError
        When the archive holds fewer than 100 such patches, or those of one region only, or the model no encoder.
    """
    tell = progress or (lambda text, fraction: None)
    tell("reading held-out patches", 0.0)
    held = held or read_held_out(archive, model, count, seed, where)
    one, other = held.halves
    regions = list(held.regions)
    tell("generating", 0.2)
    made_x = draw_patches(model, count, seed)[1]
    tell("measuring", 0.3)
    made = _measured(model, made_x)
    tell("embedding", 0.5)
    made_e = embed(model.encoder, made_x)
    parameters = compare_parameters(made, held.values, regions, seed)
    space = compare_embeddings(made_e, held.embeddings, regions, seed)
    memory = None
    if train is not None:
        tell("looking for copies of training patches", 0.6)
        memory = memorisation(made_e[:_MEMORY], held.embeddings, embed(model.encoder, np.asarray(train)))
        memory.pop("nearest")
    judge = None
    if critic_steps:
        tell("training a discriminator to tell generated from held-out", 0.7)
        judge = critic_accuracy(made_x, held.x, held.halves, steps=critic_steps, seed=seed)
    document = {
        "model": model.name,
        "hash": model.hash,
        "physical": model.preset.physical,
        "encoder": model.encoder_hash,
        "asked_for": _asked_for(model),
        "archive": archive.uri,
        "where": where,
        "generated": len(made_x),
        "sampler": None if model.sampler is None else {key: model.sampler.record[key] for key in _SAMPLER},
        "held_out": len(held.x),
        "regions": len(np.unique(held.regions)),
        "frames_a_region": len(held.x) / len(np.unique(held.regions)),
        "seed": seed,
        "parameters": parameters,
        "median_ks": float(np.nanmedian([entry["ks"] for entry in parameters.values()])),
        "median_ks_floor": float(np.nanmedian([entry["ks_floor"] for entry in parameters.values()])),
        **space["generated"],
        "floor": space["floor"],
        "spectrum_dex": spectrum_distance(made_x, held.x),
        "spectrum_dex_floor": spectrum_distance(held.x[one], held.x[other]),
        "discriminator_accuracy": None if judge is None else judge["accuracy"],
        "discriminator_accuracy_floor": None if judge is None else judge["floor"],
        "memorisation": memory,
    }
    spectra = (radial_spectrum(made_x), radial_spectrum(held.x))
    return QualityStudy(made, held.values, spectra, document)


def figure_quality(study: QualityStudy) -> Figure:
    """Distribution of each parameter among generated and held-out patches, and their mean power spectra."""
    figure = Figure(figsize=(10.2, 7.2), layout="constrained")
    panels = figure.subplots(3, 3).ravel()
    for axes, name in zip(panels, PARAMETERS, strict=False):
        held, made = (values[np.isfinite(values)] for values in (study.held[name], study.made[name]))
        divisor, unit = prefixed(held, unit_of(name, bool(study.document.get("physical"))))
        both = np.concatenate([held, made]) / divisor
        low, high = np.percentile(both, (0.5, 99.5)) if len(both) else (0.0, 1.0)
        edges = np.linspace(low, high, 41) if high > low else np.linspace(low - 0.5, low + 0.5, 41)
        # shares and not densities: these are defined even where every value lies outside the edges
        axes.hist(
            held / divisor, edges, weights=np.full(len(held), 1 / max(len(held), 1)), color="0.75", label="held-out"
        )
        axes.hist(
            made / divisor, edges, weights=np.full(len(made), 1 / max(len(made), 1)), histtype="step", linewidth=1.5,
            color=KIND_COLOURS["generated"], label="generated",
        )  # fmt: skip
        entry = study.document["parameters"][name]
        axes.set_xlabel(f"{get_parameter(name).symbol}{f' ({unit})' if unit else ''}", fontsize=9)
        axes.set_title(f"KS {entry['ks']:.2f}, floor {entry['ks_floor']:.2f}", fontsize=9)
        axes.set_yticks([])
        axes.tick_params(labelsize=8)
    last = panels[-1]
    for spectrum, colour, label in (
        (study.spectra[1], "0.6", "held-out"),
        (study.spectra[0], KIND_COLOURS["generated"], "generated"),
    ):
        last.loglog(np.arange(1, len(spectrum) + 1), spectrum, color=colour, linewidth=1.8, label=label)
    last.set_xlabel("cycles across the patch", fontsize=9)
    last.set_title(f"mean power, apart by {study.document['spectrum_dex']:.2f} dex", fontsize=9)
    last.tick_params(labelsize=8)
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"{study.document['generated']:,} generated and {study.document['held_out']:,} held-out patches", fontsize=10
    )
    return figure


def figure_entanglement(found: EntanglementTable) -> Figure:
    """Heat maps of what every direction (row) changes in every parameter (column), free and held.

    Grey: a direction that does not surely move its own parameter; there is nothing to set a change against.
    """
    figure = Figure(figsize=(11.0, 5.2), layout="constrained")
    symbols = [get_parameter(name).symbol for name in found.names]
    for axes, values, title in zip(
        figure.subplots(1, 2), (found.free, found.held), ("nothing held", "the column's parameter held"), strict=True
    ):
        image = axes.imshow(values, cmap="magma_r", vmin=0, vmax=1.5)
        axes.set_facecolor("0.85")
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                shown = "–" if np.isnan(value) else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
                colour = "white" if value > 0.8 else "black"
                axes.text(j, i, shown, ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(len(symbols)), symbols, rotation=60, fontsize=8)
        axes.set_yticks(range(len(symbols)), symbols, fontsize=8)
        axes.set_xlabel("parameter measured", fontsize=9)
        axes.set_title(title, fontsize=10)
    figure.axes[0].set_ylabel("parameter moved", fontsize=9)
    figure.colorbar(image, ax=figure.axes, shrink=0.8, label="change in spreads per spread of the one moved")
    return figure
