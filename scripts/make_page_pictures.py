"""Run the pages that draw a picture of their own, as they are written, and keep the picture under docs/pictures.

python scripts/make_page_pictures.py [how-to/other-images.md ...]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
os.environ["MPLBACKEND"] = "Agg"

from page_blocks import blocks, run  # noqa: E402

#: page and the file that its blocks write
PICTURES = {"how-to/other-images.md": "galaxies.png", "how-to/light-curves.md": "light-curves.png"}


def main(pages: list[str]) -> None:
    for page, picture in PICTURES.items():
        if pages and page not in pages:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            names: dict = {"__name__": "page"}
            for block in blocks(ROOT / "docs" / page):
                run(block, names, block.code)
            kept = ROOT / "docs" / "pictures" / picture
            shutil.copy(picture, kept)
            print(kept.relative_to(ROOT))
            os.chdir(ROOT)


if __name__ == "__main__":
    main(sys.argv[1:])
