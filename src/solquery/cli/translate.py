"""The verb `translate`, and `train translation`, which fits the maps that it uses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .inputs import fits_files, read_patches, refusal
from .options import Json, Reproject, Scale, Segment, Unit, Where
from .output import Reporter, emit, note, table, write_file
from .plugins import load_models

if TYPE_CHECKING:
    from ..patch import Patch
    from ..translation import Translation

__all__ = ["register", "register_training"]

#: regions below which an error is uncertain
_FEW = 30
_MODEL_HELP = "Name or folder of a model; a map that goes through a generator needs the one it was fitted with."


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(translate)


def register_training(group: typer.Typer) -> None:
    """Add what fits maps to the group `train`."""
    group.command("translation")(train_translation)


def translate(
    files: Annotated[list[Path], typer.Argument(help="FITS files, or directories of them.")],
    using: Annotated[
        str,
        typer.Option(
            "--with",
            help="A map that ships: los-to-radial, radial-to-los, mdi-to-hmi, hmi-to-mdi, limb-to-clean, "
            "missing-to-filled, saturated-to-unsaturated; or the file of one.",
        ),
    ],
    model: Annotated[str | None, typer.Option("--model", "--bundle", help=_MODEL_HELP)] = None,
    out: Annotated[Path, typer.Option(help="Folder for FITS files and pictures.")] = Path("translated"),
    segment: Segment = None,
    unit: Unit = None,
    scale: Scale = None,
    reproject: Reproject = False,
    json: Json = False,
) -> None:
    """Estimate what another instrument or a better observation would show; each result says that it is translated."""
    from ..archive.export import file_stems
    from ..translation import translate as translated
    from ..translation.applying import translation_of

    found = translation_of(using)
    models = load_models(model) if model is not None or found.model is not None else None
    stated: Document = {"segment": segment, "unit": unit, "scale": scale, "reproject": reproject}
    read, refused = read_patches(fits_files(files), strict_quality=False, **stated)
    began = time.monotonic()
    records = []
    with Reporter("translating") as report:
        for number, (patch, stem) in enumerate(zip(read, file_stems([p.id for p in read]), strict=True)):
            report.count(number, len(read))
            try:
                made = translated(patch, found, model=models)
            except (SolqueryError, ValueError) as error:
                refused.append(refusal(patch.file, error))
                continue
            records.append(_written(patch, made, out / f"{stem}-{found.name}"))
    document = {
        "patches": records, "refused": refused, "map": _about(found), "seconds": time.monotonic() - began,
    }  # fmt: skip
    if found.shortfall():
        note(f"solquery: {found.shortfall()}")
    if json:
        emit(document)
    elif records:
        rows = [
            (r["id"], r["source"], r["quantity"], str(r["shape"][0]), str(r["shape"][1]), r["file"]) for r in records
        ]
        table(["patch", "source", "field", "ny", "nx", "file"], rows, title=f"{found!r}")
    if not records:
        raise SolqueryError(f"none of the {len(refused)} files could be translated; the reasons are above")


def _written(patch: Patch, made: Patch, stem: Path) -> Document:
    """Write a translated patch as FITS and beside what it was made of as a picture; the record of it."""
    from ..sharp.fits_writing import write_fits
    from ..translation.figures import picture_of

    file = write_fits(made, stem.with_name(stem.name + ".fits"))
    shown = write_file(stem.with_name(stem.name + ".png"), picture_of(patch, made))
    return {
        "id": made.id, "of": patch.id, "of_source": patch.source, "source": made.source, "quantity": made.quantity,
        "region": made.region, "shape": list(made.field.shape),
        "scale": {"value": list(made.scale_mm or ()), "unit": "Mm"},
        "translation": made.truth["translation"], "file": str(file), "picture": str(shown),
    }  # fmt: skip


def _about(found: Translation) -> Document:
    return {
        "name": found.name, "kind": found.kind.name, "method": found.method, "model": found.model,
        "error": found.error, "provenance": found.provenance, "shortfall": found.shortfall(),
    }  # fmt: skip


def train_translation(
    pairs: Annotated[
        Path | None, typer.Argument(help="Table (CSV) with columns given and wanted: FITS files of one instant.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="As `translate --with` has them; with a table also a name of your own.")
    ] = "los-to-radial",
    archive: Annotated[
        str | None,
        typer.Option(help="Archive of pairs instead: `simulate --quantity radial --quantity line-of-sight …`."),
    ] = None,
    where: Where = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "--bundle", help="Also try the generator of this model; without it the map needs none."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="simple, filters, filters+generator, direction or latent-map; the best of them without it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File of the map [KIND.safetensors]; its name without ending names the map.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit a map on pairs of patches, and measure its error on regions left out."""
    from ..archive.store import Archive
    from ..translation import fit_translation, pairs_of_archive, pairs_of_table

    if (pairs is None) == (archive is None):
        raise typer.BadParameter("name a table of pairs, or --archive, and not both")
    file = out if out is not None else Path(f"{kind}.safetensors")
    models = load_models(model) if model is not None else None
    began = time.monotonic()
    with Reporter("fitting a map") as report:
        found = fit_translation(
            pairs_of_table(pairs) if pairs is not None else pairs_of_archive(Archive.open(str(archive)), kind, where),
            kind, name=file.stem, model=models, method=method,
            source=pairs.name if pairs is not None else Path(str(archive)).name, progress=report,
        )  # fmt: skip
    found.save(file)
    if found.provenance["regions"] < _FEW:
        note(f"solquery: {found.provenance['regions']} regions are few; the error is uncertain")
    if found.shortfall():
        note(f"solquery: {found.shortfall()}")
    document = {"file": str(file), **_about(found), "seconds": time.monotonic() - began}
    if json:
        emit(document)
        return
    rows = [
        (name, f"{e['rms_gauss']:.1f}", f"{e['rms_strong_gauss']:.0f}", f"{e['unexplained']:.1%}", mark)
        for name, e in found.error.items()
        for mark in ["taken" if name == found.method else ""]
    ]
    table(["method", "error, G", "over 200 G", "unexplained", ""], rows, title=f"{found!r}")
    typer.echo(f"{file}: fitted on {found.provenance['pairs']} pairs of {found.provenance['regions']} regions")
