"""The verb `search`: from an observation, a latent vector or a description to the patches of an archive."""

from __future__ import annotations

import enum
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .answers import answer_of, save_answers, sheet, tell_answers
from .archive import on_workers
from .inputs import Query, asked_of, read_query
from .options import Dask, Describe, EncoderName, Json, ModelName, Scale, Seed, Settings, Where, Workers
from .output import Reporter, emit, note, quantities
from .plugins import load_models, measured_in
from .steering import answer_record

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from ..search import Match, SearchSession

__all__ = ["By", "embed_missing", "register"]


class Group(enum.StrEnum):
    """What the matches of a search are grouped by."""

    region = "region"
    none = "none"


class By(enum.StrEnum):
    """What a search compares."""

    embedding = "embedding"
    ssl = "ssl"
    hybrid = "hybrid"
    physics = "physics"
    structure = "structure"
    euclidean = "euclidean"
    mahalanobis = "mahalanobis"


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(search)


def _asked_query(models: Model, session: SearchSession, asked: Document, seed: int) -> Query:
    from ..search.described import described
    from ..steering.inputs import grid_input

    with Reporter("generating"):
        answer = described(models, session, asked, 1, seed)[0]
    return Query(grid_input(answer, models), {"kind": "generated", **answer_record(answer, models)})


def search(
    archive: Annotated[str, typer.Option(help="Directory or URI of the archive.")],
    query: Annotated[
        str | None, typer.Argument(help="FITS file, .npy (latent or field), latent:TEXT, or id in the archive.")
    ] = None,
    model: ModelName = None,
    encoder: EncoderName = None,
    describe: Describe = None,
    settings: Settings = None,
    seed: Seed = 0,
    k: Annotated[int, typer.Option("-k", min=1, help="How many matches.")] = 10,
    where: Where = None,
    group: Annotated[Group, typer.Option(help="One match per region, or every patch for itself.")] = Group.region,
    by: Annotated[
        By,
        typer.Option(
            help="The embedding (ssl is the same), parameters (physics), both (hybrid), where which polarity lies "
            "(structure; for a line-of-sight query in a radial archive), or the paper's distances of (TUF, R, PSEP)."
        ),
    ] = By.embedding,
    weights: Annotated[
        list[str] | None, typer.Option(help='For hybrid and physics, e.g. "embedding=4,tuf=2,psep=1"; may be repeated.')
    ] = None,
    rerank: Annotated[
        int | None,
        typer.Option(
            "--rerank",
            "--verify",
            min=0,
            help="Compare the first matches again, pixel by pixel; those that align with the query come first. "
            "20 for an observation and --by embedding, 50 for --by structure, else 0.",
        ),
    ] = None,
    exclude_own: Annotated[bool, typer.Option("--exclude-own", help="Leave out the query's own region.")] = False,
    any_quality: Annotated[
        bool, typer.Option("--any-quality", help="Take a file as the query whose QUALITY marks it as bad.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for a picture of query and matches.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for a contact sheet, all numbers as CSV, and the matches as FITS.")
    ] = None,
    workers: Workers = None,
    dask: Dask = None,
    scale: Scale = None,
    json: Json = False,
) -> None:
    """Find the patches of an archive that look most like the query."""
    from ..archive.store import Archive

    if (query is None) == (describe is None and not settings):
        raise typer.BadParameter("give either a QUERY, or --describe or --set")
    store = Archive.open(archive)
    models = load_models(model, encoder)
    measured_in(store)
    if models.encoder is None:
        raise SolqueryError(f"model {models.name!r} has no encoder to search with; choose one that has")
    if not store.count(where):
        what = f"no patch of {archive} meets {where!r}" if where else f"the archive at {archive} is empty"
        raise SolqueryError(f"{what}; {'widen the condition' if where else 'add patches with `solquery ingest`'}")
    shares = _shares(by, weights or [])
    from ..search import SearchSession
    from ..search.query import NOISE_GAUSS

    session = SearchSession(store, models)
    if query is None:
        asked = asked_of(describe, settings or [], models)
        # which patch meets it and is like one of the archive
        embed_missing(session, workers, dask)
        found = _asked_query(models, session, asked, seed)
    else:
        found = read_query(query, store, models, any_quality, scale)
        session.query(found.given)
        embed_missing(session, workers, dask)
    measured = session.query(found.given).values
    began = time.monotonic()
    excluded = found.region if exclude_own else None
    matches = session.search(
        found.given, k, where, group.value, excluded, by=by.value, weights=shares, rerank=rerank
    )  # fmt: skip
    _tell_few(store, matches, k, where, group)
    _tell_limits(found.about, matches, by)
    _tell_order(matches, by)
    if matches.doubt:
        note(f"caution: {matches.doubt}")
    told = session.explain(found.given, matches, by=by.value, where=where, weights=shares, observed=found.native)
    physical = models.preset.physical
    document: Document = {
        "query": {**found.about, **_parameters(found, measured, models)},
        "matches": [answer_of(match, one, physical) for match, one in zip(matches, told, strict=True)],
        "close": matches.close,
        "by": by.value,
        "group": group.value,
        "rerank": session.rerank_depth(found.given, by.value) if rerank is None else rerank,
        "model": models.name,
        "noise_gauss": NOISE_GAUSS,
        "seconds": time.monotonic() - began,
    }
    if out is not None:
        document["picture"] = str(sheet(store, models, found.given.x, matches, out / "search.png"))
    if save is not None:
        document["saved"] = save_answers(save, store, models, found.given.x, matches, document)
    if json:
        emit(document)
        return
    tell_answers(document["query"], document["matches"])
    if save is not None:
        note(f"written: {save / 'contact.png'}, {save / 'matches.csv'} and {len(matches)} FITS files")


def _parameters(query: Query, on_grid: dict[str, float], model: Model) -> Document:
    """The query's numbers: as measured at native scale, or estimated from the grid, and the grid's beside them."""
    from ..steering.native_scale import native_quantities, native_scale_of

    told = native_quantities(model, on_grid)
    native = native_scale_of(model) is not None
    if query.native is None:
        return {"scale": "native" if native else "grid", "parameters": told}
    grid = quantities(on_grid, model.preset.physical)
    seen = quantities(query.native, physical=True)
    both = {name: {**seen[name], "grid": grid[name]} if name in seen else told[name] for name in on_grid}
    return {"scale": "native", "parameters": both}


def _tell_limits(about: Document, matches: list[Match], by: By) -> None:
    """What limits the query, and that radial and line-of-sight numbers stand beside each other, where they do."""
    for caveat in about.get("caveats", ()):
        note(f"caution: the query is {caveat['text']}" if caveat["name"] == "limb" else f"caution: {caveat['text']}")
    mine = about.get("quantity")
    other = [match for match in matches if mine and match.row.get("quantity") not in (None, "", mine)]
    if other:
        note(
            f"caution: the query is a {mine} field and {len(other)} of {len(matches)} matches are not: their "
            f"parameters are not comparable; --where \"quantity = '{mine}'\" leaves them out"
            + ("" if by is By.structure else ", --by structure compares the two kinds")
        )


def _tell_order(matches: list[Match], by: By) -> None:
    """By structure the nearest are compared again: in which order they then come, which is not that of distance."""
    values = [f"{match.correlation:.2f}" for match in matches if match.correlation is not None]
    if by is By.structure and values:
        note(f"in the order of the correlation with the query's layout, shifted: {', '.join(values)}")


def _tell_few(store: Archive, matches: list[Match], k: int, where: str | None, group: Group) -> None:
    """Why there are fewer answers than were asked for."""
    if len(matches) < k:
        there = store.count(where)
        what = f"{there:,} patches" + (f" meet {where!r}" if where else " are in the archive")
        each = ", one answer a region; --group none gives every patch" if group is Group.region else ""
        note(f"{k:,} were asked for, {len(matches):,} found: {what}{each}")


def _shares(by: By, texts: list[str]) -> dict[str, float] | None:
    """Weights of a hybrid search; those of a search by physics leave the embedding out."""
    from ..physics import parameters
    from ..search.hybrid import EMBEDDING, WEIGHTS, parse_weights

    if texts and by not in (By.hybrid, By.physics):
        raise typer.BadParameter(f"--weights go with --by hybrid or physics, not with {by.value}")
    given = parse_weights(texts, parameters())
    if by is By.physics:
        given = given or {name: weight for name, weight in WEIGHTS.items() if name != EMBEDDING}
        if given.get(EMBEDDING):
            raise typer.BadParameter("a search by physics uses no embedding; leave out its weight, or use --by hybrid")
    return given


def embed_missing(session: SearchSession, workers: int | None, scheduler: str | None) -> None:
    """Embed what has no embedding yet; those of another encoder are not replaced without being asked."""
    from ..encoder.embedding import embed_archive
    from ..search.provenance import other_encoder

    there = session.embedded()
    if not there.missing:
        return
    store, models, made = session.archive, session.model, there.encoders()
    if made and models.encoder_hash not in made:
        raise SolqueryError(f"{other_encoder(made, store, models)}, which replaces what is there")
    with Reporter("embedding the archive") as report, on_workers(workers, scheduler) as client:
        done = embed_archive(store, models, report.count, client=client)
    if done.skipped:
        note(f"{done.skipped:,} patches have no scale and are not searched")
    if done.embedded:
        note(f"embedded {done.embedded:,} patches in {done.seconds:.0f} s; they stay in the archive")
