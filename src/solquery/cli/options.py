"""Options that several verbs have, each with one meaning and one line of help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]

# ------------------------------------------------------------------ models
ModelName = Annotated[
    str | None, typer.Option("--model", "--bundle", help="Name or folder; the shipped default without it.")
]
ModelArgument = Annotated[str | None, typer.Argument(help="Name or folder; the shipped default without it.")]
EncoderName = Annotated[
    str | None, typer.Option("--encoder", help="Embed with this instead: a name of a plug-in, or an ONNX file.")
]
Describe = Annotated[str | None, typer.Option(help='In words, e.g. "strong, compact bipole, leading negative".')]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="name=value[unit] (or <=, >=) at HMI's scale; may be repeated.")
]
Hold = Annotated[list[str] | None, typer.Option(help="Parameter to hold; may be repeated.")]
Only = Annotated[list[str] | None, typer.Option("--param", help="Only this parameter; may be repeated.")]
Grid = Annotated[bool, typer.Option("--grid", help="Show the values on the model's own grid as well.")]

# ---------------------------------------------------------------- archives
NewArchive = Annotated[str, typer.Option(help="Directory or URI of the archive; made if need be.")]
Where = Annotated[str | None, typer.Option(help="SQL condition on the columns, e.g. \"source = 'real' AND mu > 0.5\".")]
Workers = Annotated[int | None, typer.Option(min=1, help="Number of worker processes (Dask).")]
Dask = Annotated[str | None, typer.Option(help="Address of a Dask scheduler whose workers do it.")]

# -------------------------------------------------------------- FITS files
Files = Annotated[list[Path], typer.Argument(help="SHARP FITS files, or directories of them.")]
Segment = Annotated[
    str | None,
    typer.Option("--segment", help="Which image of a file to take, Br or magnetogram, where its header does not say."),
]
Unit = Annotated[str | None, typer.Option("--unit", help="Unit of the images in place of BUNIT, e.g. G or mT.")]
Scale = Annotated[float | None, typer.Option("--scale", min=1e-6, help="Mm per pixel, instead of the header's.")]
Reproject = Annotated[
    bool,
    typer.Option("--reproject", help="Bring images that are not upright or not equal-area to CEA (sunpy, reproject)."),
]
