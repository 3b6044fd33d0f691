"""What the command line reads: files, archives, and what is asked of a patch."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import typer

from ..aliases import Document
from ..errors import SolqueryError
from ..protocols import Patches
from .output import note

if TYPE_CHECKING:
    from torch import nn

    from ..archive.store import Archive
    from ..config import EncoderConfig, GeneratorConfig, Preset
    from ..model import Model
    from ..patch import Patch
    from ..steering.directions import Directions
    from ..steering.inputs import GridInput
    from ..steering.vocabulary import Target

__all__ = [
    "Query", "asked_of", "begun_with", "fits_files", "fitting_precision", "gauss_or_units", "read_notes", "read_npy",
    "read_patches", "read_query", "seen_by", "started_from", "with_draws_of",
]  # fmt: skip

_Config = TypeVar("_Config", "GeneratorConfig", "EncoderConfig")

_SETTING = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*(?P<relation><=|>=|=)\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"\s*(?P<unit>.*?)\s*"
)


#: what the library advises, and how it is said on the command line
_LIBRARY_HINT, _HINT = "read it with strict_quality=False if", "use --any-quality if"
#: names of FITS files in a folder, in any case; downloads that are not complete (``.part``) are none
_FITS_NAME = re.compile(r"\.(fits|fts|fit)(\.gz|\.fz)?$", re.IGNORECASE)


def fits_files(given: Sequence[Path]) -> list[Path]:
    """Files as given; a directory stands for the FITS files in it and below.

    Names end in .fits, .fts or .fit, in any case, and with .gz or .fz behind it.
    """
    out: list[Path] = []
    for path in given:
        found = (p for p in path.rglob("*") if _FITS_NAME.search(p.name) and p.is_file()) if path.is_dir() else [path]
        out += sorted(found)
    if not out:
        raise SolqueryError(f"no FITS file in {', '.join(str(p) for p in given)}; name files, or another directory")
    return out


def read_patches(
    files: Sequence[Path],
    strict_quality: bool = True,
    *,
    segment: str | None = None,
    unit: str | None = None,
    scale: float | None = None,
    reproject: bool = False,
) -> tuple[list[Patch], list[dict[str, str]]]:
    """Patches of the files that can be read, and file and reason of those refused, each told on stderr."""
    from ..sharp.fits import read_sharp

    patches, refused = [], []
    for path in files:
        try:
            patches.append(
                read_sharp(
                    path, strict_quality=strict_quality, segment=segment, unit=unit, scale_mm=scale, reproject=reproject
                )
            )
        except (SolqueryError, OSError, ArithmeticError, ValueError, MemoryError) as error:
            refused.append(refusal(path, error))
    return patches, refused


def read_notes(patches: Sequence[Patch]) -> dict[str, int]:
    """What the reader had to do or to take from elsewhere (``keywords["NOTES"]``), and for how many patches."""
    counts: Counter[str] = Counter()
    for patch in patches:
        said = str(patch.keywords.get("NOTES") or "")
        # the number of pixels differs from file to file
        counts.update(re.sub(r"^\d+ pixels hold", "pixels hold", part) for part in said.split("; ") if part)
    return dict(counts)


def refusal(path: Path | str, error: Exception) -> dict[str, str]:
    """File and reason, told on stderr."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    reason = reason.replace(_LIBRARY_HINT, _HINT)
    note(f"refused: {reason}" if str(path) in reason else f"refused: {path}: {reason}")
    return {"file": str(path), "reason": reason}


def _target(text: str, directions: Directions) -> Target:
    """One ``name=value[unit]`` (or ``<=``, ``>=``) in the unit of the grid."""
    import astropy.units as u

    from ..steering.vocabulary import DERIVED, Target, as_target, in_grid_unit

    found = _SETTING.fullmatch(text)
    if found is None:
        raise SolqueryError(f"--set {text!r} is not name=value[unit]; for example --set tuf=1.2e6 or --set tilt=20deg")
    name, number = found["name"], float(found["number"])
    if name not in DERIVED:
        directions.index(name)
    if found["unit"]:
        try:
            given = number * u.Unit(found["unit"])
        except (ValueError, TypeError):
            raise SolqueryError(
                f"--set {text!r}: there is no unit {found['unit']!r}; {name} is in "
                f"{directions.unit(name) if name not in DERIVED else DERIVED[name].unit or 'no unit'}"
            ) from None
        try:
            number = in_grid_unit(name, given, directions.physical)
        except SolqueryError as error:
            raise SolqueryError(f"--set {text!r}: {error}") from None
    return as_target(name, Target(name, number, found["relation"]), directions)


def _with_directions(model: Model, settings: Sequence[str]) -> None:
    """Fit a direction for each parameter that is named, registered, and was not when the model was made."""
    from ..physics import parameters

    there = () if model.directions is None else model.directions.names
    named = [found["name"] for found in map(_SETTING.fullmatch, settings) if found is not None]
    missing = [name for name in dict.fromkeys(named) if name in parameters() and name not in there]
    if missing and model.directions is not None:
        from ..extension import extend_directions

        note(f"fitting the direction of {', '.join(missing)}, which model {model.name!r} was made without")
        model.directions = extend_directions(model, missing)


def asked_of(describe: str | None, settings: Sequence[str], model: Model) -> dict[str, Target]:
    """What ``--describe`` and ``--set`` ask for together; a number set overrides the word about the same parameter."""
    from ..steering.editing import directions_of
    from ..steering.vocabulary import parse_description

    if not describe and not settings:
        raise typer.BadParameter("say what to ask for: --describe TEXT, or --set name=value")
    _with_directions(model, settings)
    directions = directions_of(model)
    asked = parse_description(describe, directions) if describe else {}
    given: dict[str, Target] = {}
    for text in settings:
        target = _target(text, directions)
        if target.name in given:
            raise SolqueryError(f"--set asks for {target.name} twice; leave one out")
        given[target.name] = target
    return {**asked, **given}


def read_npy(path: Path, mmap: bool = False) -> np.ndarray:
    """An array of numbers from an .npy file; never anything that would have to be unpickled."""
    try:
        array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except FileNotFoundError:
        raise SolqueryError(f"no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise SolqueryError(f"{path} is no .npy file of numbers: {(str(error).splitlines() or [''])[0]}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise SolqueryError(f"{path} is no .npy file of numbers")
    return array


def gauss_or_units(array: np.ndarray, model: Model, where: str, scale: float | None = None) -> np.ndarray:
    """(H, W) in preset units from a field in gauss of any size, or from one already in preset units.

    Parameters
    ----------
    scale
        Mm per pixel of a field in gauss; an array does not say it.
    """
    from ..archive.prepare import prepare

    preset = model.preset
    known = np.isfinite(array)
    finite = np.abs(array[known])
    if finite.size == 0:
        raise SolqueryError(f"{where}: every pixel is missing; there is nothing to look at")
    if finite.size < array.size:
        lost = array.size - finite.size
        note(f"{where}: {lost:,} of {array.size:,} pixels are missing (NaN or infinite) and count as 0 G")
        array = np.where(known, array, np.nan)
    if tuple(array.shape) == tuple(preset.shape) and finite.max() <= preset.limit:
        note(
            f"{where}: within ±{preset.limit:g} on the grid of preset {preset.name!r}: taken as preset units, not gauss"
        )
        return np.nan_to_num(array.astype(np.float32))
    if preset.physical and scale is None:
        raise SolqueryError(
            f"{where}: an array of shape {tuple(array.shape)} in gauss says nothing of its scale, and preset "
            f"{preset.name!r} works in megametres; give its Mm per pixel with --scale"
        )
    return prepare(array, preset, None if scale is None else (scale, scale))


@dataclass(frozen=True)
class Query:
    """What to search with: the image on the grid, what it is, and the region it belongs to, if any.

    Of an observation with a scale also its parameters at native scale.
    """

    given: GridInput
    about: Document = field(default_factory=dict)
    region: str | None = None
    native: dict[str, float] | None = None


def read_query(
    text: str, archive: Archive | None, model: Model, any_quality: bool = False, scale: float | None = None
) -> Query:
    """A FITS file, an .npy file (latent vector, or field), ``latent:TEXT``, or the id of a patch in the archive."""
    from ..archive.tables import quoted
    from ..sharp.unreadable import UnreadableFits
    from ..steering.inputs import GridInput, grid_input

    what: object = text
    where: Document = {}
    path, latent = Path(text), text.startswith("latent:")
    # the text of a latent vector is longer than a name can be
    if not latent and path.is_file():
        where = {"file": str(path)}
        if path.suffix == ".npy":
            array = read_npy(path)
            if array.ndim == 2 and array.shape != (1, int(model.generator.latent_dim)):
                image = gauss_or_units(array, model, str(path), scale)
                return Query(GridInput(image, "array"), {"kind": "array", **where})
            if array.ndim > 2:
                raise SolqueryError(
                    f"{path} has shape {array.shape}; a query is a field (ny, nx) or a latent vector (D,)"
                )
            what = array.reshape(-1)
    elif not latent and not (archive is not None and archive.count(f"id IN ({quoted([text])})")):
        places = f"nor the id of a patch in {archive.uri}" if archive is not None else "and no archive was named"
        raise SolqueryError(f"{text!r} is no file {places}; give a FITS file, an .npy file or an id")
    try:
        given = grid_input(what, model, archive, strict_quality=not any_quality, scale_mm=scale)
    except UnreadableFits as error:
        raise UnreadableFits(str(error).replace(_LIBRARY_HINT, _HINT)) from None
    if given.z is not None:
        return Query(given, {"kind": "latent", **where, "z_norm": float(np.linalg.norm(given.z))})
    patch = given.patch
    assert patch is not None
    from ..archive.view import caveats_on_grid

    limits = [{"name": c.name, "text": c.text} for c in caveats_on_grid(patch, model.preset)]
    about = {
        "kind": "file" if where else "archive", **where, "id": patch.id, "region": patch.region,
        "source": patch.source, "quantity": patch.quantity, "caveats": limits,
    }  # fmt: skip
    return Query(given, about, patch.region, _native_of(patch, None if where else archive))


def _native_of(patch: Patch, archive: Archive | None) -> dict[str, float] | None:
    """Parameters of an observation at native scale: as its archive has them, else measured; None without a scale."""
    from ..archive.tables import quoted
    from ..physics import measure_patch, parameters

    if patch.scale_mm is None:
        return None
    names = list(parameters())
    if archive is not None and set(names) <= set(archive.columns):
        row = archive.table(columns=names, where=f"id IN ({quoted([patch.id])})").to_pylist()[0]
        return {name: float("nan") if value is None else float(value) for name, value in row.items()}
    return measure_patch(patch, names)


def started_from(start: Path | None) -> Path | None:
    """The folder that `--start` names; a shipped model may be named."""
    if start is None or start.exists():
        return start
    from ..model import Model
    from ..model_parts import SHIPPED

    if str(start) in Model.list():
        return SHIPPED / start
    raise SolqueryError(
        f"no run or model at {start} to start from; there ship with the package: {', '.join(Model.list())}"
    )


def begun_with(start: Path | None, loss: str, warmup: int | None = None) -> Document:
    """What a generator that begins with weights leaves out: the coarse levels, and trust in a new discriminator."""
    if start is None or loss != "vae-gan":
        return {} if warmup is None else {"discriminator_warmup_images": warmup}
    from ..generator.warm_start import begun_settings

    return begun_settings(start, warmup)


def seen_by(source: str | None, preset: Preset, provenance: Document) -> nn.Module | None:
    """Encoder of a model or a run that a training shows its draws to; its hash goes into the provenance."""
    if source is None:
        return None
    from ..encoder.training import load_encoder
    from ..model import Model, state_hash
    from ..model_files import is_model

    if source in Model.list() or is_model(source):
        model = Model.load(source)
        if model.encoder is None:
            raise SolqueryError(f"model {source} has no encoder; name a run of `train encoder`")
        grids = [(p.shape, p.scale_mm, p.unit_gauss) for p in (model.preset, preset)]
        if grids[0] != grids[1]:
            raise SolqueryError(
                f"the encoder of {source} was trained on the grid of preset {model.preset.name!r}, not on that of "
                f"{preset.name!r}; name one of the same grid"
            )
        encoder = model.encoder
    else:
        encoder = load_encoder(Path(source))
    provenance["encoder"] = state_hash(encoder)
    return encoder


def with_draws_of(patches: Patches, generator: Path, count: int, folder: Path, seed: int) -> Patches:
    from ..encoder.generated import with_generated
    from ..generator.training import load_run

    config, shape, network = load_run(generator)
    if tuple(shape) != tuple(patches.shape[1:]):
        raise SolqueryError(
            f"{generator} draws patches of {shape[0]} x {shape[1]}, those to train on have {patches.shape[1]} x "
            f"{patches.shape[2]}; name a run of the same preset"
        )
    note(f"drawing {count:,} patches")
    try:
        return with_generated(patches, network, config.latent_dim, count, folder, seed=seed)
    except ValueError as error:
        raise SolqueryError(str(error)) from None


def fitting_precision(config: _Config, kind: str, place: str, run: Path | None) -> _Config:
    """Settings of a trainer, in single precision where the processor has no instructions for bfloat16.

    A run that is there keeps its own. Without AVX-512 a step in bfloat16 takes ten times as long as one in fp32.
    """
    import json
    import platform

    import torch

    if config.precision != "bf16" or place != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return config
    if run is not None and (run / "config.json").is_file():
        try:
            there = json.loads((run / "config.json").read_text())[kind]["precision"]
        except (ValueError, KeyError, TypeError):
            return config  # the trainer says what is wrong with it
        return dataclasses.replace(config, precision=there)
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        return config
    note("this processor computes bfloat16 in software: training in fp32 (--precision bf16 insists)")
    return dataclasses.replace(config, precision="fp32")
