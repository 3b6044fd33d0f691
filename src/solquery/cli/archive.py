"""The verbs `archive info`, `check`, `compact`, `export`, `remove`, `restore`, `split`, `embed` and `sql`."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SolqueryError
from .options import Dask, EncoderName, Json, ModelName, Seed, Where, Workers
from .output import Reporter, emit, note, plain, table

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["on_workers", "register"]

#: how many problems are named on the terminal; all of them are in the JSON document
_NAMED = 100

Place = Annotated[str, typer.Argument(help="Directory or URI of the archive.")]


class Form(enum.StrEnum):
    """What an archive can be exported to."""

    parquet = "parquet"
    hdf5 = "hdf5"
    fits = "fits"


class Precision(enum.StrEnum):
    """Arithmetic to embed in."""

    fp32 = "fp32"
    int8 = "int8"


def register(app: typer.Typer) -> None:
    """Add the verbs of this file, as a group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Look after an archive: info, check, compact, export, remove, restore, split, embed, sql.",
    )
    for verb in (info, check, compact, export, remove, restore, split, embed, sql):
        group.command()(verb)
    app.add_typer(group, name="archive")


@contextmanager
def on_workers(workers: int | None, scheduler: str | None) -> Iterator[Client | None]:
    """A Dask client where one is asked for, else None."""
    if workers is not None and scheduler is not None:
        raise typer.BadParameter("--workers and --dask exclude each other: a scheduler has its own workers")
    if workers is None and scheduler is None:
        yield None
        return
    from ..archive.distribute import cluster

    with cluster(workers, scheduler) as client:
        yield client


def info(archive: Place, where: Where = None, json: Json = False) -> None:
    """Count what is in an archive: patches, regions, time span, sizes, and how values are spread."""
    from ..archive.histograms import NEEDED, bars, histograms
    from ..archive.store import Archive

    store = Archive.open(archive)
    spread = histograms(store.table([name for name in NEEDED if name in store.columns], where))
    document = {**store.info(where), "where": where, "histograms": spread}
    if "split" in store.columns:
        marks = store.table(["split", "split_rule"], where)
        parts = marks["split"].to_pylist()
        document["split"] = {
            "rule": next(filter(None, marks["split_rule"].to_pylist()), None),
            **{part: parts.count(part) for part in sorted({p for p in parts if p})},
            "none": parts.count(None),
        }
    if json:
        emit(document)
        return
    size = document["bytes"]
    rows = [
        ("patches", f"{document['patches']:,}"),
        ("regions", f"{document['regions']:,}"),
        *((f"source {name}", f"{count:,}") for name, count in document["source"].items()),
        *((f"quantity {name}", f"{count:,}") for name, count in document["quantity"].items()),
        *([("without a scale", f"{document['without_scale']:,}")] if document["without_scale"] else []),
        ("first (UTC)", document["first"] or "–"),
        ("last (UTC)", document["last"] or "–"),
        ("on disk", "–" if size is None else f"{size / 1e9:.3f} GB"),
        ("version", str(document["version"])),
        *((f"split {name}", str(value)) for name, value in document.get("split", {}).items()),
        ("content", document["content"][:16]),
    ]
    table(["", ""], rows, title=document["uri"] + (f", patches with {where}" if where else ""))
    for title, histogram in spread.items():
        typer.echo("")
        typer.echo("\n".join(bars(title, histogram)))


def check(archive: Place, json: Json = False) -> None:
    """Verify every field's checksum, and look for duplicates, values out of range and stray files; exit 1 if any."""
    from ..archive.store import Archive
    from ..archive.verify import verify

    store = Archive.open(archive)
    with Reporter("checking") as report:
        problems = verify(store, report.count)
    document = {
        "archive": store.uri,
        "patches": len(store),
        "problems": [{"where": problem.where, "what": problem.what} for problem in problems],
    }
    if json:
        emit(document)
    elif not problems:
        typer.echo(f"{store.uri}: {len(store):,} patches, nothing is off")
    else:
        for problem in problems[:_NAMED]:
            typer.echo(f"{problem.where}: {problem.what}")
        if len(problems) > _NAMED:
            typer.echo(f"{len(problems) - _NAMED:,} more; --json names them all")
    if problems:
        raise SolqueryError(f"{store.uri}: {len(problems):,} problems in {len(store):,} patches; they are listed above")


def compact(
    archive: Place,
    keep_days: Annotated[float, typer.Option(min=0.0, help="Versions younger than that stay.")] = 7.0,
    json: Json = False,
) -> None:
    """Merge small files, and remove old versions and what killed writers left; nobody else may be writing."""
    from ..archive.compact import compact as compacted
    from ..archive.store import Archive

    found = compacted(Archive.open(archive), timedelta(days=keep_days))
    if json:
        emit({"archive": archive, **found})
        return
    before, after = found["bytes_before"], found["bytes_after"]
    change, grew = "", False
    if before is not None and after is not None:
        change, grew = f", {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now", after > before
    typer.echo(f"{archive}: {found['orphan_fields']} fields without a row and {found['files']} files removed{change}")
    if grew:
        note(f"versions of the last {keep_days:g} days stay beside what was merged; --keep-days 0 removes them now")


def export(
    archive: Place,
    out: Annotated[Path, typer.Option(help="File to write; a folder for FITS.")],
    form: Annotated[Form, typer.Option("--format", help="What to write.")] = Form.parquet,
    where: Where = None,
    json: Json = False,
) -> None:
    """Write patches with all their columns as one Parquet or HDF5 file, or as FITS files."""
    from ..archive.export import export as exported
    from ..archive.store import Archive

    with Reporter("exporting") as report:
        count = exported(Archive.open(archive), out, form.value, where, report.count)
    if json:
        emit({"archive": archive, "out": str(out), "format": form.value, "patches": count})
    else:
        typer.echo(f"{out}: {count:,} patches")


def remove(
    archive: Place,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of the patches to remove.")] = None,
    where: Where = None,
    json: Json = False,
) -> None:
    """Remove patches by id or by condition; `archive restore` takes it back."""
    from ..archive.store import Archive

    if bool(ids) == (where is not None):
        raise typer.BadParameter("say which patches to remove: either IDS, or --where")
    store = Archive.open(archive)
    done = store.remove(ids or None, where)
    if not done.removed:
        raise SolqueryError(f"no patch of {archive} meets {where!r}; nothing was removed")
    if json:
        emit({"archive": archive, "removed": done.removed, "version": done.version, "patches": len(store)})
        return
    typer.echo(f"{archive}: {len(done.removed):,} removed, {len(store):,} patches left")
    note(f"to take it back: solquery archive restore {archive} --version {done.version}")


def restore(
    archive: Place,
    version: Annotated[int, typer.Option(min=1, help="As `archive remove` and `archive info` tell it.")],
    json: Json = False,
) -> None:
    """Bring back the patches of an earlier version, as long as `archive compact` has not dropped it."""
    from ..archive.store import Archive

    count = Archive.open(archive).restore(version)
    if json:
        emit({"archive": archive, "version": version, "patches": count})
    else:
        typer.echo(f"{archive}: as in version {version}, {count:,} patches")


def split(
    archive: Place,
    train: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of regions to train on.")] = 0.8,
    validation: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share to choose by.")] = 0.1,
    test: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share to judge by.")] = 0.1,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Divide an archive by region into train, validation and test, and record it in the column `split`."""
    from ..archive.split import split as divided
    from ..archive.store import Archive

    found = divided(Archive.open(archive), (train, validation, test), seed)
    if json:
        emit({"archive": archive, "seed": seed, "split": found})
        return
    table(["", "patches", "regions"], [(part, f"{n['patches']:,}", f"{n['regions']:,}") for part, n in found.items()])
    note("use it as --where \"split = 'train'\"")


def embed(
    archive: Place,
    model: ModelName = None,
    encoder: EncoderName = None,
    again: Annotated[
        bool, typer.Option("--again", help="Embed again the patches that are embedded with this model already.")
    ] = False,
    precision: Annotated[
        Precision | None, typer.Option(help="int8 is faster and nearly the same; without it fp32, and nothing twice.")
    ] = None,
    workers: Workers = None,
    dask: Dask = None,
    json: Json = False,
) -> None:
    """Embed every patch, as the first search does; the same command goes on where it was cut short."""
    from ..archive.store import Archive
    from ..encoder.embedding import embed_archive
    from ..model import Model

    store, models = Archive.open(archive), Model.load(model)
    if encoder is not None:
        models = models.with_encoder(encoder)
    if models.encoder is None:
        raise SolqueryError(f"model {models.name!r} has no encoder to embed with; choose one that has")
    chosen = None if precision is None else precision.value
    with Reporter("embedding") as report, on_workers(workers, dask) as client:
        done = embed_archive(store, models, report.count, again=again, client=client, precision=chosen)
    skipped = f", {done.skipped:,} skipped: they have no scale" if done.skipped else ""
    if json:
        what = {"embedded": done.embedded, "already": done.already, "skipped": done.skipped, "seconds": done.seconds}
        emit({"archive": store.uri, "model": models.name, "encoder": models.encoder_hash, **what})
    else:
        typer.echo(f"{store.uri}: {done.embedded:,} patches embedded, {done.already:,} were already{skipped}")


def sql(
    archive: Place,
    query: Annotated[str, typer.Argument(help='"SELECT harpnum, max(tuf) FROM patches GROUP BY harpnum"')],
    json: Json = False,
) -> None:
    """Answer one SELECT over the table `patches`, with a row for each patch; nothing is changed."""
    from ..archive.store import Archive

    found = Archive.open(archive).sql(query)
    rows = found.to_pylist()
    if json:
        emit({"archive": archive, "query": query, "columns": found.column_names, "rows": plain(rows)})
    else:
        table(found.column_names, [tuple("–" if v is None else str(v) for v in row.values()) for row in rows])
