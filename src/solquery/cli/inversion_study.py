"""``solquery study inversion``: observed and simulated patches, taken into latent space, given back, and edited."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .inputs import fits_files, read_patches
from .options import Json, ModelName, Seed, Where
from .output import Reporter, emit, note, quantity, readable, table, write_file, write_json

if TYPE_CHECKING:
    from ..patch import Patch
    from ..steering import Directions
    from ..study.inversion import Edit

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the verb of this file."""
    group.command("inversion")(inversion)


def inversion(
    files: Annotated[
        list[Path] | None, typer.Argument(help="SHARP FITS files, or directories of them; the samples without any.")
    ] = None,
    archive: Annotated[
        str | None, typer.Option(help="Archive whose patches stand beside them; simulated ones without it.")
    ] = None,
    where: Where = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Patches of the archive, one a region.")] = 12,
    model: ModelName = None,
    closest: Annotated[
        bool,
        typer.Option(
            "--closest/--physics", help="One latent vector closest in squared error; or picture by scale and physics."
        ),
    ] = False,
    starts: Annotated[int | None, typer.Option(min=1, max=256, help="Starts per patch [3 and 4].")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser [100 and 78].")] = None,
    detail: Annotated[
        bool | None,
        typer.Option("--detail/--no-detail", help="A latent for each part of the generator [on with --physics]."),
    ] = None,
    edits: Annotated[int, typer.Option(min=0, help="Observed patches, the best explained, that are edited.")] = 3,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for inversion.json and the pictures.")] = Path("inversion"),
    json: Json = False,
) -> None:
    """Originals and reconstructions side by side, what is lost at which scale, and edits of observed patches."""
    from ..archive.samples import sample_patches
    from ..model import Model
    from ..steering.refinement import EVALUATIONS
    from ..study.figures import png
    from ..study.inversion import edit_inverted, run_inversion
    from ..study.inversion_figures import figure_edits, figure_inversions, figure_scales

    began = time.monotonic()
    models = Model.load(model)
    observed, refused = read_patches(fits_files(files)) if files else (sample_patches(strict_quality=False), [])
    if not observed:
        raise SolqueryError(f"none of the {len(refused)} files could be read; the reasons are above")
    observed = sorted(observed, key=lambda patch: (patch.region, patch.t_rec or "", patch.id))
    groups = {"real": observed, "simulated": _beside(archive, where, n, seed)}
    detail = not closest if detail is None else detail
    starts, steps = starts or (3 if closest else 4), steps or (100 if closest else EVALUATIONS)
    with Reporter("inverting") as report:
        study = run_inversion(models, groups, starts, steps, seed, report.count, detail, physics=not closest)
    with Reporter("editing"):
        changed = edit_inverted(models, study, study.best_rows("real")[:edits])
    scale = models.preset.scale_mm[0] if models.preset.scale_mm else None
    pictures = {"inversion": figure_inversions(models, study), "scales": figure_scales(study, scale)}
    if changed:
        pictures["edits"] = figure_edits(models, study, changed)
    paths = {key: str(write_file(out / f"{key}.png", png(figure))) for key, figure in pictures.items()}
    summary = study.summary()
    document: Document = {
        "model": models.name,
        "archive": archive,
        "seed": seed,
        "detail": detail,
        "physics": not closest,
        "refused": refused,
        **summary,
        "patches": study.records(),
        "edits": [_edit_record(edit, models.directions) for edit in changed if models.directions is not None],
        "pictures": paths,
        "seconds": time.monotonic() - began,
    }
    write_json(out / "inversion.json", document)
    note(f"written: {out / 'inversion.json'} and {len(paths)} pictures")
    if json:
        emit(document)
        return
    _print(document, scale)


def _beside(archive: str | None, where: str | None, n: int, seed: int) -> list[Patch]:
    """Simulated patches, one a region: of an archive, or made here with a seed that no training has used."""
    import numpy as np

    from ..archive.store import Archive
    from ..simulator import simulate_region
    from ..study.shares import one_of_each_first

    if archive is None:
        return [simulate_region(seed=77 + seed, index=index, frames=1)[0] for index in range(n)]
    store = Archive.open(archive)
    condition = "source = 'simulated'" if where is None else where
    found = store.table(columns=["id", "region"], where=condition)
    ids, regions = (np.array(found.column(key).to_pylist(), dtype=str) for key in ("id", "region"))
    if len(ids) == 0:
        raise SolqueryError(f"{store.uri} has no patch with {condition}; loosen --where")
    rows = one_of_each_first(regions, np.random.default_rng(seed))[: min(n, len(np.unique(regions)))]
    return list(store.patches(ids=sorted(ids[rows])))


def _edit_record(edit: Edit, fitted: Directions) -> Document:
    unit = fitted.unit(edit.name)
    return {
        "id": edit.id, "param": edit.name, "hold": edit.hold, "requested": quantity(edit.requested, unit),
        "before": quantity(edit.before, unit), "after": quantity(edit.after, unit),
        "held_change_spreads": edit.held_change,
    }  # fmt: skip


def _print(document: Document, scale: float | None) -> None:
    kinds = [kind for kind in ("real", "simulated") if kind in document]
    heads, lines = ["power left unexplained, median"], []
    parts = []
    for kind in kinds:
        whole = document[kind]
        parts.append((f"{kind} ({whole['patches']} of {whole['regions']} regions)", whole))
        parts += [
            (f"  {word} third by flux", third)
            for word, third in zip(("weakest", "middle", "strongest"), whole["by_flux"], strict=False)
        ]
    blocks = list(parts[0][1]["unexplained"])
    heads += [f"{int(b) * scale:.3g} Mm" if scale else f"{b} px" for b in blocks]
    heads += ["TUF off by", "PSEP", "R", "|z|"]
    for title, part in parts:
        off = ["–" if v is None else f"{v:.0%}" for v in part["relative_error"].values()]
        left = [f"{v:.0%}" for v in part["unexplained"].values()]
        lines.append((title, *left, *off, f"{part['z_norm']:.1f}"))
        if not title.startswith(" "):
            lines.append(("  power there is", *(f"{v:.0%}" for v in part["power"].values()), "", "", "", ""))
    table(heads, lines)
    for kind in kinds:
        _print_physics(kind, document[kind], scale)
    for edit in document["edits"]:
        typer.echo(
            f"{edit['id']}: {edit['param']} {readable(edit['before'])} led to {readable(edit['after'])} "
            f"(asked {readable(edit['requested'])}), {edit['hold']} held: {edit['held_change_spreads']:+.3f} spreads"
        )


def _print_physics(kind: str, whole: Document, scale: float | None) -> None:
    """What was left before the physics, and how the parameters came out."""
    if "matched" not in whole:
        return
    before = [
        f"{v:.0%} at {int(b) * scale:.1f} Mm" if scale else f"{v:.0%} at {b} px"
        for b, v in whole["unexplained_before"].items()
    ]
    typer.echo(
        f"{kind}: before the parameters were led to those observed {', '.join(before)} were left unexplained; "
        f"the model cannot draw {whole['cannot_draw']} of {whole['patches']}"
    )
    lines = []
    for name, entry in whole["matched"].items():
        tolerance = entry["tolerance"]
        told = "the same" if tolerance is None else f"{tolerance:g}°" if name == "tilt" else f"{tolerance:.0%}"
        middle = entry["median"]
        error = "–" if middle is None or tolerance is None else f"{middle * tolerance:.3g}"
        lines.append((name, told, error, "–" if entry["within"] is None else f"{entry['within']:.0%}"))
    table(["parameter", "tolerance", "error, median", "within"], lines, title=f"{kind}: after steering")
