"""The verb `params`: physical parameters of observations, beside what their own headers say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_input import Reproject, Scale, Segment, Unit, fits_files, read_notes, read_patches
from .cli_output import emit, note, quantities, quantity, readable, table
from .errors import SolqueryError

if TYPE_CHECKING:
    from .patch import Patch

__all__ = ["register"]

#: keywords that become columns of the table that ``--out`` writes, and their units
_KEYWORDS = {
    "USFLUX": "Mx", "AREA_ACR": "", "R_VALUE": "", "LATFWTPO": "deg", "LONFWTPO": "deg", "LATFWTNE": "deg",
    "LONFWTNE": "deg",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(params)


def params(
    files: Annotated[list[Path], typer.Argument(help="SHARP FITS files, or directories of them.")],
    only: Annotated[list[str] | None, typer.Option("--param", help="Only this parameter; may be repeated.")] = None,
    noise: Annotated[
        float | None, typer.Option(min=0.0, help="Noise of a pixel in G: print each parameter's standard error.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write an astropy QTable with units to this file, NAME.ecsv.")
    ] = None,
    segment: Segment = None,
    unit: Unit = None,
    scale: Scale = None,
    reproject: Reproject = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Measure the physical parameters of observations at their native scale."""
    from .physics import get_parameter, parameters

    if out is not None and out.suffix != ".ecsv":
        raise typer.BadParameter(f"--out {out}: the table is written as ECSV; let its name end in .ecsv")
    names = [get_parameter(name).name for name in only] if only else list(parameters(on_demand=True))
    stated: dict[str, Any] = {"segment": segment, "unit": unit, "scale": scale, "reproject": reproject}
    patches, refused = read_patches(fits_files(files), strict_quality=False, **stated)
    records = []
    kept = []
    for patch in patches:
        try:
            records.append(_record(patch, names, noise))
            kept.append(patch)
        except ValueError as error:
            note(f"refused: {patch.file}: {error}")
            refused.append({"file": patch.file, "reason": str(error)})
    if not records:
        raise SolqueryError(f"none of the {len(refused)} files could be read; the reasons are above")
    for text, count in read_notes(kept).items():
        note(f"{count:,} file{'s' if count > 1 else ''}: {text}")
    if out is not None:
        _write(out, kept, names, noise)
    if json:
        emit({"patches": records, "refused": refused, **({"table": str(out)} if out is not None else {})})
        return
    for record in records:
        _print(record, noise)
    if out is not None:
        typer.echo(str(out))


def _record(patch: Patch, names: list[str], noise: float | None) -> dict[str, Any]:
    """One patch of the document: parameters with units and errors, keywords, and what the header has of the same."""
    import numpy as np

    from .physics import header_values, laws, measure, uncertainty

    if not np.isfinite(patch.field).any():
        raise ValueError("every pixel is missing; there is nothing to measure")
    physical = patch.scale_mm is not None
    got = measure(patch.field, patch.scale_mm, names)
    values = quantities({n: v[0] for n, v in got.items()}, physical=physical)
    if noise is not None:
        for name, error in uncertainty(patch.field, patch.scale_mm, noise, names).items():
            values[name]["error"] = quantity(error[0], "")["value"]
    told = header_values(patch.keywords) if physical else {}
    about = laws(patch)
    return {
        "id": patch.id,
        "region": patch.region,
        "parameters": values,
        "keywords": patch.keywords,
        "header": {n: quantity(h.value, h.unit, keyword=h.keyword) for n, h in told.items() if n in names},
        "joy": about.joy,
        "hale": about.hale,
        "cycle": about.cycle,
        "quantity": patch.quantity,
        "mu": patch.mu,
        "quality": patch.quality,
        "file": patch.file,
    }


def _print(record: dict[str, Any], noise: float | None) -> None:
    columns = ["parameter", "value", *(["± error"] if noise is not None else []), "in the header", "keyword"]
    rows = []
    for name, entry in record["parameters"].items():
        told = record["header"].get(name)
        error = entry.get("error")
        middle = ["–" if error is None else f"{error:.2g}"] if noise is not None else []
        # the four keywords of the centres in short
        keyword = "" if told is None else told["keyword"].replace(
            "LATFWTPO, LONFWTPO, LATFWTNE, LONFWTNE", "centres …FWTPO, …FWTNE"
        )  # fmt: skip
        rows.append([name, readable(entry), *middle, "" if told is None else readable(told), keyword])
    table(columns, rows, title=f"{record['id']} ({record['region']}, {record['quantity']})")
    words = {True: "kept", False: "broken", None: "unknown"}
    cycle = f" of cycle {record['cycle']}" if record["cycle"] else ""
    typer.echo(f"Joy's law {words[record['joy']]}, Hale's law{cycle} {words[record['hale']]}\n")


def _write(out: Path, patches: list[Patch], names: list[str], noise: float | None) -> None:
    """The QTable, written beside and renamed."""
    import astropy.units as u
    import numpy as np

    from .physics import laws, qtable
    from .physics.keywords import number_or_nan

    more: dict[str, Any] = {}
    for key, unit in _KEYWORDS.items():
        more[key] = np.array([number_or_nan(p.keywords.get(key)) for p in patches]) * u.Unit(unit)
    flags = {True: "yes", False: "no", None: "unknown"}
    found = [laws(p) for p in patches]
    more |= {"joy": [flags[f.joy] for f in found], "hale": [flags[f.hale] for f in found]}
    made = qtable(patches, names, noise, more)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        made.write(part, format="ascii.ecsv", overwrite=True)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
