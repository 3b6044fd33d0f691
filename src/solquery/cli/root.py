"""The command line: `solquery VERB`. Results on stdout, progress and warnings on stderr, exit code 0, 1 or 2.

Every verb calls the public API; what takes long to import is imported by the verb that needs it.
"""

from __future__ import annotations

import atexit
import errno
import gc
import io
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..aliases import Document
from ..errors import SolqueryError
from ..lazy import spare
from . import output
from .inputs import fits_files, read_notes, read_patches, refusal
from .options import Dask, Files, Json, NewArchive, Reproject, Scale, Seed, Segment, Unit, Workers
from .output import Reporter, emit, note
from .plugins import hoisted, load_models, load_plugins

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..patch import Patch

    app: typer.Typer

__all__ = ["app", "main"]

_INGEST_BATCH = 32


def _warn(message: object, category: type[Warning], *_: object, **__: object) -> None:
    note(f"solquery: warning: {' '.join(str(message).split())}")


class _Group(TyperGroup):
    """Turns errors that the user can do something about into one line and exit code 1."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # --debug may stand anywhere, also behind the verb
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(a for a in args[:end] if a != "--debug"), *args[end:]]
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> object:
        try:
            with warnings.catch_warnings():
                # what the library wants the user to know, once per place, as a line and without its source
                warnings.simplefilter("default", UserWarning)
                warnings.showwarning = _warn
                return super().invoke(ctx)
        except (SolqueryError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if ctx.params.get("debug"):
                traceback.print_exc(file=sys.stderr)
            note(f"solquery: {_one_line(error)}")
        except RuntimeError as error:
            # Lance and PyTorch say so when a disk is full or a place may not be read
            if "os error" not in str(error).lower() and "lance" not in str(error).lower():
                raise
            if ctx.params.get("debug"):
                traceback.print_exc(file=sys.stderr)
            note(f"solquery: {_one_line(error)}")
        except KeyboardInterrupt:
            note("solquery: stopped")
        raise typer.Exit(1)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, SolqueryError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"solquery {__version__}")
        raise typer.Exit


def solquery(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin", help="Python file with parameters, generators or encoders of yours; before or behind the verb."
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Ask an archive of solar active regions by describing one: generate it, steer it, find the real ones."""
    load_plugins(plugin or ())


def demo(
    out: Annotated[Path, typer.Option(help="Folder for report.html, summary.json and the archive.")] = Path("demo"),
    queries: Annotated[int, typer.Option(min=1, help="Random queries in the study of retrieval.")] = 1000,
    preset: Annotated[
        str | None, typer.Option(help="Use the shipped model of this name: physical, quick, paper.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "--bundle", help="Name or folder of a model.")] = None,
    json: Json = False,
) -> None:
    """Run the whole chain once and write a report; with --preset paper, on the paper's own networks."""
    from ..study.demo import run_demo

    if preset is not None and model is not None:
        raise typer.BadParameter("--preset and --model exclude each other")
    models = load_models(preset or model)
    with Reporter("demo") as report:
        summary = run_demo(out, queries, report, models)
    if json:
        emit(summary)
    else:
        typer.echo(f"report:  {summary.get('report', out / 'report.html')}")
        typer.echo(f"summary: {out / 'summary.json'}")


def simulate(
    archive: NewArchive,
    regions: Annotated[int, typer.Option(min=1, help="How many regions.")] = 100,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each region.")] = 20,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Make only this many of these frames, at random; each is the same as if all were made.",
        ),
    ] = None,
    seed: Seed = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            help="radial (the default), line-of-sight, noise-free or noise-free-observed; several show one instant."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Add simulated active regions, as sequences of frames, to an archive; those that are there are not made again."""
    from ..archive.store import Archive
    from ..simulator import QUANTITIES, region_ids
    from ..simulator import simulate as simulated

    began = time.monotonic()
    if keep is not None and keep > frames:
        raise typer.BadParameter(f"--keep {keep} of {frames} frames: there are no more than --frames")
    wanted = tuple(dict.fromkeys(quantity or ["radial"]))
    for name in wanted:
        if name not in QUANTITIES:
            raise typer.BadParameter(f"--quantity {name}: choose from {', '.join(QUANTITIES)}")
    store = Archive.open_or_create(archive)
    there = frozenset(store.ids())
    made = [region_ids(seed, index, frames, keep, wanted) for index in range(regions)]
    skipped = sum(len(ids) for ids in made if there.issuperset(ids))
    total = regions * (keep or frames) * len(wanted) - skipped
    with Reporter("simulating") as report:
        patches = simulated(regions, frames, seed, workers, keep, wanted, there)
        added, duplicates = store.add(_counted(patches, total, report))
    _added(store, {"added": added, "duplicates": duplicates + skipped, "seconds": time.monotonic() - began}, json)


def _counted(patches: Iterator[Patch], total: int, report: Reporter) -> Iterator[Patch]:
    for done, patch in enumerate(patches, start=1):
        yield patch
        report.count(done, total)


def _added(store: Archive, what: Document, json: bool) -> None:
    document = {"archive": store.uri, **what, "patches": len(store)}
    if json:
        emit(document)
    else:
        refused = f", {len(what['refused'])} refused" if "refused" in what else ""
        typer.echo(
            f"{store.uri}: {what['added']} added, {what['duplicates']} there already{refused}; "
            f"{document['patches']} patches in all"
        )


def ingest(
    files: Files,
    archive: NewArchive,
    any_quality: Annotated[bool, typer.Option("--any-quality", help="Keep frames whose QUALITY is bad.")] = False,
    workers: Workers = None,
    dask: Dask = None,
    segment: Segment = None,
    unit: Unit = None,
    scale: Scale = None,
    reproject: Reproject = False,
    json: Json = False,
) -> None:
    """Add observations to an archive; files that cannot be read are named, and the others go in."""
    from ..archive.store import Archive
    from ..archive.writing import add_each

    began = time.monotonic()
    paths = fits_files(files)
    store = Archive.open(archive) if Archive.exists(archive) else None
    added = duplicates = 0
    refused: list[dict[str, str]] = []
    notes: Counter[str] = Counter()
    stated: Document = {"segment": segment, "unit": unit, "scale": scale, "reproject": reproject}
    if workers is not None or dask is not None:
        added, duplicates, refused = _ingest_on_workers(paths, archive, workers, dask, not any_quality, stated)
        store = Archive.open(archive) if Archive.exists(archive) else None
        paths_left: list[Path] = []
    else:
        paths_left = paths
    with Reporter("ingesting") as report:
        for done in range(0, len(paths_left), _INGEST_BATCH):
            patches, bad = read_patches(paths_left[done : done + _INGEST_BATCH], not any_quality, **stated)
            notes.update(read_notes(patches))
            refused += bad
            if patches:
                # no archive is made for files none of which can be read
                store = Archive.open_or_create(archive) if store is None else store
                new, kept_out = add_each(store.add, patches)
                added, duplicates = added + new.added, duplicates + new.duplicates
                refused += [refusal(patch.file or patch.id, error) for patch, error in kept_out]
            report.count(min(done + _INGEST_BATCH, len(paths)), len(paths))
    failed = bool(refused) and added + duplicates == 0
    what = {"added": added, "duplicates": duplicates, "refused": refused, "notes": dict(notes)}
    what["seconds"] = time.monotonic() - began
    for text, count in notes.items():
        note(f"{count:,} file{'s' if count > 1 else ''}: {text}")
    if store is not None:
        _added(store, what, json)
    elif json:
        emit({"archive": archive, **what, "patches": 0})
    if failed:
        raise SolqueryError(f"none of the {len(paths)} files could be ingested into {archive}; the reasons are above")


def _ingest_on_workers(
    paths: list[Path],
    archive: str,
    workers: int | None,
    scheduler: str | None,
    strict_quality: bool,
    stated: Document,
) -> tuple[int, int, list[dict[str, str]]]:
    """Added, there already, refused; read and measured by Dask's workers, a region at a time."""
    from ..archive.distribute import cluster, ingest_files

    if workers is not None and scheduler is not None:
        raise typer.BadParameter("--workers and --dask exclude each other: a scheduler has its own workers")
    with Reporter("ingesting") as report, cluster(workers, scheduler) as client:
        done = ingest_files(
            paths,
            archive,
            client,
            strict_quality,
            report.count,
            {
                **{k: v for k, v in stated.items() if k != "scale"},
                "scale_mm": stated["scale"],
            },
        )
    refused = [refusal(entry["file"], ValueError(entry["reason"])) for entry in done.refused]
    return done.added, done.duplicates, refused


#: module to the verbs that it registers, in the order of the help
_VERBS = {
    "info": "info",
    "params": "params",
    "quality": "quality entanglement leaks",
    "train": "train",
    "model": "model bundle",
    "directions": "directions",
    "labels": "labels",
    "steering": "generate edit",
    "invert": "invert",
    "search": "search",
    "sketch": "sketch",
    "translate": "translate",
    "farside": "farside",
    "index": "index",
    "fetch": "fetch",
    "archive": "archive",
    "serve": "app",
    "reproduce": "reproduce",
    "study": "study",
}
_MODULE_OF = {verb: module for module, verbs in _VERBS.items() for verb in verbs.split()}
#: verbs that end in seconds: most of what they allocate is the modules that they import
_SHORT = ("info", "params", "generate", "edit", "invert", "search")


def _made(modules: Iterable[str]) -> typer.Typer:
    """The application with the verbs of some modules, beside those of this one."""
    made = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    made.callback()(solquery)
    for verb in (demo, simulate, ingest):
        made.command()(verb)
    for module in modules:
        import_module(f".{module}", __package__).register(made)
    return made


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = _made(_VERBS)
    return globals()["app"]


def _verb(args: Sequence[str]) -> str | None:
    """The verb that arguments name, None where only the whole application can tell."""
    rest = iter(args)
    for arg in rest:
        if arg == "--plugin":
            next(rest, None)
        elif arg != "--debug" and not arg.startswith("--plugin="):
            return arg if arg in _MODULE_OF else None
    return None


def main() -> None:
    """Entry point of the `solquery` script."""
    for stream in (sys.stdout, sys.stderr):
        # what a terminal of another encoding has no sign for is shown as a question mark, and ends nothing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    output.alone = True
    # at the end everything goes: to look through the modules for what nobody uses takes as long as half of torch
    atexit.register(gc.freeze)
    verb = _verb(sys.argv[1:])
    if verb in _SHORT:
        # modules are no garbage: looking for it while they are loaded takes as long as a tenth of them
        gc.set_threshold(100_000, 20, 100)
        # pyarrow loads it, where it is installed, to recognise its tables; whatever needs it still gets it
        spare("pandas")
    # the options of a verb take longer to declare than to read: those of the others wait until they are asked for
    (_made(_VERBS) if verb is None else _made([_MODULE_OF[verb]]))()
