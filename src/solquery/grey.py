"""Magnetograms in grey: from -1000 to +1000 G through an asinh, north up and west to the right.

In a grey that is linear to 1000 G all but the strongest regions vanish. An asinh is linear below the 150 G at which
polarities begin to count, and logarithmic beyond, so that plage of 50 G shows beside spots; sign and order of the
fields stay as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["LIMIT_GAUSS", "SOFT_GAUSS", "grey_png", "stretched"]

#: field of full black and white, and the field about which linear turns into logarithmic
LIMIT_GAUSS = 1000.0
SOFT_GAUSS = 150.0


def stretched(field_gauss: ArrayLike) -> np.ndarray:
    """Grey of a field of any shape in gauss: -1 black, 0 mid-grey (missing pixels, too), 1 white; float32."""
    field = np.clip(np.nan_to_num(np.asarray(field_gauss, dtype=np.float32)), -LIMIT_GAUSS, LIMIT_GAUSS)
    return np.arcsinh(field / SOFT_GAUSS) / np.float32(np.arcsinh(LIMIT_GAUSS / SOFT_GAUSS))


def grey_png(field_gauss: ArrayLike, largest_px: int = 512) -> bytes:
    """A field (H, W) in gauss as a PNG in grey, one pixel each; a field that is too large is thinned out.

    Parameters
    ----------
    field_gauss
        Row 0 is the southernmost; missing pixels (NaN) become mid-grey.
    largest_px
        Longest side of the picture.
    """
    import io

    from PIL import Image

    field = np.asarray(field_gauss)
    step = -(-max(field.shape) // largest_px)
    grey = np.rint(127.5 * (1.0 + stretched(field[::step, ::step][::-1]))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return buffer.getvalue()
