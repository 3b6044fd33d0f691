"""Settings under the names that they had before: runs and models saved then load as they did."""

from __future__ import annotations

from ..aliases import Document, Entries

__all__ = ["RENAMED", "with_current_names"]

#: name of a setting in files saved before, and its name now
RENAMED = {
    "amounts": "statistics_matching",
    "cool_images": "decay_images",
    "fine_grain": "pixel_noise",
    "judge_first_images": "discriminator_warmup_images",
    "seeker": "embedding_critic",
    "siblings": "frames_per_region",
    "window": "footprint_mask",
}


def with_current_names(values: Entries) -> Document:
    """Settings as a file has them, under the names of today; a name of today wins over an old one.

    >>> with_current_names({"siblings": 4, "batch": 64})
    {'frames_per_region': 4, 'batch': 64}
    """
    return {RENAMED.get(name, name): value for name, value in values.items() if RENAMED.get(name) not in values}
