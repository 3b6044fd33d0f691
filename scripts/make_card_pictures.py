"""Draw the pictures on the cards of the documentation's front page, docs/pictures/card-*.png.

python scripts/make_card_pictures.py

They are cut from pictures of other scripts (`make_docs.py`, `make_app_picture.py`), and from a shipped observation.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from solquery import sample_patches
from solquery.grey import grey_png

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIZE = (480, 270)
#: card to the picture that it is cut from, and the box (left, upper, right, lower) in shares of width and height
CUTS = {
    "ask": ("demo.png", (0.589, 0.03, 0.858, 0.465)),
    "find": ("demo.png", (0.046, 0.50, 0.317, 0.935)),
    "page": ("page.png", (0.0, 0.0, 1.0, 0.96)),
}


def main() -> None:
    for card, (name, box) in CUTS.items():
        whole = Image.open(PICTURES / name).convert("RGB")
        left, upper, right, lower = (share * side for share, side in zip(box, whole.size * 2, strict=True))
        cut = whole.crop((round(left), round(upper), round(right), round(lower)))
        ImageOps.pad(cut, SIZE, Image.Resampling.LANCZOS, color="white").save(
            PICTURES / f"card-{card}.png", optimize=True
        )
    patch = next(patch for patch in sample_patches() if patch.region == "HARP 856")
    field = Image.open(io.BytesIO(grey_png(patch.field)))
    ImageOps.fit(field, SIZE, Image.Resampling.LANCZOS).save(PICTURES / "card-measure.png", optimize=True)


if __name__ == "__main__":
    main()
