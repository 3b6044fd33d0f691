"""A latent vector as text, so that a patch can travel in a link, a command line or a script."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from .latents import SteeringError, as_latents

__all__ = ["decode_latent", "encode_latent"]


def encode_latent(z: Any) -> str:
    """A latent vector (D,) as URL-safe base64 of its little-endian float32 numbers, without padding."""
    z = np.reshape(np.asarray(z, dtype="<f4"), -1)
    return base64.urlsafe_b64encode(z.tobytes()).decode().rstrip("=")


def decode_latent(text: str, latent_dim: int | None = None) -> np.ndarray:
    """The latent vector (D,) float32 that `encode_latent` wrote, to the bit.

    Raises
    ------
    SteeringError
        When the text is damaged, or does not hold `latent_dim` numbers.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        z = np.frombuffer(data, dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise SteeringError("the text of the latent vector is damaged; copy it again as a whole") from None
    if latent_dim is None:
        latent_dim = max(len(z), 1)
    return as_latents(z, latent_dim)[0]
