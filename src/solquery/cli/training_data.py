"""The patches that a training on the command line sees: of an archive, or a file of prepared ones."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import SolqueryError
from ..protocols import Patches
from .inputs import read_npy
from .output import note

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..archive.training_rows import TrainingRows
    from ..config import Preset

__all__ = ["as_numbers", "held_out_patches", "ready"]

#: regions below which training is refused, and below which it is doubtful
FEWEST_REGIONS, ENOUGH_REGIONS = 2, 50


def as_numbers(given: list[str] | None) -> tuple[int, ...]:
    """HARP numbers of a repeated option, each a number or several with commas."""
    parts = [part.strip() for text in given or [] for part in text.split(",") if part.strip()]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise typer.BadParameter(f"--leave-out-harps takes HARP numbers, as 377,1449; got {', '.join(parts)}") from None


def ready(
    preset: Preset,
    archive: str | None,
    where: str | None,
    data: Path | None,
    run: Path | None,
    leave_out_harps: tuple[int, ...] = (),
) -> tuple[Path, TrainingRows]:
    """Run folder, and patches (N, H, W) in preset units with what is known of them."""
    import numpy as np

    from ..archive.training_rows import TrainingRows, training_rows
    from ..training.process_group import LAUNCHER

    if run is None:
        raise typer.BadParameter("give a run folder with --run DIR")
    if (archive is None) == (data is None):
        raise typer.BadParameter("give the patches with either --archive DIR or --data FILE.npy")
    if data is not None:
        if where is not None or leave_out_harps:
            raise typer.BadParameter("--where and --leave-out-harps go with --archive")
        array = _prepared_file(data, preset)
        return run, TrainingRows(array, np.zeros(len(array), bool))
    from ..archive.store import Archive

    assert archive is not None  # one of the two was given
    store = Archive.open(archive)
    launched = LAUNCHER in os.environ  # by a process that has said all this
    if not launched:
        _check_regions(store, where)
        note(f"preparing the patches of {store.uri}")
    rows = training_rows(store, preset, where, leave_out_harps)
    for reason, count in rows.left_out.items():
        if reason != "without a scale" and not launched:  # of which the archive has warned
            note(f"left out: {count:,} patch{'es' * (count != 1)}, {reason}")
    return run, rows


def held_out_patches(preset: Preset, archive: str | None, held_out: str | None, where: str | None) -> Patches | None:
    """Patches (N, H, W) in preset units that the training does not see, a few for each of many regions; or None."""
    held_out = held_out or (archive if where is not None else None)
    if held_out is None:
        if where is not None:
            raise typer.BadParameter("--held-out-where goes with --held-out or --archive")
        return None
    from ..archive.store import Archive
    from ..generator.epoch_choice import ACCURACY_PATCHES
    from ..training.run_folder import batch_order

    store = Archive.open(held_out)
    ids = sorted(store.table(["id"], where)["id"].to_pylist())
    if not ids:
        raise SolqueryError(f"no patch of {store.uri} is held out; take another archive or condition")
    return store.prepared(preset, ids=[ids[k] for k in batch_order(0, 0, len(ids))[:ACCURACY_PATCHES]])[1]


def _prepared_file(data: Path, preset: Preset) -> Patches:
    """A file of prepared patches, checked against the preset."""
    from ..archive.cache import is_prepared_file
    from ..archive.prepare import preset_key

    array = read_npy(data, mmap=True)
    if array.ndim != 3 or tuple(array.shape[1:]) != tuple(preset.shape):
        raise SolqueryError(
            f"{data} has shape {array.shape}, preset {preset.name!r} wants (N, {preset.shape[0]}, "
            f"{preset.shape[1]}); prepare the patches with this preset"
        )
    if len(array) and not abs(array[:64]).max() <= 1.001 * preset.limit:
        raise SolqueryError(
            f"{data} is not in preset units, which end at {preset.limit:g}; prepare the patches with this preset"
        )
    # a file that an archive has prepared carries its preset in its name
    if is_prepared_file(data) and not data.name.startswith(f"{preset_key(preset)}-"):
        raise SolqueryError(
            f"{data} was prepared with another preset, or another definition of {preset.name!r}; name that one with "
            "--preset, or give the archive with --archive"
        )
    return array


def _check_regions(store: Archive, where: str | None) -> None:
    """Frames of one region are near copies of each other: what counts is the number of regions."""
    regions = len(set(store.table(["region"], where)["region"].to_pylist()))
    if regions < FEWEST_REGIONS:
        raise SolqueryError(
            f"{store.uri} has patches of {regions} region{'s' * (regions != 1)} to train on, of which a generator can "
            f"only learn copies; add regions, or a `where` that keeps {FEWEST_REGIONS} or more"
        )
    if regions < ENOUGH_REGIONS:
        warnings.warn(
            f"{store.uri} has patches of {regions} regions to train on: with fewer than {ENOUGH_REGIONS} a generator "
            "is likely to learn them by heart; `solquery quality --train` tells",
            stacklevel=2,
        )
