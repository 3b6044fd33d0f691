"""The verbs that judge a bundle: `quality`, how real its patches are, and `leaks`, how pure its directions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from .cli_input import read_npy
from .cli_output import Reporter, emit, note, table, write_file, write_json
from .cli_steering import Json, Seed
from .errors import SolqueryError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (quality, leaks):
        app.command()(verb)


def quality(
    bundle: Annotated[str | None, typer.Argument(help="Name or folder; the shipped default without it.")] = None,
    archive: Annotated[str, typer.Option(help="Archive of regions that the bundle was not trained on.")] = "archive",
    where: Annotated[str | None, typer.Option(help="Which of its patches, in SQL.")] = None,
    n: Annotated[int, typer.Option("-n", min=100, help="Patches of each kind, at most.")] = 2000,
    train: Annotated[
        Path | None, typer.Option(help="Training patches (.npy, preset units): tests for memorised ones.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for quality.json and quality.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Hold generated patches beside held-out ones: distributions, overlap, copies."""
    from .archive.store import Archive
    from .bundle import Bundle
    from .study.figures import png
    from .study.quality import figure_quality, run_quality

    began = time.monotonic()
    models, store = Bundle.load(bundle), Archive.open(archive)
    patches = None
    if train is not None:
        patches = read_npy(train, mmap=True)
        if patches.ndim != 3 or tuple(patches.shape[1:]) != tuple(models.preset.shape):
            raise SolqueryError(f"{train} has shape {patches.shape}, not (N, {models.preset.shape[0]}, …)")
        rows = np.sort(np.random.default_rng(seed).permutation(len(patches))[:10_000])
        patches = np.asarray(patches[rows], np.float32)
    with Reporter("quality") as report:
        study = run_quality(store, models, n, seed, where, patches, report)
    document = {**study.document, "seconds": time.monotonic() - began}
    if out is not None:
        write_json(out / "quality.json", document)
        write_file(out / "quality.png", png(figure_quality(study)))
        note(f"written: {out / 'quality.json'}, {out / 'quality.png'}")
    if json:
        emit(document)
        return
    table(
        ["parameter", "KS", "floor", "Wasserstein", "floor"],
        [
            (name, *(f"{entry[key]:.3f}" for key in ("ks", "ks_floor", "wasserstein", "wasserstein_floor")))
            for name, entry in document["parameters"].items()
        ],
    )
    keys = ("frechet", "kernel", "precision", "recall", "density", "coverage")
    lines = [("median KS", f"{document['median_ks']:.3f}", f"{document['median_ks_floor']:.3f}")]
    lines += [(key, f"{document[key]:.3f}", f"{document['floor'][key]:.3f}") for key in keys]
    lines += [("spectrum (dex)", f"{document['spectrum_dex']:.3f}", f"{document['spectrum_dex_floor']:.3f}")]
    table(["measure", "generated", "floor"], lines)
    if document["memorisation"] is not None:
        memory = document["memorisation"]
        verdict = "copies training patches" if memory["memorised"] else "no sign of memorised patches"
        typer.echo(f"{verdict}: a generated patch is closer to training in {memory['closer']:.0%} of pairs")


def leaks(
    bundle: Annotated[str | None, typer.Argument(help="Name or folder; the shipped default without it.")] = None,
    n: Annotated[int, typer.Option("-n", min=4, help="Latents that are moved.")] = 32,
    step: Annotated[float, typer.Option(min=0.01, help="How far, forth and back, in latent space.")] = 0.75,
    out: Annotated[Path | None, typer.Option(help="Folder for leaks.json and leaks.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """What else changes when one parameter is moved, with and without holding it."""
    from .bundle import Bundle
    from .steering.leak import leak_table
    from .study.figures import png
    from .study.quality import figure_leaks

    began = time.monotonic()
    models = Bundle.load(bundle)
    with Reporter("leaks") as report:
        report("moving latents along every direction, others free and held")
        found = leak_table(models, latents=n, step=step, seed=seed)
    document = {"bundle": models.name, "hash": models.hash, "seed": seed, **found.summary()}
    document["seconds"] = time.monotonic() - began
    if out is not None:
        write_json(out / "leaks.json", document)
        write_file(out / "leaks.png", png(figure_leaks(found)))
        note(f"written: {out / 'leaks.json'}, {out / 'leaks.png'}")
    if json:
        emit(document)
        return
    for title, key in (("free", "free"), ("the column's parameter held", "held")):
        rows = [(a, *("" if v is None else f"{v:.2f}" for v in row.values())) for a, row in document[key].items()]
        table(["moved", *found.names], rows, f"change in spreads per spread of the one moved, {title}")
    left = document["median_drift_left"]
    typer.echo(
        f"median leak {document['median_free']:.2f} free, {document['median_held']:.2f} held; "
        f"of the mean drift holding leaves {'–' if left is None else f'{left:.0%}'} in the median"
    )
