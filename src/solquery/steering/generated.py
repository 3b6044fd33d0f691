"""What answers and inversions share: a generated image that can be taken as a patch and shown in a notebook."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .. import notebook
from ..aliases import Document
from ..patch import Patch
from .latent_text import encode_latent
from .latents import SteeringError
from .vocabulary import unit_of_target

if TYPE_CHECKING:
    from ..config import Preset
    from ..protocols import Model

__all__ = ["Generated", "Origin", "Shown"]


@dataclass(frozen=True)
class Origin:
    """The model that made an image: its name, its preset, which gives units and scale, and its hash."""

    name: str
    preset: Preset
    hash: str | None = None

    @classmethod
    def of(cls, model: Model) -> Origin:
        """Of a model, or of what has its name and preset."""
        return cls(model.name, model.preset, getattr(model, "hash", None))


class Generated:
    """An image (H, W) in preset units that a generator makes of a latent vector (D,)."""

    z: np.ndarray
    x: np.ndarray
    origin: Origin | None

    def to_patch(self, patch_id: str | None = None, region: str | None = None) -> Patch:
        """The image as a `Patch` in gauss, of source ``generated``, at the scale of the model's grid.

        Parameters
        ----------
        patch_id, region
            Its id and region; by default made of the model's name and the latent vector.

        Raises
        ------
        SteeringError
            When it was not made by `generate`, `steer`, `invert` or a model, so that nothing says what its units are.

        Examples
        --------
        >>> from solquery import Model, generate
        >>> patch = generate(Model.load(), {"tuf": "1e22 Mx"})[0].to_patch()
        >>> patch.source, patch.field.shape
        ('generated', (96, 192))
        """
        if self.origin is None:
            raise SteeringError("this image does not say which model made it, and so in which units it is")
        latent = encode_latent(self.z, getattr(self, "offsets", None), getattr(self, "noise", None))
        name = f"{self.origin.name}-{hashlib.sha256(latent.encode()).hexdigest()[:10]}"
        preset = self.origin.preset
        return Patch(
            field=np.asarray(preset.to_gauss(np.asarray(self.x)), dtype=np.float32),
            scale_mm=preset.scale_mm,
            id=f"gen-{name}" if patch_id is None else patch_id,
            region=f"GEN {name}" if region is None else region,
            source="generated",
            truth={"latent": latent, "model": self.origin.name, "model_hash": self.origin.hash, **self._truth()},
        )

    def _truth(self) -> Document:
        """What else a patch of it keeps of how it was made."""
        return {}

    def _facts(self) -> dict[str, str]:
        """What a notebook shows beside the picture."""
        return {}

    def _thumbnail(self) -> str:
        image = np.asarray(self.x) if self.origin is None else self.origin.preset.to_gauss(np.asarray(self.x))
        return notebook.picture(image, "generated magnetogram")

    def _repr_html_(self) -> str:
        return Shown([self])._repr_html_()

    def _values(self, values: dict[str, float]) -> dict[str, str]:
        physical = self.origin is not None and self.origin.preset.physical
        return {name: notebook.number(value, unit_of_target(name, physical)) for name, value in values.items()}


Made = TypeVar("Made", bound=Generated)


class Shown(list[Made]):
    """A list that a notebook shows as a table with a picture of each."""

    def _repr_html_(self) -> str:
        facts = [one._facts() for one in self]
        heads = list(dict.fromkeys(name for row in facts for name in row))
        rows: list[Sequence[object]] = [
            (one._thumbnail(), *(row.get(name, "") for name in heads)) for one, row in zip(self, facts, strict=True)
        ]
        return notebook.table(["", *heads], rows, f"{len(self)} generated · {notebook.GREY}")
