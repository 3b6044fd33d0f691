"""FLUX of real SHARPs beside USFLUX of their headers, and how well its numbers hold for a region that was not seen.

python scripts/check_region_flux.py DIR [--fit]

DIR holds SHARP ``Br`` frames. ``--fit`` chooses the threshold, the smoothing and the half-density anew, each time
without one HARP, and judges that HARP: how far the method generalises. Frames at μ > 0.5 of good QUALITY count.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from solquery import SolqueryError, measure, read_sharp
from solquery.physics import measure_patch, region, region_window

_CHOICES = {
    "COHERENT_GAUSS": (150.0, 180.0, 200.0, 220.0),
    "DENSITY_MM": (4.4, 5.8, 7.29, 10.2),
    "DENSITY_GAUSS": (24.0, 32.0, 40.0, 50.0, 64.0, 80.0),
}


def ratios(patches: list) -> np.ndarray:
    """FLUX / USFLUX (N,) by the definition in torch, whose numbers can be changed."""
    import torch

    out = []
    for patch in patches:
        window = region_window(patch) or (slice(None), slice(None))
        field = torch.from_numpy(np.nan_to_num(patch.field[window]))[None]
        scale = torch.tensor([patch.scale_mm], dtype=torch.float64)
        out.append(float(region.flux(field, scale)) / float(patch.keywords["USFLUX"]))
    return np.array(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    patches = []
    for path in sorted(options.folder.rglob("*.Br.fits")):
        try:
            patch = read_sharp(path)
        except SolqueryError:
            continue
        if patch.mu > 0.5 and float(patch.keywords.get("USFLUX") or 0) > 0:
            patches.append(patch)
    harp = np.array([p.harpnum for p in patches])
    print(
        "| patch | μ | USFLUX (Mx) | FLUX / USFLUX | of the whole box | TUF / USFLUX | (TPF + TNF) / USFLUX |\n"
        "|---|---|---|---|---|---|---|"
    )
    off = []
    for patch in patches:
        got = measure_patch(patch, ("flux", "tuf", "tpf", "tnf"))
        whole = float(measure(patch.field, patch.scale_mm, "flux")["flux"][0])
        told = float(patch.keywords["USFLUX"])
        off.append(abs(got["flux"] / told - 1))
        print(
            f"| {patch.id} | {patch.mu:.2f} | {told:.3g} | {got['flux'] / told:.2f} | {whole / told:.2f} "
            f"| {got['tuf'] / told:.2f} "
            f"| {(got['tpf'] + got['tnf']) / told:.2f} |"
        )
    print(f"\noff by {np.median(off):.1%} in the median; {np.sum(np.array(off) > 0.4)} of {len(off)} by over 40 %")
    if not options.fit:
        return
    tried, table = list(itertools.product(*_CHOICES.values())), []
    for numbers in tried:
        for name, number in zip(_CHOICES, numbers, strict=True):
            setattr(region, name, number)
        table.append(ratios(patches))
    logs = np.abs(np.log(np.maximum(np.array(table), 0.05)))
    weight = np.array([1.0 / (harp == h).sum() for h in harp])
    unseen = np.zeros(len(patches))
    for h in np.unique(harp):
        out = harp == h
        # a region that is off by a factor e is as bad as one that is off by more
        best = int(np.argmin((np.minimum(logs[:, ~out], 1.0) ** 2 * weight[~out]).sum(1)))
        unseen[out] = np.abs(np.array(table)[best, out] - 1)
        print(f"without HARP {h}: {dict(zip(_CHOICES, tried[best], strict=True))}")
    print(
        f"unseen HARPs: off by {np.median(unseen):.1%} in the median; "
        f"{np.sum(unseen > 0.4)} of {len(unseen)} by over 40 %"
    )


if __name__ == "__main__":
    main()
