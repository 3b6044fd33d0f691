"""Verbs that steer a generator: `directions`, `generate`, `edit`, `invert`."""

from __future__ import annotations

import dataclasses
import json as json_
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_input import asked_of, fits_files, read_npy, read_patches, read_query
from .cli_output import (
    Reporter,
    emit,
    picture,
    quantities,
    quantity,
    readable,
    table,
    write_file,
    write_json,
)
from .errors import SolqueryError

if TYPE_CHECKING:
    import numpy as np

    from .bundle import Bundle
    from .steering.directions import Directions
    from .steering.targeting import Answer

__all__ = ["answer_record", "bundle_info", "measured_on_grid", "register"]


BundleName = Annotated[str | None, typer.Option("--bundle", help="Name or folder; the shipped default without it.")]
Describe = Annotated[str | None, typer.Option(help='In words, e.g. "strong, compact bipole, leading negative".')]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="name=value[unit] (or <=, >=) on the grid; may be repeated.")
]
Hold = Annotated[list[str] | None, typer.Option(help="Parameter to hold; may be repeated.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (directions, generate, edit, invert):
        app.command()(verb)


def measured_on_grid(bundle: Bundle, x: Any) -> dict[str, float]:
    """Every parameter of one patch (H, W) in preset units, on the grid."""
    import numpy as np

    from .physics import measure

    return {name: float(value[0]) for name, value in measure(bundle.preset.to_gauss(np.asarray(x)), None).items()}


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
    return document | {"directions": None if fitted is None else _direction_rows(fitted), **bundle.metadata}


def _direction_rows(fitted: Directions) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "accuracy": float(fitted.accuracies[k]),
            "chance": float(fitted.chances[k]),
            "median": quantity(fitted.medians[k], fitted.unit(name)),
            "dropped": int(fitted.dropped[k]),
        }
        for k, name in enumerate(fitted.names)
    }


def directions(
    bundle: BundleName = None,
    n: Annotated[int, typer.Option("-n", min=100, help="Latents to sample and measure.")] = 10_000,
    seed: Seed = 0,
    save: Annotated[bool, typer.Option("--save", help="Write them into the bundle's folder.")] = False,
    json: Json = False,
) -> None:
    """Fit the direction of every parameter in latent space: accuracies, and cosines between every two."""
    from .bundle import Bundle
    from .steering.directions import fit_directions, sample_latents

    if save and (bundle is None or not Path(bundle).is_dir()):
        raise typer.BadParameter("--save needs --bundle FOLDER; a shipped bundle is not changed")
    models = Bundle.load(bundle)
    began = time.monotonic()
    with Reporter("fitting directions") as report:
        report(f"{n:,} patches of bundle {models.name!r}")
        fitted = fit_directions(sample_latents(models.generator, models.preset, n, seed), seed=seed)
    if save and bundle is not None:
        models.directions = fitted
        models.metadata["metrics"]["direction_accuracy"] = {
            name: float(a) for name, a in zip(fitted.names, fitted.accuracies, strict=True)
        }
        # an encoder that lies in another bundle stays there
        manifest = json_.loads((Path(bundle) / "bundle.json").read_text())
        models.save(bundle, encoder_from=(manifest.get("encoder") or {}).get("from"))
    cosines = fitted.cosines()
    rows = _direction_rows(fitted)
    if json:
        emit(
            {
                "bundle": models.name,
                "directions": rows,
                "cosines": {
                    a: {b: float(cosines[i, j]) for j, b in enumerate(fitted.names)} for i, a in enumerate(fitted.names)
                },
                "n": n,
                "seed": seed,
                "saved": str(bundle) if save else None,
                "seconds": time.monotonic() - began,
            }
        )
        return
    lines = [(k, f"{r['accuracy']:.3f}", f"{r['chance']:.3f}", readable(r["median"])) for k, r in rows.items()]
    table(["direction", "accuracy", "chance", "median"], lines)
    typer.echo("")
    matrix = [(a, *(f"{c:.2f}" for c in cosines[i])) for i, a in enumerate(fitted.names)]
    table(["cosine", *fitted.names], matrix)


def answer_record(answer: Answer) -> dict[str, Any]:
    asked = quantities(answer.asked)
    for name, entry in asked.items():
        entry |= {"relation": answer.targets[name].relation, "word": answer.targets[name].word}
    record = {"asked": asked, "got": quantities(answer.got), "verdict": answer.verdict, "z_norm": answer.z_norm}
    return record | ({"held": quantities(answer.held)} if answer.held else {})


def generate(
    bundle: BundleName = None,
    describe: Describe = None,
    settings: Settings = None,
    hold: Hold = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many different patches.")] = 1,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for FITS, latent (.npy) and PNG of each.")] = Path("generated"),
    json: Json = False,
) -> None:
    """Generate patches with the properties asked for."""
    import io

    import numpy as np

    from .archive.fits import write_fits
    from .bundle import Bundle
    from .patch import Patch
    from .steering.targeting import generate as generated

    models = Bundle.load(bundle)
    asked = asked_of(describe, settings or [], models)
    began = time.monotonic()
    with Reporter("generating"):
        answers = generated(models, asked, n, tuple(hold or ()), seed)
    seconds = time.monotonic() - began
    records: list[dict[str, Any]] = []
    out.mkdir(parents=True, exist_ok=True)
    for k, answer in enumerate(answers):
        name = f"{models.name}-seed{seed}-{k:02d}"
        field = np.asarray(models.preset.to_gauss(answer.x), dtype=np.float32)
        patch = Patch(field, None, f"gen-{name}", f"GEN {name}", "generated", file=f"{name}.fits")
        write_fits(patch, out / f"{name}.fits")
        latent = io.BytesIO()
        np.save(latent, answer.z)
        write_file(out / f"{name}.npy", latent.getvalue())
        write_file(out / f"{name}.png", picture([answer.x], models.preset, [f"{patch.id}: {answer.verdict}"]))
        files = {key: str(out / f"{name}.{end}") for key, end in (("file", "fits"), ("picture", "png"))}
        records.append(answer_record(answer) | {"id": patch.id} | files | {"latent": str(out / f"{name}.npy")})
    if json:
        emit({"answers": records, "bundle": models.name, "seed": seed, "seconds": seconds})
        return
    for record in records:
        names = [*record["asked"], *(name for name in record["got"] if name not in record["asked"])]
        lines = [(name, readable(record["asked"].get(name)), readable(record["got"].get(name))) for name in names]
        table(["parameter", "asked", "got"], lines, title=f"{record['file']}: {record['verdict']}")


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

    from .bundle import Bundle
    from .steering.editing import directions_of, strip
    from .steering.following import follow

    models = Bundle.load(bundle)
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
        values = quantities({key: column[k] for key, column in made.values.items()})
        frames.append({"eps": float(eps), "parameters": values, "z_norm": float(np.linalg.norm(made.z[k]))})
        if made.asked is not None:
            frames[-1]["asked"] = {param: quantity(made.asked[k], fitted.unit(param))}
        step = f"{eps:+.2g} {'spreads' if exact else 'σ'}"
        titles.append("\n".join([step, *(f"{key} {readable(values[key])}" for key in shown)]))
    document: dict[str, Any] = {
        "param": param,
        "hold": held,
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
    from .bundle import Bundle
    from .steering.inversion import invert as inverted

    models = Bundle.load(bundle)
    patches, refused = read_patches(fits_files(files), strict_quality=False)
    if not patches:
        raise SolqueryError(f"none of the {len(refused)} files could be read; the reasons are above")
    began = time.monotonic()
    records: list[dict[str, Any]] = []
    with Reporter("inverting") as report:
        for k, patch in enumerate(patches):
            report.count(k, len(patches))
            x = prepare(patch.field, models.preset)
            found = inverted(models, x, starts, steps, seed)[0]
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
                    "parameters": quantities(measured_on_grid(models, x)),
                    "reconstructed": quantities(measured_on_grid(models, found.x)),
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
