"""``solquery directions``: show them; ``fit`` writes a model that has them, ``labels`` makes one from labels."""

from __future__ import annotations

import enum
import json as json_
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zipfile import BadZipFile

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .options import Json, ModelName, Seed
from .output import Reporter, emit, note, readable, table, write_file
from .steering import direction_rows

if TYPE_CHECKING:
    from ..archive import Archive
    from ..model import Model
    from ..steering.directions import Directions

__all__ = ["register"]

#: patches inverted together, and kept before the next
_BATCH = 32


class Latent(enum.StrEnum):
    """Ways from a patch to a latent vector, as in solquery.steering.class_direction, which takes long to load."""

    measured = "measured"
    guess = "guess"
    picture = "picture"
    physics = "physics"
    closest = "closest"


Samples = Annotated[int, typer.Option("-n", min=100, help="Latents to sample and measure.")]


def register(app: typer.Typer) -> None:
    """Add the group; without a verb it fits and shows, as it always did."""
    group = typer.Typer(help="Directions in latent space along which parameters change.")
    group.callback(invoke_without_command=True)(directions)
    group.command("fit")(fit)
    group.command("labels")(labels)
    app.add_typer(group, name="directions")


def directions(
    ctx: typer.Context,
    model: ModelName = None,
    n: Samples = 10_000,
    seed: Seed = 0,
    save: Annotated[bool, typer.Option("--save", help="Write them into the model's folder.")] = False,
    json: Json = False,
) -> None:
    """Fit the direction of every parameter in latent space: accuracies, and cosines between every two."""
    if ctx.invoked_subcommand is not None:
        return
    if save and (model is None or not Path(model).is_dir()):
        raise typer.BadParameter("--save needs --model FOLDER; a shipped model is not changed")
    _fitted(model, None, n, seed, Path(model) if save and model else None, json)


def fit(
    model: Annotated[str, typer.Argument(help="Name or folder of the model.")],
    parameters: Annotated[
        list[str] | None, typer.Option("--parameters", help="Also these, comma-separated; all that are registered.")
    ] = None,
    n: Samples = 10_000,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the model with its directions.")] = None,
    json: Json = False,
) -> None:
    """Fit directions by SVM, with ridge regression beside them, and write a model that has them."""
    from ..physics import get_parameter

    asked = [name.strip() for text in parameters or [] for name in text.split(",") if name.strip()]
    for name in asked:
        get_parameter(name)
    _fitted(model, asked or None, n, seed, out, json)


def _fitted(model: str | None, asked: list[str] | None, n: int, seed: int, out: Path | None, json: bool) -> None:
    from ..model import Model
    from ..steering.direction_study import STUDY_KEY, study_directions
    from ..steering.directions import fit_directions
    from ..steering.drawing import measured_draws

    models = Model.load(model)
    names = None
    if asked:
        # what the model can steer by, it goes on steering by
        before = models.directions.names if models.directions is not None else ()
        names = list(dict.fromkeys([*before, *asked]))
    began = time.monotonic()
    with Reporter("fitting directions") as report:
        report(f"{n:,} patches of model {models.name!r}")
        sampled = measured_draws(models, n, seed, names)
        fitted = fit_directions(sampled, names, seed=seed)
        study = study_directions(sampled, fitted, seed=seed)
    models.directions = fitted
    shown = models.directions
    assert shown is not None
    if out is not None:
        models.metadata[STUDY_KEY] = study
        models.metadata["metrics"]["direction_accuracy"] = {
            name: float(a) for name, a in zip(fitted.names, fitted.accuracies, strict=True)
        }
        models.save(out, encoder_from=encoder_home(out))
    document = {
        "model": models.name,
        "directions": direction_rows(shown),
        "study": study,
        "cosines": _cosines(fitted),
        "n": n,
        "seed": seed,
        "saved": str(out) if out is not None else None,
        "seconds": time.monotonic() - began,
    }
    if json:
        emit(document)
        return
    _show(document, fitted)


def encoder_home(out: Path) -> str | None:
    """Name of the model that holds the encoder of the one in folder `out`, if that one shares it."""
    from ..model_files import manifest_of

    manifest = manifest_of(out)
    if not manifest.is_file():
        return None
    return (json_.loads(manifest.read_text()).get("encoder") or {}).get("from")


def _cosines(fitted: Directions) -> dict[str, dict[str, float]]:
    cosines = fitted.cosines()
    return {a: {b: float(cosines[i, j]) for j, b in enumerate(fitted.names)} for i, a in enumerate(fitted.names)}


def _show(document: Document, fitted: Directions) -> None:
    lines = []
    for name, row in document["directions"].items():
        svm, ridge = document["study"][name]["svm"], document["study"][name]["ridge"]
        areas = ("–" if method["auc"] is None else f"{method['auc']:.3f}" for method in (svm, ridge))
        lines.append(
            (
                name, f"{row['accuracy']:.3f}", f"{row['chance']:.3f}", f"{ridge['accuracy']:.3f}", *areas,
                f"{svm['intercept']:+.3f}", f"±{svm['within_prior'][1]:.1f}", readable(row["median"]),
                f"{row['dropped']:,}",
            )
        )  # fmt: skip
    heads = ["direction", "accuracy", "chance", "ridge", "AUC", "ridge AUC", "intercept", "within prior", "median"]
    heads.append("left out")
    table(heads, lines)
    typer.echo("")
    table(
        ["cosine", *fitted.names], [(a, *(f"{c:.2f}" for c in row.values())) for a, row in document["cosines"].items()]
    )


def labels(
    table_: Annotated[Path, typer.Option("--labels", help="Table (CSV) of patch ids, each with 0 or 1.")],
    archive: Annotated[str, typer.Option(help="Archive that holds the patches.")],
    model: ModelName = None,
    by: Annotated[
        Latent | None,
        typer.Option(
            help="Latent vector of a patch: guess of the inference network, measured: the guess moved to what is "
            "measured, picture or physics of a reconstruction, closest in squared error [measured; with a model that "
            "has no inference network the picture]."
        ),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, max=256, help="Starts of each inversion; a guess has none.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each inversion; a guess takes none.")] = 40,
    latents: Annotated[
        Path | None,
        typer.Option(help="File (.npz) that keeps inversions: other labels of the same patches take seconds."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation, whole regions each.")] = 5,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="File for the direction.")] = Path("class-direction.json"),
    json: Json = False,
) -> None:
    """Make a direction from labels of observed patches, with its cross-validated skill by region."""
    import numpy as np

    from ..archive.labels import read_labels
    from ..archive.store import Archive
    from ..model import Model
    from ..steering.class_direction import fit_class_direction, latent_way, refuse_one_sided

    given = read_labels(table_)
    models, store = Model.load(model), Archive.open(archive)
    there = set(store.ids())
    absent = [name for name in given if name not in there]
    if absent:
        note(f"solquery: {len(absent)} labelled ids are not in {store.uri}, the first: {absent[0]}")
    ids = [name for name in given if name in there]
    lacking = set(store.without_scale(models.preset)) & set(ids)
    if lacking:
        note(f"solquery: {len(lacking)} labelled patches have no scale and are left out, the first: {min(lacking)}")
        ids = [name for name in ids if name not in lacking]
    if not ids:
        raise SolqueryError(f"none of the ids of {table_} is in {store.uri}; ids are those of `solquery info`")
    began = time.monotonic()
    regions = dict(
        zip(*(store.table(columns=["id", "region"])[key].to_pylist() for key in ("id", "region")), strict=True)
    )
    of = [regions[name] for name in ids]
    refuse_one_sided([given[name] for name in ids], of)
    # what the latents depend on: other settings make others
    by = Latent(latent_way(models, by))
    settings = f"{models.hash} {store.uri} {by} {starts} {steps} {seed}"
    known = _kept(latents, settings) if latents is not None else {}
    missing = [name for name in ids if name not in known]
    for first in range(0, len(missing), _BATCH):
        batch = missing[first : first + _BATCH]
        known |= _inverted(store, models, batch, by, starts, steps, seed, (first, len(missing)))
        if latents is not None:
            _keep(latents, settings, known)
    z = np.stack([known[name] for name in ids])
    along = models.directions.normals if models.directions is not None else None
    found = fit_class_direction(z, [given[name] for name in ids], of, folds, seed, along)
    found.save(out, models)
    document = {"file": str(out), "model": models.name, "absent": len(absent), "inverted": len(missing),
                **found.summary(), "seconds": time.monotonic() - began}  # fmt: skip
    if json:
        emit(document)
        return
    typer.echo(f"{out}: {found.verdict}")


def _inverted(
    store: Archive,
    models: Model,
    ids: list[str],
    by: Latent | None,
    starts: int,
    steps: int,
    seed: int,
    done: tuple[int, int],
) -> Document:
    """Id to latent (D,) of patches of an archive; `done` so many of how many before these."""
    import numpy as np

    from ..steering.class_direction import class_latents
    from ..steering.inputs import patch_on_grid

    with Reporter("inverting") as report:
        report.count(*done)
        grids = np.stack([patch_on_grid(patch, models) for patch in store.patches(ids=ids)])
        return dict(zip(ids, class_latents(models, grids, by, starts, steps, seed), strict=True))


def _kept(path: Path, settings: str) -> Document:
    """Id to latent of earlier inversions; nothing where there is no file."""
    import numpy as np

    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["settings"]) == settings:
                return dict(zip(file["ids"].tolist(), file["z"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise SolqueryError(
            f"{path} holds no latents of inversions ({error}); name another file, or delete it"
        ) from None
    raise SolqueryError(
        f"{path} was made with another model, archive, --by, --starts, --steps or --seed; name another file, or delete "
        "it"
    )


def _keep(path: Path, settings: str, known: Document) -> None:
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, settings=np.array(settings), ids=np.array(list(known)), z=np.stack(list(known.values())))
    write_file(path, buffer.getvalue())
