"""Verbs that steer a generator: `generate`, `edit`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Array, Document, Row
from .inputs import asked_of, read_npy, read_query
from .options import Describe, Grid, Hold, Json, ModelName, Seed, Settings
from .output import (
    Reporter,
    emit,
    note,
    picture,
    quantity,
    readable,
    table,
    tell_band,
    write_file,
    write_json,
    write_npy,
)
from .plugins import load_models

if TYPE_CHECKING:
    import numpy as np

    from ..model import Model
    from ..steering.directions import Directions
    from ..steering.targeting import Answer

__all__ = ["answer_record", "direction_rows", "measured_on_grid", "model_info", "register"]


#: patches that are measured without the compiled kernels
_SPARED = 48


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (generate, edit):
        app.command()(verb)


def measured_on_grid(model: Model, x: Array) -> dict[str, float]:
    """Every parameter of one patch (H, W) in preset units, on the grid."""
    import numpy as np

    from ..physics import measure_on_grid

    return {name: float(value[0]) for name, value in measure_on_grid(np.asarray(x), model.preset).items()}


def model_info(where: str) -> Document:
    """What a model holds."""
    from ..model import Model

    model = Model.load(where)
    document: Document = {"name": model.name, "hash": model.hash, "preset": dataclasses.asdict(model.preset)}
    for kind in ("generator", "encoder"):
        network = getattr(model, kind)
        if network is not None:
            document[kind] = {"parameters": sum(p.numel() for p in network.parameters())}
    if model.encoder is not None:
        document["encoder"]["hash"] = model.encoder_hash
    fitted = model.directions
    return document | {"directions": None if fitted is None else direction_rows(fitted), **model.metadata}


def direction_rows(fitted: Directions) -> dict[str, Row]:
    return {
        name: {
            "accuracy": float(fitted.accuracies[k]),
            "chance": float(fitted.chances[k]),
            "median": quantity(fitted.medians[k], fitted.unit(name)),
            "dropped": int(fitted.dropped[k]),
        }
        for k, name in enumerate(fitted.names)
    }


def answer_record(answer: Answer, model: Model) -> Document:
    """One answer as the JSON document has it: at native scale with bands, the grid's values beside them."""
    from ..steering.native_scale import native_quantities, native_scale_of
    from ..steering.vocabulary import quantities

    physical = model.preset.physical
    asked = quantities(answer.requested, physical)
    for name, entry in asked.items():
        entry |= {"relation": answer.targets[name].relation, "word": answer.targets[name].word}
    measured = native_quantities(model, answer.grid)
    record: Document = {
        "scale": "grid" if native_scale_of(model) is None else "native",
        "requested": asked,
        "measured": measured,
        "verdict": answer.verdict,
        "z_norm": answer.z_norm,
        "prior_percentile": answer.prior_percentile,
    }
    if any("low" in entry for entry in measured.values()):
        # as it was called before
        record["native"] = {name: entry for name, entry in measured.items() if "low" in entry}
    if answer.label is not None:
        record["label"] = answer.label
    return record | ({"held": quantities(answer.held, physical)} if answer.held else {})


def generate(
    model: ModelName = None,
    describe: Describe = None,
    settings: Settings = None,
    hold: Hold = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many different patches.")] = 1,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Give the nearest instead of an error where a value is out of reach.")
    ] = False,
    hale: Annotated[str | None, typer.Option(help="normal or anti: which polarity leads, by Hale's law.")] = None,
    joy: Annotated[str | None, typer.Option(help="normal or anti: the sense of the tilt, by Joy's law.")] = None,
    complexity: Annotated[str | None, typer.Option(help="low or high: flux near inversion lines.")] = None,
    hemisphere: Annotated[str, typer.Option(help="north or south, for --hale and --joy.")] = "north",
    cycle: Annotated[int, typer.Option(min=1, help="Number of the activity cycle, for --hale.")] = 24,
    class_direction: Annotated[
        Path | None, typer.Option(help="More of a class: a file of `solquery directions labels`.")
    ] = None,
    seed: Seed = 0,
    grid: Grid = False,
    out: Annotated[Path, typer.Option(help="Folder for FITS, latent (.npy) and PNG of each.")] = Path("generated"),
    json: Json = False,
) -> None:
    """Generate patches with the properties asked for."""

    from ..physics import fast
    from ..sharp.fits_writing import write_fits
    from ..steering.targeting import generate as generated
    from . import output

    if output.alone:
        # as many as are measured while the kernels would be loaded
        fast.spare(_SPARED)
    models = load_models(model)
    named = hale or joy or complexity
    if class_direction is not None and (named or describe or settings or hold):
        raise typer.BadParameter("--class-direction excludes --set, --describe, --hold, --hale, --joy and --complexity")
    asked: Document = {}
    if named:
        from ..steering.rogue import named_targets

        asked |= named_targets(models, hale, joy, complexity, hemisphere, cycle)
    if describe or settings or (not named and class_direction is None):
        asked |= asked_of(describe, settings or [], models)
    began = time.monotonic()
    with Reporter("generating"):
        if class_direction is not None:
            from ..steering.class_direction import ClassDirection, class_examples

            answers = class_examples(models, ClassDirection.load(class_direction, models), n, seed)
        else:
            answers = generated(models, asked, n, tuple(hold or ()), seed, nearest=nearest)
    seconds = time.monotonic() - began
    records: list[Document] = []
    out.mkdir(parents=True, exist_ok=True)
    for k, answer in enumerate(answers):
        name = f"{models.name}-seed{seed}-{k:02d}"
        patch = dataclasses.replace(answer.to_patch(f"gen-{name}", f"GEN {name}"), file=f"{name}.fits")
        write_fits(patch, out / f"{name}.fits")
        write_npy(out / f"{name}.npy", answer.z)
        write_file(out / f"{name}.png", picture([answer.x], models.preset, [f"{patch.id}: {answer.verdict}"]))
        files = {key: str(out / f"{name}.{end}") for key, end in (("file", "fits"), ("picture", "png"))}
        records.append(answer_record(answer, models) | {"id": patch.id} | files | {"latent": str(out / f"{name}.npy")})
    if class_direction is not None:
        rows = [f"{r['id']},{r['label']},generated,{Path(r['file']).name}" for r in records]
        write_file(out / "labels.csv", "\n".join(["id,label,source,file", *rows, ""]).encode())
    elif not any(answer.verdict == "met" for answer in answers):
        _say_nearest(records[0])
    if json:
        emit({"answers": records, "model": models.name, "seed": seed, "seconds": seconds})
        return
    for record in records:
        _tell(record, models, grid)


def _tell(record: Document, models: Model, grid: bool) -> None:
    """The table of one answer."""
    asked, got, banded = record["requested"], record["measured"], "native" in record
    rows = []
    for name in dict.fromkeys([*asked, *got]):
        entry = got.get(name)
        row = [name, readable(asked.get(name)), readable(entry)]
        row += [tell_band(entry)] if banded else []
        rows.append(row + ([readable((entry or {}).get("grid"))] if grid else []))
    heads = ["parameter", "requested", "measured", *["two thirds within"] * banded, *["on the grid"] * grid]
    table(heads, rows, title=f"{record['file']}: {record['verdict']}, {_scale(record['scale'], models)}")


def _scale(kind: str, model: Model) -> str:
    """At which scale the numbers of an answer are."""
    if kind == "native":
        return "numbers at HMI's scale, estimated from the model's grid"
    return "numbers of the model's grid" + (", which is not calibrated" if model.preset.physical else "")


def _say_nearest(record: Document) -> None:
    """Tell on stderr that what was asked is not met, with asked and got side by side."""
    pairs = [
        f"{name} {readable(entry)} gives {readable(record['measured'].get(name))}"
        for name, entry in record["requested"].items()
    ]
    note(f"solquery: no patch has all that was asked; the nearest: {', '.join(pairs)}")


def _both(entry: Document, grid: bool) -> str:
    """A cell: the value, and that on the grid where it is wanted and another."""
    return f"{readable(entry)} (grid {readable(entry['grid'])})" if grid and "grid" in entry else readable(entry)


def _start(
    models: Model, start: Path | None, describe: str | None, settings: list[str], seed: int, detail: bool
) -> tuple[Model, np.ndarray]:
    """Latent (D,) of the patch to edit: of a file, of what is asked for, or of a random draw.

    And the model to edit it with: with `detail`, one that carries the detail of the file's patch.
    """
    dim = int(models.generator.latent_dim)
    if start is not None and (describe or settings):
        raise typer.BadParameter("--from excludes --describe and --set")
    if detail and (start is None or start.suffix == ".npy"):
        raise typer.BadParameter("--detail is that of an observation; name its FITS file with --from")
    if describe or settings:
        from ..steering.targeting import generate as generated

        return models, generated(models, asked_of(describe, settings, models), 1, (), seed)[0].z
    if start is None:
        from ..steering.drawing import draw_patches

        return models, draw_patches(models, 1, seed)[0][0]
    if start.suffix == ".npy":
        array = read_npy(start)
        if array.ndim == 1:
            from ..steering.latents import as_latents

            return models, as_latents(array, dim)[0]
    from ..steering.carried import with_layerwise
    from ..steering.reconstruction import reconstruct

    with Reporter("inverting"):
        found = reconstruct(models, read_query(str(start), None, models).given.x, seed=seed, layerwise=detail)
    return with_layerwise(models, found[0]) if detail else models, found[0].z


def edit(
    param: Annotated[str, typer.Option(help="Parameter to change.")],
    model: ModelName = None,
    hold: Hold = None,
    steps: Annotated[int, typer.Option(min=2, max=49, help="Patches in the strip.")] = 7,
    range_: Annotated[
        float | None,
        typer.Option(
            "--range", min=0.01, help="From minus to plus this many sigma (default 3) or spreads (default 1.5)."
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Solve for each frame, so that held parameters keep their measured values.")
    ] = False,
    seed: Seed = 0,
    describe: Describe = None,
    settings: Settings = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="FITS to edit (inverted first), or a latent .npy.")
    ] = None,
    detail: Annotated[bool, typer.Option("--detail", help="Keep more of the FITS file's patch (see invert).")] = False,
    grid: Grid = False,
    out: Annotated[Path, typer.Option(help="Folder for the strip as PNG, JSON and latents.")] = Path("edited"),
    json: Json = False,
) -> None:
    """Change one property of a patch step by step, holding others."""

    import numpy as np

    from ..steering.editing import directions_of, latent_traversal
    from ..steering.exact_traversal import exact_traversal
    from ..steering.native_scale import native_quantities

    models = load_models(model)
    fitted = directions_of(models)
    held = tuple(hold or ())
    fitted.normal(param, held)  # names and conflicts before any work
    models, z = _start(models, start, describe, settings or [], seed, detail)
    began = time.monotonic()
    reach = range_ or (1.5 if exact else 3.0)
    made = (exact_traversal if exact else latent_traversal)(models, z, param, held, np.linspace(-reach, reach, steps))
    name = "-".join([f"edit-{param}", *(f"hold-{h}" for h in held), *(["exact"] if exact else [])])
    shown = [param, *held]
    titles = []
    frames: list[Document] = []
    for k, eps in enumerate(made.eps):
        values = native_quantities(models, {key: float(column[k]) for key, column in made.grid.items()})
        frames.append({"eps": float(eps), "parameters": values, "z_norm": float(np.linalg.norm(made.z[k]))})
        if made.requested is not None:
            frames[-1]["requested"] = {param: quantity(made.requested[k], fitted.unit(param))}
        step = f"{eps:+.2g} {'spreads' if exact else 'σ'}"
        titles.append("\n".join([step, *(f"{key} {readable(values[key])}" for key in shown)]))
    document: Document = {
        "param": param,
        "hold": held,
        "entangled": fitted.entangled(param, held) if held else [],
        "exact": exact,
        "model": models.name,
        "seed": seed,
        "frames": frames,
        "picture": str(out / f"{name}.png"),
        "file": str(out / f"{name}.json"),
        "latents": str(out / f"{name}.npy"),
        "seconds": time.monotonic() - began,
    }
    heading = f"{param} changed" + (f", {', '.join(held)} held" if held else "") + " (generated)"
    write_file(out / f"{name}.png", picture(list(made.x[:, 0]), models.preset, titles, heading))
    write_npy(out / f"{name}.npy", made.z)
    write_json(out / f"{name}.json", document)
    if json:
        emit(document)
        return
    names = [*shown, *(key for key in made.values if key not in shown)]
    table(["step", *names], [(f"{f['eps']:+.2f}", *(_both(f["parameters"][k], grid) for k in names)) for f in frames])
    typer.echo(document["picture"])
