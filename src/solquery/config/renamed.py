"""Settings under the names that they had before: runs and models saved then load as they did."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..aliases import Document, Entries
from .checks import _require

__all__ = ["DROPPED", "RENAMED", "weights_of", "with_current_names"]

#: name of a setting in files saved before, and its name now
RENAMED = {
    "amounts": "statistics_matching",
    "cool_images": "decay_images",
    "fine_grain": "pixel_noise",
    "hush": "shrinkage",
    "judge_first_images": "discriminator_warmup_images",
    "seeker": "embedding_critic",
    "siblings": "frames_per_region",
    "window": "footprint_mask",
}

#: settings that nobody used and that are gone: files hold their 0
DROPPED = ("weight_decay",)


def with_current_names(values: Entries) -> Document:
    """Settings as a file has them, under the names of today; a name of today wins over an old one.

    >>> with_current_names({"siblings": 4, "batch": 64})
    {'frames_per_region': 4, 'batch': 64}
    """
    values = {name: value for name, value in values.items() if name not in DROPPED or value != 0}
    current = {RENAMED.get(name, name): value for name, value in values.items() if RENAMED.get(name) not in values}
    if isinstance(current.get("physics"), list | tuple):
        current["physics"] = weights_of(current["physics"])
    return current


def weights_of(names: Mapping[str, int] | Sequence[str]) -> dict[str, int]:
    """Weights by name; files saved before repeated a name for its weight.

    >>> weights_of(["tuf", "r", "r"])
    {'tuf': 1, 'r': 2}
    """
    if isinstance(names, Mapping):
        return dict(names)
    runs = [(name, len(list(run))) for name, run in itertools.groupby(names)]
    _require(len(dict(runs)) == len(runs), f"names that repeat must follow each other, got {', '.join(names)}")
    return dict(runs)
