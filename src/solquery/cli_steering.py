"""Verbs that steer a generator: `generate`, `edit`, `invert`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_input import asked_of, fits_files, read_npy, read_patches, read_query
from .cli_native import native_record
from .cli_output import (
    Reporter,
    emit,
    note,
    picture,
    quantities,
    quantity,
    readable,
    table,
    write_file,
    write_json,
)
from .cli_plugins import load_models
from .errors import SolqueryError

if TYPE_CHECKING:
    import numpy as np

    from .bundle import Bundle
    from .steering.directions import Directions
    from .steering.targeting import Answer

__all__ = ["answer_record", "bundle_info", "direction_rows", "measured_on_grid", "register"]


BundleName = Annotated[str | None, typer.Option("--bundle", help="Name or folder; the shipped default without it.")]
Describe = Annotated[str | None, typer.Option(help='In words, e.g. "strong, compact bipole, leading negative".')]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="name=value[unit] (or <=, >=) on the grid; may be repeated.")
]
Hold = Annotated[list[str] | None, typer.Option(help="Parameter to hold; may be repeated.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


#: patches inverted together
_LOT = 32


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (generate, edit, invert):
        app.command()(verb)


def measured_on_grid(bundle: Bundle, x: Any) -> dict[str, float]:
    """Every parameter of one patch (H, W) in preset units, on the grid."""
    import numpy as np

    from .physics import measure

    return {
        name: float(value[0])
        for name, value in measure(bundle.preset.to_gauss(np.asarray(x)), bundle.preset.scale_mm).items()
    }


def bundle_info(where: str) -> dict[str, Any]:
    """What a bundle holds."""
    from .bundle import Bundle

    bundle = Bundle.load(where)
    document: dict[str, Any] = {"name": bundle.name, "hash": bundle.hash, "preset": dataclasses.asdict(bundle.preset)}
    for kind in ("generator", "encoder"):
        network = getattr(bundle, kind)
        if network is not None:
            document[kind] = {"parameters": sum(p.numel() for p in network.parameters())}
    if bundle.encoder is not None:
        document["encoder"]["hash"] = bundle.encoder_hash
    fitted = bundle.directions
    return document | {"directions": None if fitted is None else direction_rows(fitted), **bundle.metadata}


def direction_rows(fitted: Directions) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "accuracy": float(fitted.accuracies[k]),
            "chance": float(fitted.chances[k]),
            "median": quantity(fitted.medians[k], fitted.unit(name)),
            "dropped": int(fitted.dropped[k]),
        }
        for k, name in enumerate(fitted.names)
    }


def answer_record(answer: Answer, physical: bool = False) -> dict[str, Any]:
    asked = quantities(answer.asked, physical)
    for name, entry in asked.items():
        entry |= {"relation": answer.targets[name].relation, "word": answer.targets[name].word}
    record = {
        "asked": asked,
        "got": quantities(answer.got, physical),
        "verdict": answer.verdict,
        "z_norm": answer.z_norm,
        "prior_percentile": answer.prior_percentile,
    }
    return record | ({"held": quantities(answer.held, physical)} if answer.held else {})


def generate(
    bundle: BundleName = None,
    describe: Describe = None,
    settings: Settings = None,
    hold: Hold = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many different patches.")] = 1,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Out of reach: give what comes nearest instead of an error.")
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
    out: Annotated[Path, typer.Option(help="Folder for FITS, latent (.npy) and PNG of each.")] = Path("generated"),
    json: Json = False,
) -> None:
    """Generate patches with the properties asked for."""
    import io

    import numpy as np

    from .archive.fits import write_fits
    from .patch import Patch
    from .steering.targeting import generate as generated

    models = load_models(bundle)
    named = hale or joy or complexity
    if class_direction is not None and (named or describe or settings or hold):
        raise typer.BadParameter("--class-direction excludes --set, --describe, --hold, --hale, --joy and --complexity")
    asked: dict[str, Any] = {}
    if named:
        from .steering.rogue import named_targets

        asked |= named_targets(models, hale, joy, complexity, hemisphere, cycle)
    if describe or settings or (not named and class_direction is None):
        asked |= asked_of(describe, settings or [], models)
    began = time.monotonic()
    with Reporter("generating"):
        if class_direction is not None:
            from .steering.class_direction import ClassDirection, class_examples

            answers = class_examples(models, ClassDirection.load(class_direction, models), n, seed)
        else:
            answers = generated(models, asked, n, tuple(hold or ()), seed, nearest=nearest)
    seconds = time.monotonic() - began
    records: list[dict[str, Any]] = []
    out.mkdir(parents=True, exist_ok=True)
    for k, answer in enumerate(answers):
        name = f"{models.name}-seed{seed}-{k:02d}"
        field = np.asarray(models.preset.to_gauss(answer.x), dtype=np.float32)
        patch = Patch(field, models.preset.scale_mm, f"gen-{name}", f"GEN {name}", "generated", file=f"{name}.fits")
        write_fits(patch, out / f"{name}.fits")
        latent = io.BytesIO()
        np.save(latent, answer.z)
        write_file(out / f"{name}.npy", latent.getvalue())
        write_file(out / f"{name}.png", picture([answer.x], models.preset, [f"{patch.id}: {answer.verdict}"]))
        files = {key: str(out / f"{name}.{end}") for key, end in (("file", "fits"), ("picture", "png"))}
        records.append(
            answer_record(answer, models.preset.physical)
            | {"id": patch.id}
            | files
            | {"latent": str(out / f"{name}.npy")}
            | ({"native": worth} if (worth := native_record(models, answer.got)) else {})
        )
    if not any(answer.verdict == "met" for answer in answers):
        _say_nearest(records[0])
    if json:
        emit({"answers": records, "bundle": models.name, "seed": seed, "seconds": seconds})
        return
    for record in records:
        names = [*record["asked"], *(name for name in record["got"] if name not in record["asked"])]
        native = record.get("native", {})
        lines: list[tuple[str, ...]] = [
            (name, readable(record["asked"].get(name)), readable(record["got"].get(name)), _band(native.get(name)))
            for name in names
        ]
        heads = ["parameter", "asked", "got", "at HMI's pixels"]
        if not native:
            heads, lines = heads[:3], [line[:3] for line in lines]
        table(heads, lines, title=f"{record['file']}: {record['verdict']}")


def _band(entry: dict[str, Any] | None) -> str:
    """An estimate with the band that two thirds of an archive lie in."""
    return "" if entry is None else f"{readable(entry)} ({entry['low']:.3g} to {entry['high']:.3g})"


def _say_nearest(record: dict[str, Any]) -> None:
    """Tell on stderr that what was asked is not met, with asked and got side by side."""
    pairs = [
        f"{name} {readable(entry)} gives {readable(record['got'].get(name))}" for name, entry in record["asked"].items()
    ]
    note(f"solquery: no patch has all that was asked; the nearest: {', '.join(pairs)}")


def _start(models: Bundle, start: Path | None, describe: str | None, settings: list[str], seed: int) -> np.ndarray:
    """Latent (D,) of the patch to edit: of a file, of what is asked for, or drawn from the prior."""
    import torch

    dim = int(models.generator.latent_dim)
    if start is not None and (describe or settings):
        raise typer.BadParameter("--from excludes --describe and --set")
    if describe or settings:
        from .steering.targeting import generate as generated

        return generated(models, asked_of(describe, settings, models), 1, (), seed)[0].z
    if start is None:
        return torch.randn(dim, generator=torch.Generator().manual_seed(seed)).numpy()
    if start.suffix == ".npy":
        array = read_npy(start)
        if array.ndim == 1:
            from .steering.latents import as_latents

            return as_latents(array, dim)[0]
    from .steering.inversion import invert as inverted

    with Reporter("inverting"):
        return inverted(models, read_query(str(start), None, models).x, seed=seed)[0].z


def edit(
    param: Annotated[str, typer.Option(help="Parameter to change.")],
    bundle: BundleName = None,
    hold: Hold = None,
    steps: Annotated[int, typer.Option(min=2, max=49, help="Patches in the strip.")] = 7,
    range_: Annotated[
        float | None,
        typer.Option("--range", min=0.01, help="From minus to plus so many sigma (3), or spreads (1.5)."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Solve for each frame, so that what is held stays put as measured.")
    ] = False,
    seed: Seed = 0,
    describe: Describe = None,
    settings: Settings = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="FITS to edit (inverted first), or a latent .npy.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the strip as PNG, JSON and latents.")] = Path("edited"),
    json: Json = False,
) -> None:
    """Change one property of a patch step by step, holding others."""
    import io

    import numpy as np

    from .steering.editing import directions_of, strip
    from .steering.following import follow

    models = load_models(bundle)
    fitted = directions_of(models)
    held = tuple(hold or ())
    fitted.normal(param, held)  # names and conflicts before any work
    z = _start(models, start, describe, settings or [], seed)
    began = time.monotonic()
    reach = range_ or (1.5 if exact else 3.0)
    made = (follow if exact else strip)(models, z, param, held, np.linspace(-reach, reach, steps))
    name = "-".join([f"edit-{param}", *(f"hold-{h}" for h in held), *(["exact"] if exact else [])])
    latents = io.BytesIO()
    np.save(latents, made.z)
    shown = [param, *held]
    titles = []
    frames: list[dict[str, Any]] = []
    for k, eps in enumerate(made.eps):
        values = quantities({key: column[k] for key, column in made.values.items()}, fitted.physical)
        frames.append({"eps": float(eps), "parameters": values, "z_norm": float(np.linalg.norm(made.z[k]))})
        if made.asked is not None:
            frames[-1]["asked"] = {param: quantity(made.asked[k], fitted.unit(param))}
        step = f"{eps:+.2g} {'spreads' if exact else 'σ'}"
        titles.append("\n".join([step, *(f"{key} {readable(values[key])}" for key in shown)]))
    document: dict[str, Any] = {
        "param": param,
        "hold": held,
        "entangled": fitted.entangled(param, held) if held else [],
        "exact": exact,
        "bundle": models.name,
        "seed": seed,
        "frames": frames,
        "picture": str(out / f"{name}.png"),
        "file": str(out / f"{name}.json"),
        "latents": str(out / f"{name}.npy"),
        "seconds": time.monotonic() - began,
    }
    heading = f"{param} changed" + (f", {', '.join(held)} held" if held else "") + " (generated)"
    write_file(out / f"{name}.png", picture(list(made.x[:, 0]), models.preset, titles, heading))
    write_file(out / f"{name}.npy", latents.getvalue())
    write_json(out / f"{name}.json", document)
    if json:
        emit(document)
        return
    names = [*shown, *(key for key in made.values if key not in shown)]
    table(["step", *names], [(f"{f['eps']:+.2f}", *(readable(f["parameters"][k]) for k in names)) for f in frames])
    typer.echo(document["picture"])


def invert(
    files: Annotated[list[Path], typer.Argument(help="SHARP FITS files, or directories of them.")],
    bundle: BundleName = None,
    starts: Annotated[int, typer.Option(min=1, max=256, help="Starts per patch; the best one counts.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 200,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for pictures, latents and invert.json.")] = Path("inverted"),
    json: Json = False,
) -> None:
    """Find the latent vectors whose patches come closest to observations."""
    import io

    import numpy as np

    from .archive.prepare import prepare
    from .steering.inversion import invert as inverted

    models = load_models(bundle)
    patches, refused = read_patches(fits_files(files), strict_quality=False)
    if not patches:
        raise SolqueryError(f"none of the {len(refused)} files could be read; the reasons are above")
    began = time.monotonic()
    records: list[dict[str, Any]] = []
    with Reporter("inverting") as report:
        grids = [prepare(patch, models.preset) for patch in patches]
        answers: list[Any] = []
        # many at a time, and none waits for all
        for first in range(0, len(grids), _LOT):
            report.count(first, len(grids))
            answers += inverted(models, np.stack(grids[first : first + _LOT]), starts, steps, seed)
        for patch, x, found in zip(patches, grids, answers, strict=True):
            original, rebuilt = measured_on_grid(models, x), measured_on_grid(models, found.x)
            latent = io.BytesIO()
            np.save(latent, found.z)
            stem = out / patch.id.replace("/", "_")
            titles = [f"{patch.source}, {patch.region}", f"reconstruction, mse {found.mse:.4f}", "difference"]
            tiles = [x, found.x, x - found.x]
            shown = write_file(stem.with_name(stem.name + ".png"), picture(tiles, models.preset, titles, patch.id))
            kept = write_file(stem.with_name(stem.name + ".npy"), latent.getvalue())
            records.append(
                {
                    "id": patch.id,
                    "region": patch.region,
                    "mse": found.mse,
                    "z_norm": found.z_norm,
                    "unexplained": found.unexplained,
                    "parameters": quantities(original, models.preset.physical),
                    "reconstructed": quantities(rebuilt, models.preset.physical),
                    "errors": quantities({k: rebuilt[k] - original[k] for k in original}, models.preset.physical),
                    "start_mse": found.start_mse,
                    "file": patch.file,
                    "picture": str(shown),
                    "latent": str(kept),
                }
            )
    document: dict[str, Any] = {
        "patches": records,
        "refused": refused,
        "bundle": models.name,
        "seed": seed,
        "seconds": time.monotonic() - began,
    }
    write_json(out / "invert.json", document)
    if json:
        emit(document)
        return
    for record in records:
        lines = [
            (k, readable(entry), readable(record["reconstructed"][k])) for k, entry in record["parameters"].items()
        ]
        title = f"{record['id']}: mse {record['mse']:.5f}, |z| {record['z_norm']:.2f}, {record['picture']}"
        table(["parameter", "original", "reconstructed"], lines, title=title)
