"""Translation between instruments and correction of artefacts: small maps fitted on pairs of patches.

A pair shows the same instant twice: as it is given and as it is wanted. What a map makes of a patch is an estimate; the
patch says so (source ``translated``), by which map, and how large the map's error was on regions that it was not fitted
on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .applying import shipped_translations, translate
    from .degrade import mdi_like, saturated, with_missing_block
    from .fitting import fit_translation
    from .kinds import KINDS, Kind, TranslationError
    from .maps import Translation
    from .pairs import Pair, pairs_of_archive, pairs_of_table

__all__ = [
    "KINDS", "Kind", "Pair", "Translation", "TranslationError", "fit_translation", "mdi_like", "pairs_of_archive",
    "pairs_of_table", "saturated", "shipped_translations", "translate", "with_missing_block",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "applying": "shipped_translations translate",
        "degrade": "mdi_like saturated with_missing_block",
        "fitting": "fit_translation",
        "kinds": "KINDS Kind TranslationError",
        "maps": "Translation",
        "pairs": "Pair pairs_of_archive pairs_of_table",
    },
)
