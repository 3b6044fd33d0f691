"""What the packages expect of a model and its networks, so that none has to import the class that loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .aliases import Document

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from torch import Tensor

    from .config import Preset

__all__ = ["Encoder", "Generator", "InferenceNetwork", "Model", "Named", "PatchLike", "Patches"]


class Generator(Protocol):
    """Latent vectors to patches."""

    @property
    def latent_dim(self) -> int:
        """Numbers of a latent vector."""
        ...

    def __call__(self, z: Tensor) -> Tensor:
        """(N, latent_dim) to (N, 1, H, W), in preset units."""
        ...


class Encoder(Protocol):
    """Patches to embeddings."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) in preset units to (N, D)."""
        ...


class Patches(Protocol):
    """Patches (N, H, W) in preset units that are read like an array; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W)."""
        ...

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Patch of one row (H, W), or patches (n, H, W) of a slice or an array of rows."""
        ...


class InferenceNetwork(Protocol):
    """Patches to latent vectors in one pass."""

    def guess(self, x: Tensor) -> Tensor:
        """(N, H, W) in preset units to (N, latent_dim)."""
        ...


class Model(Protocol):
    """What steering and search need of `solquery.Model`; anything that has it will do."""

    @property
    def name(self) -> str:
        """Short name, e.g. ``physical``."""
        ...

    @property
    def preset(self) -> Preset:
        """The grid, its units and scale, and the settings of the networks."""
        ...

    @property
    def generator(self) -> Any:
        """A `Generator`, which may be a network of torch."""
        ...

    @property
    def encoder(self) -> Any:
        """An `Encoder`, or None in a model that only generates."""
        ...

    @property
    def encoder_hash(self) -> str:
        """Of the encoder's weights: embeddings made with equal ones can be compared."""
        ...

    @property
    def directions(self) -> Any:
        """`solquery.Directions`, or None before they are fitted."""
        ...

    @property
    def inference(self) -> InferenceNetwork | None:
        """An `InferenceNetwork`, or None where the generator was trained without one."""
        ...

    @property
    def metadata(self) -> Document:
        """Provenance, metrics and whatever else was recorded; JSON."""
        ...

    @property
    def hash(self) -> str | None:
        """Of everything in the model; None until it is saved or loaded."""
        ...


class Named(Protocol):
    """Something of an archive that goes by an id: a `solquery.Match`, a `solquery.Patch`."""

    @property
    def id(self) -> str:
        """Unique in an archive."""
        ...


class PatchLike(Protocol):
    """What a FITS header is made of; `solquery.Patch`, which has it, says what each is."""

    @property
    def field(self) -> np.ndarray: ...

    @property
    def scale_mm(self) -> tuple[float, float] | None: ...

    @property
    def id(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def quantity(self) -> str: ...

    @property
    def segment(self) -> str: ...

    @property
    def t_rec(self) -> str: ...

    @property
    def harpnum(self) -> int | None: ...

    @property
    def noaa(self) -> tuple[int, ...]: ...

    @property
    def latitude_deg(self) -> float: ...

    @property
    def longitude_deg(self) -> float: ...

    @property
    def carrington_deg(self) -> float: ...

    @property
    def b0_deg(self) -> float: ...

    @property
    def mu(self) -> float: ...

    @property
    def quality(self) -> int: ...

    @property
    def keywords(self) -> Document: ...

    @property
    def truth(self) -> Document: ...

    @property
    def credit(self) -> str: ...

    @property
    def time(self) -> datetime | None: ...
