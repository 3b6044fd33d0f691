"""``solquery study retrieval``: does a search find what it should, in numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_output import Reporter, emit, note, table, write_json
from .errors import SolqueryError

if TYPE_CHECKING:
    from .patch import Patch

__all__ = ["register"]

_SAMPLES = "samples"


def register(group: typer.Typer) -> None:
    """Add the verb of this file."""
    group.command("retrieval")(retrieval)


def retrieval(
    archive: Annotated[str, typer.Option(help="Archive that is searched.")],
    bundle: Annotated[str | None, typer.Option("--bundle", help="Name or folder; the shipped default.")] = None,
    queries: Annotated[
        int, typer.Option(min=0, help="Generated queries, and at most so many frames; 0: only --real.")
    ] = 1_000,
    real: Annotated[
        list[Path] | None,
        typer.Option(
            help="SHARP file, or folder of such, to be found among the simulated patches; may be repeated. "
            '"samples" are those of the package.'
        ),
    ] = None,
    any_quality: Annotated[bool, typer.Option("--any-quality", help="Real frames that QUALITY refuses, too.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for retrieval.json and the pictures.")] = Path("retrieval"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Query and best match, compared: parameters, looks, frames of a region, altered copies, real frames."""
    from .archive.store import Archive
    from .bundle import Bundle
    from .retrieval.embedding import embed_archive
    from .study.retrieval_record import record_retrieval

    if 0 < queries < 3:
        raise typer.BadParameter("--queries is 0, or at least 3 for a correlation")
    if not queries and not real:
        raise typer.BadParameter("with --queries 0, give the --real frames to look for")
    models, store = Bundle.load(bundle), Archive.open(archive)
    if models.encoder is None:
        raise SolqueryError(f"bundle {models.name!r} has no encoder to search with; choose one that has")
    patches, refused = _real(real or [], any_quality)
    with Reporter("embedding the archive") as report:
        embed_archive(store, models, report.count)
    with Reporter("studying") as report:
        document = record_retrieval(store, models, out, queries, seed, patches, progress=report)
    if real:
        document["refused"] = refused
    write_json(out / "retrieval.json", document)
    note(f"written: {out / 'retrieval.json'}" + (", with its pictures beside it" if queries else ""))
    if json:
        emit(document)
        return
    if queries:
        _tell_queries(document)
    if "real" in document:
        _tell_real(document["real"])


def _real(given: list[Path], any_quality: bool) -> tuple[list[Patch], list[dict[str, str]]]:
    """Patches of files, folders and of the package, and what was refused."""
    from .archive.samples import sample_patches
    from .cli_input import fits_files, read_patches

    named = [path for path in given if str(path) != _SAMPLES or path.exists()]
    patches: list[Patch] = []
    refused: list[dict[str, str]] = []
    if len(named) < len(given):
        patches += sample_patches(strict_quality=not any_quality)
    if named:
        more, refused = read_patches(fits_files(named), strict_quality=not any_quality)
        patches += more
    if given and not patches:
        raise SolqueryError(f"none of the {len(refused)} real files can be used: see the reasons above; --any-quality?")
    return patches, refused


def _text(value: Any) -> str:
    return "–" if value is None or value != value else f"{value:.2f}".replace("-", "−")


def _tell_queries(document: Mapping[str, Any]) -> None:
    methods = list(document["correlations"])
    lines = []
    for name, paper in document["paper"].items():
        here = {method: document["correlations"][method][name] for method in methods}
        low, high = here["ssl"]["pearson_interval"]
        lines.append(
            (
                name.upper(),
                *(_text(paper[kind]) for kind in ("pearson", "spearman")),
                f"{_text(here['ssl']['pearson'])} [{_text(low)}, {_text(high)}]",
                _text(here["ssl"]["spearman"]),
                *(_text(here[method]["pearson"]) for method in methods if method != "ssl"),
            )
        )
    heads = ["", "paper P", "paper S", "ssl P [95 %]", "ssl S", *(f"{m} P" for m in methods if m != "ssl")]
    table(
        heads, lines,
        f"correlation of {document['queries']:,} generated queries with their best match among "
        f"{document['patches']:,} patches of {document['regions']:,} regions (P Pearson, S Spearman)",
    )  # fmt: skip
    alike = document["likeness_of_methods"]
    table(
        ["visual likeness", "median", "95 %"],
        [(m, _text(v["value"]), f"{_text(v['low'])} to {_text(v['high'])}") for m, v in alike["median"].items()],
        "",
    )
    table(
        ["paired difference", "median", "95 %", "ahead in"],
        [
            (m, _text(v["value"]), f"{_text(v['low'])} to {_text(v['high'])}", _percent(v["ahead"]))
            for m, v in alike["difference"].items()
        ],
    )
    frames = document["frames"]
    rows = [
        ("another frame of the region among the first 10", "same_region"),
        ("another frame of the region comes first", "same_region_first"),
        ("a changed copy finds its frame first", "changed_copy"),
        ("a copy of reversed polarity finds its frame first (should not)", "reversed_copy"),
        ("the reversed frame is nearer to a changed copy than the frame (should not)", "reversed_before_original"),
    ]
    table([f"{frames['frames']:,} frames of {frames['held_out']}", "share", "95 %"], [
        (title, _percent(frames[key]["share"]), _interval(frames[key])) for title, key in rows
    ])  # fmt: skip


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _interval(entry: Mapping[str, Any]) -> str:
    return f"{_percent(entry['low'])} to {_percent(entry['high'])}"


def _tell_real(real: Mapping[str, Any]) -> None:
    lines = [
        (
            frame.id,
            *(" ".join(map(str, frame.copies[method])) for method in ("ssl", "hybrid")),
            *("–" if (rank := frame.sibling[method]) is None else str(rank) for method in ("ssl", "hybrid")),
        )
        for frame in real["ranks"]
    ]
    table(
        ["", "ssl: of changed copies", "hybrid", "ssl: of another frame", "hybrid"], lines,
        f"ranks of {real['frames']} real frames of {real['regions']} regions among {real['simulated']:,} simulated",
    )  # fmt: skip
    for key, title in (("copy_first", "a changed copy finds it first"), ("sibling_first", "another frame comes first")):
        for method, entry in real[key].items():
            typer.echo(f"{title}, {method}: {_percent(entry['share'])} of {entry['of']} ({_interval(entry)})")
