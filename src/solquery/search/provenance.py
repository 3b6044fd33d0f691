"""Say what made the columns of an archive, and which command makes them anew.

`embedding_model` is the hash of the encoder, `grid_preset` the preset whose grid was embedded and measured. Two models
can share an encoder and differ in the preset; what one of them wrote is then nothing the other can compare with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..config.presets import FORMER_MEANINGS

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model

__all__ = ["embed_with", "indexed_with", "made_with", "other_encoder", "other_preset"]


def embed_with(archive: Archive, model: Model | None = None, again: bool = False) -> str:
    """How to embed and measure, as an advice."""
    name = "NAME" if model is None else model.name
    where = getattr(archive, "path", None) or getattr(archive, "uri", "DIR")
    own = getattr(getattr(model, "encoder", None), "name", None)  # of a plug-in
    more = (f" --encoder {own}" if isinstance(own, str) else "") + (" --again" if again else "")
    return f"embed and measure it with `solquery archive embed {where} --model {name}{more}`"


def made_with(model: Model) -> str:
    """What embeddings must share to be compared: hash of the encoder, and preset, as in the name of an index."""
    preset = getattr(model, "preset", None)
    return str(model.encoder_hash) if preset is None else f"{model.encoder_hash}_{preset.name}"


def indexed_with(archive: Archive, model: Model) -> set[str]:
    """What an index of an archive may be named for (`made_with`) to be one of the embeddings of a model."""
    names = {made_with(model)}
    preset = getattr(model, "preset", None)
    if preset is not None and "flux_outside_view" not in archive.columns:  # embedded when the name had another meaning
        names |= {f"{model.encoder_hash}_{name}" for name, meant in FORMER_MEANINGS.items() if meant == preset.name}
    return names


def other_encoder(found: Iterable[str | None], archive: Archive, model: Model) -> str:
    """Why patches that were embedded by the encoders `found` (hashes) cannot be searched with a model."""
    others = ", ".join(sorted({str(known)[:12] for known in found if known is not None}))
    return (
        f"the archive was embedded by another encoder ({others}) than that of model {model.name!r} "
        f"({str(model.encoder_hash)[:12]}); {embed_with(archive, model)}"
    )


def other_preset(found: Iterable[str | None], wanted: str | None, archive: Archive, model: Model | None = None) -> str:
    """Why patches that were embedded and measured under the presets `found` cannot be compared."""
    names = ", ".join(sorted({repr(name) for name in found if name is not None})) or "no preset"
    among = "with each other" if wanted is None else f"with a query of preset {wanted!r}"
    return (
        f"the archive was embedded and measured on the grid of {names}, which cannot be compared {among}; "
        f"{embed_with(archive, model)}"
    )
