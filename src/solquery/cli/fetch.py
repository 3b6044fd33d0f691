"""The verb `fetch`: frames of SHARPs from JSOC into an archive."""

from __future__ import annotations

import enum
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .archive import on_workers
from .options import Dask, Json, ModelName, NewArchive, Workers
from .output import Reporter, emit, note, plain, table

if TYPE_CHECKING:
    from distributed import Client

    from ..jsoc.plan import Plan
    from ..jsoc.report import FetchReport
    from ..model import Model

__all__ = ["register"]

#: how many frames are named on the terminal; all of them are in the JSON document and in the manifest
_NAMED = 40


class Method(enum.StrEnum):
    """How JSOC hands files out."""

    url_quick = "url_quick"
    url = "url"


class Segment(enum.StrEnum):
    """Which image of a SHARP is fetched."""

    Br = "Br"
    magnetogram = "magnetogram"


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(fetch)


def fetch(
    archive: NewArchive,
    start: Annotated[str, typer.Option(help="First day, or time (TAI).")] = "2010-05-01",
    end: Annotated[str | None, typer.Option(help="Last day, or time (TAI), included; today by default.")] = None,
    harp: Annotated[list[int] | None, typer.Option("--harp", help="Only this HARP; may be repeated.")] = None,
    noaa: Annotated[list[int] | None, typer.Option("--noaa", help="Only this NOAA region; may be repeated.")] = None,
    noaa_only: Annotated[bool, typer.Option("--noaa-only", help="Only HARPs with a NOAA number.")] = False,
    cadence: Annotated[
        str | None,
        typer.Option(help="Time between frames: 12m, 1h, 6h, 1d ...; 6h by default, 12m with --preset paper."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Named settings that the frames are for: paper takes all, 12 minutes apart.")
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", min=1, help="At most this many of a region, spread evenly.")
    ] = None,
    segment: Annotated[Segment, typer.Option(help="Radial field, or line of sight.")] = Segment.Br,
    email: Annotated[
        str | None, typer.Option(envvar="JSOC_EMAIL", help="Address registered with JSOC; needed for files.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be fetched, and fetch nothing.")] = False,
    method: Annotated[
        Method, typer.Option(help="url_quick: files as they lie at JSOC; url: made anew with keywords, slower.")
    ] = Method.url_quick,
    export_batch: Annotated[
        int, typer.Option("--export-batch", "--lot", min=1, help="Records in one export request.")
    ] = 250,
    staging: Annotated[
        Path | None, typer.Option(help="Folder for manifest and files on their way; in the archive by default.")
    ] = None,
    keep_files: Annotated[bool, typer.Option("--keep-files", help="Keep the FITS files, too.")] = False,
    server: Annotated[str | None, typer.Option(help="Base address of another server that speaks like JSOC.")] = None,
    pause: Annotated[float, typer.Option(min=0.0, help="Seconds after a first failure; they double.")] = 2.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds without a byte that end a connection.")] = 60.0,
    tries: Annotated[int, typer.Option(min=1, help="Attempts at a request or file.")] = 6,
    workers: Workers = None,
    dask: Dask = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Embed all patches at the end, as the first search would.")
    ] = False,
    model: ModelName = None,
    json: Json = False,
) -> None:
    """Fetch SHARP frames from JSOC; the same command goes on where it was cut short, and fetches nothing twice."""
    from datetime import UTC, datetime

    from ..jsoc.client import Jsoc
    from ..jsoc.fetch import fetch as fetched
    from ..jsoc.plan import FetchOptions, plan
    from ..jsoc.retry import RetryPolicy
    from ..jsoc.selection import Ask, parse_cadence, parse_time

    ask = Ask(
        start=parse_time(start),
        end=parse_time(end or datetime.now(UTC).strftime("%Y-%m-%d"), end=True),
        harps=tuple(harp or ()),
        noaa=tuple(noaa or ()),
        noaa_only=noaa_only,
        cadence_s=parse_cadence(cadence or _cadence(preset)),
        max_frames=max_frames,
        segment=segment.value,
    )
    options = FetchOptions(method=method.value, export_batch=export_batch, keep_files=keep_files)
    retry_policy = RetryPolicy(tries=tries, first_s=pause, timeout_s=timeout, poll_s=min(5.0, max(pause, 0.05)))
    jsoc = Jsoc(server, email, retry_policy, say=note)
    if dry_run:
        with Reporter("planning") as report:
            planned = plan(ask, archive, jsoc, options, report)
        _planned(planned, json)
        return
    models = _encoder(model) if embed else None
    with on_workers(workers, dask) as client:
        with Reporter("fetching") as report:
            got = fetched(ask, archive, jsoc, options, staging=staging, progress=report, say=note, client=client)
        embedded = None if models is None else _embedded(archive, models, client)
    _fetched(got, embedded, json)
    if got.stopped:
        raise SolqueryError(got.stopped)
    if got.failed and got.fetched + got.there == 0:
        raise SolqueryError(f"none of the {got.frames:,} frames could be fetched; the reasons are above")


def _cadence(preset: str | None) -> str:
    """Time between frames that a preset's data have: the paper's are 12 minutes apart."""
    from ..config import get_preset

    if preset is not None:
        get_preset(preset)
    return "12m" if preset == "paper" else "6h"


def _encoder(name: str | None) -> Model:
    """The model to embed with; looked for before anything is fetched."""
    from ..model import Model

    found = Model.load(name)
    if found.encoder is None:
        raise SolqueryError(f"model {found.name!r} has no encoder to embed with; choose one that has")
    return found


def _embedded(archive: str, models: Model, client: Client | None) -> int:
    """Number of patches that were embedded; none where nothing was fetched."""
    from ..archive.store import Archive
    from ..encoder.embedding import embed_archive

    if not Archive.exists(archive):
        return 0
    with Reporter("embedding") as report:
        return embed_archive(Archive.open(archive), models, report.count, client=client).embedded


def _planned(found: Plan, json: bool) -> None:
    document = plain(found)
    if json:
        emit(document)
        return
    requests = found.requests
    rows = [
        ("frames", f"{found.frames:,}"),
        ("regions", f"{found.regions:,}"),
        ("in the archive already", f"{found.there:,}"),
        ("to fetch", f"{found.to_fetch:,}"),
        ("download", f"{found.download_bytes / 1e9:.2f} GB"),
        ("archive grows by", f"{found.archive_bytes / 1e9:.2f} GB"),
        ("requests", ", ".join(f"{count:,} {what}" for what, count in requests.items())),
        *((f"dropped: {reason}", f"{count:,}") for reason, count in sorted(found.dropped.items())),
    ]
    table(["", ""], rows)


def _fetched(got: FetchReport, embedded: int | None, json: bool) -> None:
    document: Document = plain(got)
    if embedded is not None:
        document["embedded"] = embedded
    if json:
        emit(document)
        return
    typer.echo(
        f"{got.archive}: {got.fetched:,} fetched, {got.there:,} there already, {len(got.failed):,} given up, "
        f"{len(got.dropped):,} dropped by QUALITY; {got.frames:,} frames of {got.regions:,} regions asked for, "
        f"{got.bytes / 1e9:.3f} GB in {got.requests:,} requests, {got.seconds:.0f} s"
    )
    if embedded is not None:
        typer.echo(f"{embedded:,} patches embedded")
    for entry in got.failed[:_NAMED]:
        typer.echo(f"given up: {entry['frame']}: {entry['reason']}")
    if len(got.failed) > _NAMED:
        typer.echo(f"given up: {len(got.failed) - _NAMED:,} more; --json names them all")
    if len(got.dropped) <= _NAMED:
        for entry in got.dropped:
            typer.echo(f"dropped: {entry['frame']}: {entry['reason']}")
    else:
        for reason, count in Counter(entry["reason"] for entry in got.dropped).most_common():
            typer.echo(f"dropped: {count:,} frames: {reason}; --json names them all")
