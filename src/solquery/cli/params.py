"""The verb `params`: physical parameters of observations, their errors, and what their own headers say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from ..errors import SolqueryError
from ..io import replacing
from .inputs import fits_files, read_notes, read_patches
from .options import Files, Json, Only, Reproject, Scale, Segment, Unit
from .output import emit, note, quantities, quantity, readable, table

if TYPE_CHECKING:
    from ..patch import Patch
    from ..physics import Laws, PatchReport, Verdict

__all__ = ["register"]

#: keywords that become columns of the table that ``--out`` writes, and their units
_KEYWORDS = {
    "USFLUX": "Mx", "AREA_ACR": "", "R_VALUE": "", "LATFWTPO": "deg", "LONFWTPO": "deg", "LATFWTNE": "deg",
    "LONFWTNE": "deg",
}  # fmt: skip


#: preset whose view is told of: what models are trained with
_GRID = "physical"


@dataclass(frozen=True)
class _Asked:
    """What is wanted of each patch."""

    names: list[str]
    noise: float | None
    errors: bool
    bitmaps: Path | None


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(params)


def params(
    files: Files,
    only: Only = None,
    noise: Annotated[
        float | None,
        typer.Option(min=0.0, help="Noise of a pixel in G; without it the patch's own quiet pixels tell."),
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors/--no-errors", help="Bias and standard error of each parameter.")
    ] = True,
    bitmaps: Annotated[
        Path | None,
        typer.Option(help="Folder of SHARP bitmap files: parameters over the active pixels and the region as well."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write an astropy QTable with units to this file, NAME.ecsv.")
    ] = None,
    segment: Segment = None,
    unit: Unit = None,
    scale: Scale = None,
    reproject: Reproject = False,
    json: Json = False,
) -> None:
    """Measure the physical parameters of observations at their native scale."""
    from ..physics import get_parameter, parameters

    if out is not None and out.suffix != ".ecsv":
        raise typer.BadParameter(f"--out {out}: the table is written as ECSV; let its name end in .ecsv")
    if bitmaps is not None and not bitmaps.is_dir():
        raise SolqueryError(f"--bitmaps {bitmaps} is no folder; name the one that holds the …bitmap.fits files")
    names = [get_parameter(name).name for name in only] if only else list(parameters(on_demand=True))
    asked = _Asked(names, noise, errors, bitmaps)
    stated: Document = {"segment": segment, "unit": unit, "scale": scale, "reproject": reproject}
    patches, refused = read_patches(fits_files(files), strict_quality=False, **stated)
    found: list[tuple[Patch, PatchReport]] = []
    for patch in patches:
        try:
            found.append((patch, _report(patch, asked)))
        except ValueError as error:
            note(f"refused: {patch.file}: {error}")
            refused.append({"file": patch.file, "reason": str(error)})
    if not found:
        raise SolqueryError(f"none of the {len(refused)} files could be read; the reasons are above")
    for text, count in read_notes([patch for patch, _ in found]).items():
        note(f"{count:,} file{'s' if count > 1 else ''}: {text}")
    if out is not None:
        _write(out, found, asked)
    records = [_record(patch, report) for patch, report in found]
    if json:
        emit({"patches": records, "refused": refused, **({"table": str(out)} if out is not None else {})})
        return
    for record in records:
        _print(record)
    if out is not None:
        typer.echo(str(out))


def _report(patch: Patch, asked: _Asked) -> PatchReport:
    from ..physics import describe_patch
    from ..sharp.bitmaps import bitmap_of

    bitmap = None if asked.bitmaps is None else bitmap_of(patch, asked.bitmaps)
    return describe_patch(patch, asked.names, asked.noise, asked.errors, bitmap)


def _verdict(verdict: Verdict) -> Document:
    return {"verdict": verdict.state, "significance": verdict.significance, "reasons": list(verdict.reasons)}


def _record(patch: Patch, report: PatchReport) -> Document:
    """One patch of the document: parameters with units, bias and error, the header's, verdicts and limits."""
    from ..archive.view import caveats_on_grid, flux_outside_view
    from ..config import get_preset
    from ..physics import unit_of

    physical = patch.scale_mm is not None
    values = quantities(report.values, physical=physical)
    for name, estimate in report.errors.items():
        values[name] |= {"error": estimate.error, "bias": estimate.bias}
    for name, one in report.systematic.items():
        values[name]["systematic"] = quantity(one.offset, unit_of(name, True), error=one.error, basis=one.basis)
    for name, entry in report.radial.items():
        values[name]["radial"] = quantity(entry.value, unit_of(name, True), low=entry.low, high=entry.high)
    told = {n: quantity(h.value, h.unit, keyword=h.keyword, reason=h.reason) for n, h in report.header.items()}
    noise = report.noise
    about = report.laws
    assert about is not None
    return {
        "id": patch.id,
        "region": patch.region,
        "quantity": patch.quantity,
        "caveats": [{"name": c.name, "text": c.text} for c in caveats_on_grid(patch, get_preset(_GRID))],
        "flux_outside_view": {
            "value": flux_outside_view(patch.field, patch.scale_mm, get_preset(_GRID)), "unit": "", "preset": _GRID
        },
        "parameters": values,
        "noise": {"gauss": None, "source": report.noise_fault} if noise is None else {
            "gauss": noise.gauss, "block_8x8_over_independent": noise.excess(8), "source": noise.source
        },
        "keywords": patch.keywords,
        "header": told,
        "active": quantities(report.active, physical=physical),
        "bitmap_region": quantities(report.region, physical=physical),
        "centres": quantities(report.centres, physical=physical),
        "joy": _verdict(about.joy),
        "hale": _verdict(about.hale),
        "tilt": {"value": about.tilt_deg, "error": about.tilt_error_deg, "unit": "deg"},
        "cycle": about.cycle,
        "mu": patch.mu,
        "quality": patch.quality,
        "file": patch.file,
    }  # fmt: skip


def _print(record: Document) -> None:
    shown = any("error" in entry for entry in record["parameters"].values())
    over = bool(record["active"])
    columns = ["parameter", "value", *(["bias", "± error"] if shown else []), *(["active", "region"] if over else [])]
    rows = []
    for name, entry in record["parameters"].items():
        told = record["header"].get(name)
        errors = [_short(entry.get("bias")), _short(entry.get("error"))] if shown else []
        masks = [readable(record[key][name]) for key in ("active", "bitmap_region")] if over else []
        # the four keywords of the centres in short
        keyword = "" if told is None else told["keyword"].replace(
            "LATFWTPO, LONFWTPO, LATFWTNE, LONFWTNE", "centres …FWTPO, …FWTNE"
        )  # fmt: skip
        rows.append([name, readable(entry), *errors, *masks, "" if told is None else readable(told), keyword])
    table([*columns, "in the header", "keyword"], rows, title=_title(record))
    for caveat in record["caveats"]:
        typer.echo(f"caution: {caveat['text']}")
    if shown:
        noise = record["noise"]
        typer.echo(f"noise {noise['gauss']:.1f} G ({noise['source']}); the value less its bias has the error")
        _tell_systematic(record["parameters"])
    elif record["noise"]["source"]:
        typer.echo(f"no errors: {record['noise']['source']}")
    for name, entry in record["parameters"].items():
        if "radial" in entry:
            radial = entry["radial"]
            typer.echo(f"{name} of the radial field, estimated: {radial['low']:.2g} to {radial['high']:.2g}")
    if record["centres"]:
        shown_centres = ", ".join(f"{name} {readable(entry)}" for name, entry in record["centres"].items())
        typer.echo(f"centres as the header defines them: {shown_centres}")
    for reason in dict.fromkeys(told["reason"] for told in record["header"].values()):
        typer.echo(f"header: {reason}")
    typer.echo(_laws(record) + "\n")


def _tell_systematic(entries: Document) -> None:
    """What the inversion adds to the first number that has it, apart from noise."""
    for name, entry in entries.items():
        one = entry.get("systematic")
        if one is not None and entry["value"]:
            typer.echo(
                f"not of the noise: the filling factor of plage adds {one['value'] / entry['value']:.0%} ± "
                f"{one['error'] / entry['value']:.0%} to {name} ({one['basis']})"
            )
            return


def _title(record: Document) -> str:
    from math import isfinite

    place = f", μ {record['mu']:.2f}" if isfinite(record["mu"]) else ""
    return f"{record['id']} ({record['region']}, {record['quantity']}{place})"


def _short(value: float | None) -> str:
    from math import isfinite

    return "–" if value is None or not isfinite(value) else f"{value:.2g}"


def _laws(record: Document) -> str:
    cycle = f" of cycle {record['cycle']}" if record["cycle"] else ""
    parts = []
    for title, key in (("Joy's law", "joy"), (f"Hale's law{cycle}", "hale")):
        verdict = record[key]
        sure = verdict["verdict"] != "undetermined"
        why = f"{verdict['significance']:.0f} standard errors" if sure else "; ".join(verdict["reasons"])
        parts.append(f"{title} {verdict['verdict']} ({why})")
    return ", ".join(parts)


def _write(out: Path, found: list[tuple[Patch, PatchReport]], asked: _Asked) -> None:
    """The QTable, written beside and renamed."""
    import astropy.units as u
    import numpy as np

    from ..archive.view import caveats_on_grid, flux_outside_view
    from ..config import get_preset
    from ..physics import qtable
    from ..physics.keywords import number_or_nan

    grid = get_preset(_GRID)
    patches = [patch for patch, _ in found]
    more: Document = {}
    for key, unit in _KEYWORDS.items():
        more[key] = np.array([number_or_nan(p.keywords.get(key)) for p in patches]) * u.Unit(unit)
    verdicts: list[Laws] = [report.laws for _, report in found if report.laws is not None]
    more |= {"joy": [v.joy.state for v in verdicts], "hale": [v.hale.state for v in verdicts]}
    more["caveats"] = [" ".join(c.name for c in caveats_on_grid(p, grid)) for p in patches]
    more["flux_outside_view"] = [flux_outside_view(p.field, p.scale_mm, grid) for p in patches]
    errors = [report.errors for _, report in found] if asked.errors else None
    made = qtable(patches, asked.names, None, more, errors)
    with replacing(out) as part:
        made.write(part, format="ascii.ecsv", overwrite=True)
