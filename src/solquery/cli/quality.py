"""The verbs that judge a model: `quality`, how real its patches are, and `entanglement`, how pure its directions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from ..aliases import Document
from ..errors import SolqueryError
from .inputs import read_npy
from .options import Json, ModelArgument, Only, Seed, Where
from .output import Reporter, emit, note, table, write_file, write_json

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(quality)
    app.command()(entanglement)
    app.command("leaks", hidden=True)(entanglement)  # its name before


def quality(
    model: ModelArgument = None,
    archive: Annotated[str, typer.Option(help="Archive of regions that the model was not trained on.")] = "archive",
    where: Where = None,
    n: Annotated[int, typer.Option("-n", min=100, help="Patches of each kind, at most.")] = 2000,
    train: Annotated[
        Path | None,
        typer.Option(help="Training archive, or patches (.npy, preset units): tests for memorised ones."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Another model, in the space of whose encoder patches are compared.")
    ] = None,
    critic_steps: Annotated[
        int, typer.Option(min=0, help="Training of the discriminator that is to tell generated from real; 0: none.")
    ] = 150,
    real: Annotated[
        list[Path] | None,
        typer.Option(help="Observed Br frames (FITS, or folders) to compare with on the grid; may be repeated."),
    ] = None,
    min_flux: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Mx over 100 G in view that patches need for --real; that of the weakest frame without it."
        ),
    ] = None,
    every_draw: Annotated[
        bool, typer.Option("--every-draw", help="Judge every draw, also those that the model's sampler would reject.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for quality.json, quality.png and, with --real, realism.png.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Hold generated patches beside held-out ones (distributions, overlap, copies) and beside observed frames."""
    from ..archive.store import Archive
    from ..model import Model
    from ..study.figures import png
    from ..study.quality import figure_quality, run_quality
    from .realism import compare_with_frames, tell_realism

    if min_flux is not None and not real:
        raise typer.BadParameter("--min-flux goes with --real")
    began = time.monotonic()
    models, store = Model.load(model), Archive.open(archive)
    if every_draw:
        models.sampler = None
    if encoder is not None:
        models.encoder = Model.load(encoder).encoder
        if models.encoder is None:
            raise SolqueryError(f"model {encoder} has no encoder; name one that has")
    patches = None
    if train is not None:
        patches = _training_patches(train, models, seed)
    realism, picture = None, None
    if real:
        realism, picture = compare_with_frames(models, store, real, n, seed, where, min_flux)
    with Reporter("quality") as report:
        study = run_quality(store, models, n, seed, where, patches, report, critic_steps=critic_steps)
    document = {**study.document, "encoder_of": encoder, "real": realism, "seconds": time.monotonic() - began}
    if out is not None:
        write_json(out / "quality.json", document)
        write_file(out / "quality.png", png(figure_quality(study)))
        note(f"written: {out / 'quality.json'}, {out / 'quality.png'}")
        if picture is not None:
            write_file(out / "realism.png", picture)
            note(f"written: {out / 'realism.png'}")
    if json:
        emit(document)
        return
    _tables(document)
    _notes(document)
    if realism is not None:
        tell_realism(realism)


def _tables(document: Document) -> None:
    """The numbers of a model beside their floors, by parameter and over all."""
    table(
        ["parameter", "KS", "floor", "Wasserstein", "floor", "reached", "weakest 10 %", "strongest 10 %"],
        [
            (
                name,
                *(f"{entry[key]:.3f}" for key in ("ks", "ks_floor", "wasserstein", "wasserstein_floor")),
                *(f"{entry[key]:.0%}" for key in ("reached", "weak", "strong")),
            )
            for name, entry in document["parameters"].items()
        ],
    )
    keys = ("frechet", "kernel", "precision", "recall", "density", "coverage")
    rows = [("median KS", f"{document['median_ks']:.3f}", f"{document['median_ks_floor']:.3f}")]
    rows += [(key, f"{document[key]:.3f}", f"{document['floor'][key]:.3f}") for key in keys]
    rows += [("spectrum (dex)", f"{document['spectrum_dex']:.3f}", f"{document['spectrum_dex_floor']:.3f}")]
    if document["discriminator_accuracy"] is not None:
        told, floor = document["discriminator_accuracy"], document["discriminator_accuracy_floor"]
        rows += [("discriminator accuracy", f"{told:.3f}", f"{floor:.3f}")]
    table(["measure", "generated", "floor"], rows)


def _notes(document: Document) -> None:
    """In words: the reach of the fluxes, and what limits the numbers."""
    tuf = document["parameters"]["tuf"]
    spans = "spans" if tuf["spans"] else "does not span"
    typer.echo(
        f"generated TUF {spans} the archive's 1st to 99th percentile; {tuf['weak']:.0%} of it lies in the archive's "
        f"weakest tenth, {tuf['strong']:.0%} in the strongest"
    )
    if document["sampler"] is not None:
        typer.echo(
            f"of the draws {document['sampler']['accepted']:.0%} are accepted by the model's sampler, and only those "
            "are judged (--every-draw judges all)"
        )
    if document["frames_a_region"] > 1.2:
        note(
            f"{document['held_out']:,} held-out patches are of {document['regions']:,} regions only: frames of a "
            "region are near copies, and make coverage, recall and density too small, for the floor as well; give an "
            "archive of more regions, or a smaller -n"
        )
    if document["asked_for"]:
        note(
            "draws were held to this encoder, in training or by the model's sampler, which asks for what precision, "
            "recall, density, coverage, Fréchet and kernel distance measure; --encoder names another model, in whose "
            "space to measure"
        )
    if document["memorisation"] is not None:
        memory = document["memorisation"]
        verdict = "copies training patches" if memory["memorised"] else "no sign of memorised patches"
        typer.echo(f"{verdict}: a generated patch is closer to training in {memory['closer']:.0%} of pairs")


def _training_patches(train: Path, models: Model, seed: int) -> np.ndarray:
    """At most 10,000 of them (T, H, W) in preset units, from an archive or a file."""
    if train.is_dir():
        from ..archive.store import Archive

        patches = Archive.open(train).prepared_memmap(models.preset)[1]
    else:
        patches = read_npy(train, mmap=True)
        if patches.ndim != 3 or tuple(patches.shape[1:]) != tuple(models.preset.shape):
            raise SolqueryError(f"{train} has shape {patches.shape}, not (N, {models.preset.shape[0]}, …)")
    rows = np.sort(np.random.default_rng(seed).permutation(len(patches))[:10_000])
    return np.asarray(patches[rows], np.float32)


def entanglement(
    model: ModelArgument = None,
    n: Annotated[int, typer.Option("-n", min=4, help="Latents that are moved.")] = 32,
    step: Annotated[float, typer.Option(min=0.01, help="How far, forth and back, in latent space.")] = 0.75,
    exact: Annotated[
        bool, typer.Option("--exact", help="Also hold by local directions, solved for at each patch; minutes.")
    ] = False,
    only: Only = None,
    out: Annotated[Path | None, typer.Option(help="Folder for entanglement.json and entanglement.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """What else changes when one parameter is moved, with and without holding it."""
    from ..model import Model
    from ..steering.entanglement import entanglement_table
    from ..study.figures import png
    from ..study.quality import figure_entanglement

    began = time.monotonic()
    models = Model.load(model)
    with Reporter("entanglement") as report:
        report("moving latents along every direction, others free and held")
        names = tuple(only) if only else None
        found = entanglement_table(models, names, n, step, seed, exact, report.count)
    document = {"model": models.name, "hash": models.hash, "seed": seed, **found.summary()}
    document["seconds"] = time.monotonic() - began
    if out is not None:
        write_json(out / "entanglement.json", document)
        write_file(out / "entanglement.png", png(figure_entanglement(found)))
        note(f"written: {out / 'entanglement.json'}, {out / 'entanglement.png'}")
    if json:
        emit(document)
        return
    tables = [("free", "free"), ("the column's parameter held", "held")]
    if exact:
        tables.append(("held by local directions", "exact"))
    for title, key in tables:
        rows = [(a, *("" if v is None else f"{v:.2f}" for v in row.values())) for a, row in document[key].items()]
        table(["moved", *found.names], rows, f"change in spreads per spread of the one moved, {title}")
    if weak := found.weak():
        named = ", ".join(a if b is None else f"{a} with {b} held" for a, b in weak)
        typer.echo(f"left out, since the direction does not surely move its own parameter: {named}")
    left = document["median_drift_left"]
    typer.echo(
        f"median change {document['median_free']:.2f} free, {document['median_held']:.2f} held; "
        f"of the mean drift holding leaves {'–' if left is None else f'{left:.0%}'} in the median"
    )
    if exact:
        typer.echo(
            f"held by local directions {document['median_exact']:.2f}; down to a third of the free change: "
            f"{document['third_by_direction']:.0%} of the pairs by linear directions, "
            f"{document['third_by_local']:.0%} by local ones"
        )
