"""TUF of real SHARPs beside USFLUX of their headers, and why the two differ.

python scripts/compare_usflux.py FILE.fits [FILE.fits ...]

USFLUX sums over the pixels of the active region whose azimuth is trusted, TUF over all pixels of the patch. Without
the bitmap, two sums stand for what USFLUX leaves out: that over the pixels beyond 150 G, and that over the rest. The
rest is mostly noise of the radial field times the number of pixels, which grows towards the limb.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from solquery import SolqueryError, measure, read_sharp
from solquery.physics import header_values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    print("| patch | μ | USFLUX (Mx) | TUF / USFLUX | (TPF + TNF) / USFLUX | share of TUF below 150 G |")
    print("|---|---|---|---|---|---|")
    for path in options.files:
        try:
            patch = read_sharp(path, strict_quality=False)
        except SolqueryError as error:
            print(f"| {path.name} refused: {error} | | | | | |")
            continue
        header = header_values(patch.keywords).get("tuf")
        if header is None or header.value <= 0 or patch.scale_mm is None:
            continue
        got = {name: float(v[0]) for name, v in measure(patch.field, patch.scale_mm, ("tuf", "tpf", "tnf")).items()}
        strong = got["tpf"] + got["tnf"]
        print(
            f"| {patch.id} | {patch.mu:.2f} | {header.value:.3g} | {got['tuf'] / header.value:.2f} "
            f"| {strong / header.value:.2f} | {1 - strong / got['tuf']:.2f} |"
        )


if __name__ == "__main__":
    main()
