"""Say what made the columns of an archive, and which command makes them anew.

`embedding_model` is the hash of the encoder, `grid_preset` the preset whose grid was embedded and measured. Two bundles
can share an encoder and differ in the preset; what one of them wrote is then nothing the other can compare with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle

__all__ = ["embed_with", "made_with", "other_encoder", "other_preset"]


def embed_with(archive: Archive, bundle: Bundle | None = None, again: bool = False) -> str:
    """How to embed and measure, as an advice."""
    name = "NAME" if bundle is None else bundle.name
    where = getattr(archive, "path", None) or getattr(archive, "uri", "DIR")
    return f"embed and measure it with `solquery archive embed {where} --bundle {name}{' --again' if again else ''}`"


def made_with(bundle: Bundle) -> str:
    """What embeddings must share to be compared: hash of the encoder, and preset, as in the name of an index."""
    preset = getattr(bundle, "preset", None)
    return str(bundle.encoder_hash) if preset is None else f"{bundle.encoder_hash}_{preset.name}"


def other_encoder(found: Iterable[str | None], archive: Archive, bundle: Bundle) -> str:
    """Why patches that were embedded by the encoders `found` (hashes) cannot be searched with a bundle."""
    others = ", ".join(sorted({str(model)[:12] for model in found if model is not None}))
    return (
        f"the archive was embedded by another encoder ({others}) than that of bundle {bundle.name!r} "
        f"({str(bundle.encoder_hash)[:12]}); {embed_with(archive, bundle)}"
    )


def other_preset(
    found: Iterable[str | None], wanted: str | None, archive: Archive, bundle: Bundle | None = None
) -> str:
    """Why patches that were embedded and measured under the presets `found` cannot be compared."""
    names = ", ".join(sorted({repr(name) for name in found if name is not None})) or "no preset"
    among = "with each other" if wanted is None else f"with a query of preset {wanted!r}"
    return (
        f"the archive was embedded and measured on the grid of {names}, which cannot be compared {among}; "
        f"{embed_with(archive, bundle)}"
    )
