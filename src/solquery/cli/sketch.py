"""The verb `sketch`: from blobs to a region that the generator draws, and to the observations most like it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from .answers import answer_of, sheet, tell_answers
from .options import Json, ModelName, Seed, Where
from .output import Reporter, emit, note, picture, quantities, readable, table, write_file, write_npy
from .plugins import load_models
from .search import By, embed_missing
from .steering import measured_on_grid

if TYPE_CHECKING:
    from ..model import Model
    from ..steering.inversion import Inversion
    from ..steering.sketch import Blob

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(sketch)


def sketch(
    file: Annotated[Path, typer.Argument(help="JSON: blobs, each with sign, flux (Mx), size, x and y (Mm).")],
    archive: Annotated[str | None, typer.Option(help="Archive to search; without it the region is only drawn.")] = None,
    model: ModelName = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many matches.")] = 10,
    where: Where = None,
    by: Annotated[By, typer.Option(help="What is compared, as for `search --by`.")] = By.hybrid,
    starts: Annotated[int, typer.Option(min=1, max=256, help="Starts of the inversion.")] = 4,
    steps: Annotated[int, typer.Option(min=2, help="Steps of the inversion.")] = 50,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for the sketch and the region: FITS, latent, pictures.")] = Path(
        "sketched"
    ),
    json: Json = False,
) -> None:
    """Turn a sketch of blobs into a region of the same fluxes and places, and search an archive with it."""
    import warnings

    from ..steering import SteeringWarning
    from ..steering.sketch import invert_sketch, read_sketch

    models = load_models(model)
    blobs = read_sketch(file)
    began = time.monotonic()
    with Reporter("inverting"), warnings.catch_warnings():
        # the verdict is told below
        warnings.filterwarnings("ignore", "the model cannot draw", SteeringWarning)
        found = invert_sketch(models, blobs, starts=starts, evaluations=steps, seed=seed)
    document = _kept(models, blobs, found, out) | {"model": models.name, "seed": seed}
    if archive is not None:
        document |= _matches(models, found, archive, k, where, by.value, out)
    document["seconds"] = time.monotonic() - began
    if json:
        emit(document)
        return
    sketched, drawn = document["sketch"]["parameters"], document["region"]["parameters"]
    rows = [(name, readable(entry), readable(drawn[name])) for name, entry in sketched.items()]
    table(["parameter", "sketch", "region"], rows, title=f"{document['picture']}, numbers of the model's grid")
    if found.verdict == "cannot draw":
        note(f"solquery: the model cannot draw this sketch: {found.reason}")
    if archive is not None:
        tell_answers({"kind": "sketch", "parameters": drawn}, document["matches"])


def _kept(models: Model, blobs: Sequence[Blob], found: Inversion, out: Path) -> Document:
    """Write sketch and region; what the document says of them."""
    import dataclasses

    from ..sharp.fits_writing import write_fits
    from ..steering.inputs import patch_on_grid
    from ..steering.sketch import sketch_patch

    drawing = sketch_patch(blobs, models.preset)
    out.mkdir(parents=True, exist_ok=True)
    files = {name: out / f"{name}.fits" for name in ("sketch", "region")}
    write_fits(dataclasses.replace(drawing, file="sketch.fits"), files["sketch"])
    write_fits(dataclasses.replace(found.to_patch(), file="region.fits"), files["region"])
    write_npy(out / "region.npy", found.z)
    x = patch_on_grid(drawing, models)
    shown = write_file(out / "sketch.png", picture([x, found.x], models.preset, ["sketch", "region (generated)"]))
    told = {
        name: quantities(measured_on_grid(models, image), models.preset.physical)
        for name, image in (("sketch", x), ("region", found.x))
    }
    about: dict[str, Document] = {name: {"file": str(files[name]), "parameters": told[name]} for name in files}
    about["region"] |= {
        "latent": str(out / "region.npy"), "verdict": found.verdict, "reason": found.reason, "z_norm": found.z_norm,
    }  # fmt: skip
    return {"query": {"kind": "sketch", "blobs": len(blobs)}, **about, "picture": str(shown)}


def _matches(models: Model, found: Inversion, archive: str, k: int, where: str | None, by: str, out: Path) -> Document:
    """Search an archive with the region."""
    from ..archive.store import Archive
    from ..search import SearchSession
    from ..search.query import NOISE_GAUSS

    store = Archive.open(archive)
    session = SearchSession(store, models)
    embed_missing(session, None, None)
    matches = session.search(found, k, where, by=by)
    told = session.explain(found, matches, by=by, where=where)
    rows = [answer_of(match, one, models.preset.physical) for match, one in zip(matches, told, strict=True)]
    shown = sheet(store, models, found.x, matches, out / "search.png")
    return {"archive": store.uri, "by": by, "matches": rows, "matches_picture": str(shown), "noise_gauss": NOISE_GAUSS}
