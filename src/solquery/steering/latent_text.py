"""A latent vector as text, so that a patch can travel in a link, a command line or a script."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Array
from .latents import SteeringError, as_latents

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["decode_latent", "encode_latent", "open_latent"]


#: steps of local noise in a text, and the most that one byte holds
NOISE_STEP, _NOISE_MOST = 1.0 / 16.0, 127


def round_noise(noise: Array) -> Array:
    """Local noise, array or tensor, as a text holds it: multiples of 1/16 within ±7.94."""
    return (noise / NOISE_STEP).round().clip(-_NOISE_MOST, _NOISE_MOST) * NOISE_STEP


def encode_latent(z: ArrayLike, offsets: ArrayLike | None = None, noise: ArrayLike | None = None) -> str:
    """A latent vector (D,) as URL-safe base64 of its little-endian float32 numbers, without padding.

    Layer-wise latents (`Inversion.offsets`, (parts, D)) follow it where there are any, and local noise
    (`Inversion.noise`) after a dot, deflated, in steps of 1/16.
    """
    z = np.reshape(np.asarray(z, dtype="<f4"), -1)
    if offsets is not None:
        z = np.concatenate([z, np.reshape(np.asarray(offsets, dtype="<f4"), -1)])
    text = _text(z.tobytes())
    if noise is None:
        return text
    steps = np.asarray(round_noise(np.asarray(noise, np.float64)) / NOISE_STEP).astype(np.int8)
    return f"{text}.{_text(zlib.compress(steps.tobytes(), 9))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _data(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _numbers(text: str, noise_size: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Latents of a text, and its local noise (at most `noise_size` numbers), if it has any."""
    text, dot, more = text.partition(".")
    try:
        z = np.frombuffer(_data(text), dtype="<f4").astype(np.float32)
        if not dot:
            return z, None
        # a text of a few bytes must not grow into gigabytes
        steps = np.frombuffer(zlib.decompressobj().decompress(_data(more), noise_size + 1), np.int8)
    except (binascii.Error, ValueError, zlib.error):
        raise SteeringError("the text of the latent vector is damaged; copy it again as a whole") from None
    if len(steps) != noise_size:
        raise SteeringError("the text of the latent vector is damaged, or of another model; copy it again as a whole")
    return z, (steps * NOISE_STEP).astype(np.float32)


def decode_latent(text: str, latent_dim: int | None = None) -> np.ndarray:
    """The latent vector (D,) float32 that `encode_latent` wrote, to the bit.

    Raises
    ------
    SteeringError
        When the text is damaged, or does not hold `latent_dim` numbers.
    """
    z, _ = _numbers(text)
    return as_latents(z, max(len(z), 1) if latent_dim is None else latent_dim)[0]


def open_latent(model: Model, text: str) -> tuple[Model, np.ndarray]:
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
    from .carried import noise_of, with_layerwise

    numbers, noise = _numbers(text, noise_of(model.generator))
    dim, parts = int(model.generator.latent_dim), int(getattr(model.generator, "parts", 0))
    if parts and len(numbers) == (1 + parts) * dim:
        z = as_latents(numbers[:dim], dim)[0]
        return with_layerwise(model, numbers[dim:].reshape(parts, dim), noise), z
    return model, as_latents(numbers, dim)[0]
