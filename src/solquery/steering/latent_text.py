"""A latent vector as text, so that a patch can travel in a link, a command line or a script."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import numpy as np

from .latents import SteeringError, as_latents

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["decode_latent", "encode_latent", "open_latent"]


def encode_latent(z: Any, offsets: Any = None) -> str:
    """A latent vector (D,) as URL-safe base64 of its little-endian float32 numbers, without padding.

    Layer-wise latents (`Inversion.offsets`, (parts, D)) follow it where there are any.
    """
    z = np.reshape(np.asarray(z, dtype="<f4"), -1)
    if offsets is not None:
        z = np.concatenate([z, np.reshape(np.asarray(offsets, dtype="<f4"), -1)])
    return base64.urlsafe_b64encode(z.tobytes()).decode().rstrip("=")


def _numbers(text: str) -> np.ndarray:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return np.frombuffer(data, dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise SteeringError("the text of the latent vector is damaged; copy it again as a whole") from None


def decode_latent(text: str, latent_dim: int | None = None) -> np.ndarray:
    """The latent vector (D,) float32 that `encode_latent` wrote, to the bit.

    Raises
    ------
    SteeringError
        When the text is damaged, or does not hold `latent_dim` numbers.
    """
    z = _numbers(text)
    return as_latents(z, max(len(z), 1) if latent_dim is None else latent_dim)[0]


def open_latent(model: Model, text: str) -> tuple[Any, np.ndarray]:
    """The latent vector (D,) of a text, and the model that goes with it.

    Parameters
    ----------
    model
        Whose generator the latent vector is for.
    text
        Of `encode_latent`.

    Returns
    -------
    The model, with a generator that carries the layer-wise latents where the text holds some (`with_layerwise`), else
    as it is; and the latent vector.

    Raises
    ------
    SteeringError
        When the text is damaged, or does not fit the generator.

    Examples
    --------
    >>> import numpy as np
    >>> from solquery import Model
    >>> from solquery.steering import encode_latent, open_latent
    >>> model = Model.load()
    >>> opened, z = open_latent(model, encode_latent(np.zeros(100)))
    >>> opened is model, z.shape
    (True, (100,))
    """
    from .carried import with_layerwise

    numbers = _numbers(text)
    dim, parts = int(model.generator.latent_dim), int(getattr(model.generator, "parts", 0))
    if parts and len(numbers) == (1 + parts) * dim:
        z = as_latents(numbers[:dim], dim)[0]
        return with_layerwise(model, numbers[dim:].reshape(parts, dim)), z
    return model, as_latents(numbers, dim)[0]
