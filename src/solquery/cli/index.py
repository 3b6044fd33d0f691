"""The verb `index`: an approximate index beside an archive, for search among millions of patches."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .options import EncoderName, Json, ModelName
from .output import Reporter, emit, table
from .plugins import load_models

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from ..search.approximate_files import About

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(index)


def index(
    place: Annotated[str | None, typer.Argument(metavar="[ARCHIVE]", help="Directory of the archive.")] = None,
    archive: Annotated[str | None, typer.Option(help="The same as an option, as the other verbs have it.")] = None,
    model: ModelName = None,
    encoder: EncoderName = None,
    check: Annotated[bool, typer.Option("--check", help="Build nothing: compare all files with their sums.")] = False,
    json: Json = False,
) -> None:
    """Make an archive of millions quick to search; `search` finds the index by itself, and filters and groups as ever.

    Below a million patches there is no need of it. What is not embedded yet is embedded first. An archive that has
    changed needs its index built again; until then it is searched without.
    """
    from ..archive.store import Archive
    from ..encoder.embedding import embed_archive
    from ..search.approximate import faiss_module
    from ..search.approximate_build import build_index

    if (place is None) == (archive is None):
        raise typer.BadParameter("name one archive: solquery index ARCHIVE")
    store = Archive.open(place or archive or "")
    models = load_models(model, encoder)
    if models.encoder is None:
        raise SolqueryError(f"model {models.name!r} has no encoder to search with; choose one that has")
    if check:
        _show(_checked(store, models), store, "is as it was built", json)
        return
    # before an hour of embedding, not behind it
    faiss_module()
    with Reporter("embedding the archive") as report:
        embed_archive(store, models, report.count)
    with Reporter("indexing") as report:
        about = build_index(store, models, report)
    _show(about, store, "built", json)


def _checked(store: Archive, models: Model) -> About:
    """The newest index, after all its files were read."""
    from ..search import approximate_files
    from ..search.provenance import indexed_with

    found = [] if store.path is None else approximate_files.indexes(store.path)
    names = indexed_with(store, models)
    mine = [(about, folder) for about, folder in found if about.encoder in names]
    if not mine:
        raise SolqueryError(
            f"{store.uri} has no index for model {models.name!r}; `solquery index {store.uri}` makes it"
        )
    about, folder = mine[0]
    approximate_files.check(folder, about, everything=True)
    return about


def _show(about: About, store: Archive, what: str, json: bool) -> None:
    from ..archive.rows import version_of

    now = version_of(store)
    settings = {group: asdict(setting) for group, setting in about.settings.items()}
    document: Document = {
        "archive": store.uri,
        "rows": about.rows,
        "without": about.without,
        "regions": about.regions,
        "version": about.version,
        "current": about.version == now,
        "encoder": about.encoder,
        "lists": about.lists,
        "settings": settings,
        "bytes": about.bytes,
        "peak_bytes": about.peak_bytes,
        "seconds": about.seconds,
    }
    if json:
        emit(document)
        return
    lines = [
        ("rows", f"{about.rows:,}, {about.regions:,} regions"),
        ("version", f"{about.version}" if about.version == now else f"{about.version}; the archive is at {now}: stale"),
        ("recall of 10", f"{settings['none']['recall']:.3f}, by region {settings['region']['recall']:.3f}"),
        ("on disk", f"{about.bytes / 1e9:.3f} GB"),
        ("building took", f"{about.seconds:.0f} s, {about.peak_bytes / 1e9:.1f} GB of memory"),
    ]
    table(["", ""], lines, title=f"index of {store.uri}: {what}")
