"""``solquery study retrieval``: how well a search keeps what was asked for, finds what it should, and looks alike."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document, Row
from ..errors import SolqueryError
from .options import Json, ModelName, Seed
from .output import Reporter, emit, note, table, write_json

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the verb of this file."""
    group.command("retrieval")(retrieval)


def retrieval(
    archive: Annotated[str, typer.Option(help="Archive that is searched; embedded first where it is not yet.")],
    model: ModelName = None,
    queries: Annotated[int, typer.Option(min=3, help="Queries drawn from the generator.")] = 1_000,
    judged: Annotated[int, typer.Option(min=3, help="Of these, compared with their matches pixel by pixel.")] = 500,
    changed: Annotated[int, typer.Option(min=1, help="Number of patches whose changed copies are searched for.")] = 200,
    real: Annotated[
        list[Path] | None,
        typer.Option(help="FITS file of an observed frame to search for, or a folder of them; may be repeated."),
    ] = None,
    samples: Annotated[bool, typer.Option(help="Search for the observed samples of the package as well.")] = True,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for retrieval.json and the pictures.")] = Path("retrieval"),
    json: Json = False,
) -> None:
    """Queries and their matches: correlations, visual similarity, same region, changed copies (paper, Figs. 7 to 9)."""
    from ..archive.store import Archive
    from ..encoder import embed_archive
    from ..model import Model
    from ..study.retrieval_report import study_retrieval, write_pictures

    began = time.monotonic()
    models, store = Model.load(model), Archive.open(archive)
    with Reporter("embedding") as report:
        embed_archive(store, models, report.count)
    with Reporter("retrieval") as report:
        document, found = study_retrieval(store, models, queries, judged, changed=changed, seed=seed, progress=report)
        observed = _observed(store, models, real or [], samples, seed)
        report("drawing the pictures", 1.0)
        files = write_pictures(store, models, found, out)
    document = {
        "model": models.name,
        "hash": models.hash,
        "archive": store.uri,
        **document,
        "real": observed,
        "pictures": files,
        "seconds": time.monotonic() - began,
    }
    write_json(out / "retrieval.json", document)
    note(f"written: {out / 'retrieval.json'} and {len(files)} pictures")
    if json:
        emit(document)
    else:
        _print(document)


def _observed(store: Archive, models: Model, files: list[Path], samples: bool, seed: int) -> Document:
    """The observed frames, those named and those of the package apart: a mixture would hide either."""
    from ..archive.samples import sample_patches
    from ..study.real_frames import read_frames, real_frames

    out: Document = {}
    if files:
        files = [one for file in files for one in (sorted(file.glob("*.fits")) if file.is_dir() else [file])]
        if not files:
            raise SolqueryError("there is no FITS file in the folders that --real names; give files, or other folders")
        patches, refused = read_frames(files)
        if not patches:
            raise SolqueryError(f"none of the {len(files)} files can be looked for; the first: {refused[0]['why']}")
        out["files"] = {**real_frames(store, models, patches, seed=seed), "refused": refused}
    if samples:
        out["samples"] = real_frames(store, models, sample_patches(), seed=seed)
    return out


def _share(entry: Document) -> str:
    if entry["share"] is None:
        return "–"
    interval = "" if entry["low"] is None else f" [{100 * entry['low']:.0f}, {100 * entry['high']:.0f}]"
    return f"{100 * entry['share']:.1f} %{interval}"


def _print(document: Document) -> None:
    sources = " and ".join(f"{count:,} {kind}" for kind, count in document["sources"].items())
    typer.echo(f"{document['queries']:,} generated queries, {sources} patches of {document['regions']:,} regions\n")
    correlations = document["correlations"]
    table(
        ["Pearson", "paper", *correlations],
        [
            (name.upper(), f"{paper['pearson']:.2f}", *(_interval(by_name[name]) for by_name in correlations.values()))
            for name, paper in document["paper"].items()
        ],
    )
    alike = document["visual_similarity"]
    typer.echo(f"\nvisual similarity of query and match, median over {alike['queries']} queries:")
    table(["method", "median"], [(method, f"{entry['median']:.3f}") for method, entry in alike["methods"].items()])
    table(
        ["paired", "mean difference [95 %]"],
        [
            (pair, f"{entry['difference']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]")
            for pair, entry in alike["differences"].items()
        ],
    )
    region, copied = document["same_region"], document["copies"]
    lines = [(f"another frame of the region among the first {region['k']}", _share(region))]
    lines += [(f"changed copy finds its original first ({name})", _share(copied[name])) for name in copied if name in
              ("all", "shift_px", "zoom", "rotation_deg", "vertical_flip")]  # fmt: skip
    again = f"of the {copied['looked_at']} first looked at again"
    lines.append((f"a copy changed in all ways, best {again}", _share(copied["verified"])))
    lines.append(("a negative comes first", _share(copied["negative"])))
    for title, entry in document["real"].items():
        lines.append((f"observed {title}: changed copy finds its original first", _share(entry["copies"])))
        lines.append((f"observed {title}: so, {again}", _share(entry["verified"])))
        if entry["others"]["of"]:
            lines.append((f"observed {title}: another frame of the region comes first", _share(entry["others"])))
    table(["search finds", "share [95 %]"], lines)
    for title, entry in document["real"].items():
        typer.echo(f"\nobserved {title}, among {entry['among']:,} patches:")
        table(
            ["frame", "time", "ranks of the original", "nearest other frame"], [_frame(row) for row in entry["frames"]]
        )


def _interval(entry: Document) -> str:
    low, high = entry["pearson_interval"]
    return f"{entry['pearson']:.3f} [{low:.2f}, {high:.2f}]"


def _frame(row: Row) -> tuple[str, str, str, str]:
    other = row["other"]
    if other is None:
        found = "–"
    else:
        apart = "" if other["hours"] is None else f", {other['hours']:.0f} h apart"
        found = f"rank {other['rank']}{apart}"
    return row["region"], row["t_rec"] or "–", ", ".join(map(str, row["copies"])), found
