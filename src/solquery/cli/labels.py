"""The verb `labels`: label observed patches by a flare list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Where
from .output import emit, note

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(labels)


def labels(
    archive: Annotated[str, typer.Argument(help="Directory or URI of the archive.")],
    events: Annotated[
        list[Path],
        typer.Option(help="Flare list: HEK (JSON, CSV), NOAA's edited events (text), a table; may be repeated."),
    ],
    flare_class: Annotated[str, typer.Option("--class", help="The weakest flare that counts: M is M1.0.")] = "M",
    within: Annotated[str, typer.Option(help="How soon after the observation: 24h, 90min, 2d.")] = "24h",
    covers: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="FROM TO", help="When the lists are complete (UTC); their first to last day without it."),
    ] = None,
    where: Where = None,
    out: Annotated[Path, typer.Option(help="Table (CSV), as `solquery directions labels` reads it.")] = Path(
        "labels.csv"
    ),
    json: Json = False,
) -> None:
    """Label observed patches: 1 where their region has a flare of a class soon afterwards, else 0."""
    from ..archive.flare_labels import label_archive
    from ..archive.flares import read_flares
    from ..archive.store import Archive
    from ..patch import observation_time

    ends = [observation_time(text) for text in covers or ()]
    if None in ends:
        raise typer.BadParameter("--covers takes two times, such as 2011-02-01 2011-03-01T12:00")
    store = Archive.open(archive)
    flares = read_flares(events, (ends[0], ends[1]) if ends and ends[0] and ends[1] else None)
    found = label_archive(store, flares, flare_class, within, where)
    found.write(out)
    for reason, count in found.left_out.items():
        note(f"solquery: {count} patches {reason} are left out")
    if found.unassigned:
        note(f"solquery: {found.unassigned} flares of the class have no region in the list; labels 0 may be too many")
    document = {
        "file": str(out), "archive": store.uri, "flares": len(flares.flares), "skipped": flares.skipped,
        "class": found.flare_class, "within_hours": found.within.total_seconds() / 3600, "patches": len(found.rows),
        "positives": found.positives, "regions": {"1": found.regions(1), "0": found.regions(0)},
        "left_out": found.left_out, "unassigned": found.unassigned,
    }  # fmt: skip
    if json:
        emit(document)
        return
    typer.echo(
        f"{out}: {len(found.rows)} patches, {found.positives} of {found.regions(1)} regions labelled 1, "
        f"{len(found.rows) - found.positives} of {found.regions(0)} regions labelled 0"
    )
