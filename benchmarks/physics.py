"""How much faster `measure` is than a loop over patches with numpy and scipy, of the same twelve definitions.

python benchmarks/physics.py --patches 1000 --threads 1 2

Both run in one process on the same patches (simulated regions, resized to 128 x 128); the loop on fewer of them. The
largest differences between the two are printed as well: it is the same numbers that are compared.
"""

from __future__ import annotations

import argparse
import os
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.ndimage import binary_dilation, center_of_mass  # noqa: E402
from scipy.optimize import curve_fit  # noqa: E402
from scipy.special import ndtr  # noqa: E402

from solquery.archive import resize  # noqa: E402
from solquery.physics import fast, measure, parameters  # noqa: E402
from solquery.simulator import simulate_region  # noqa: E402

STANDARD = ("tuf", "tpf", "tnf", "net_flux", "psep", "tilt", "polarity", "area", "r", "sigma", "alpha", "grad")
_EDGES = np.arange(-1001.0, 1002.0, 2.0)
_SQUARE = np.ones((7, 7), bool)


def by_hand(b: np.ndarray) -> dict[str, float]:
    """The twelve parameters of one field (H, W) in G, as one writes them down."""
    plus, minus = np.where(b > 150, b, 0.0), np.where(b < -150, -b, 0.0)
    out = {"tuf": np.abs(b).sum(), "tpf": plus.sum(), "tnf": minus.sum(), "net_flux": b.sum()}
    out["area"] = float((np.abs(b) > 150).sum())
    out["psep"] = out["tilt"] = out["polarity"] = np.nan
    if out["tpf"] > 0 and out["tnf"] > 0:
        dy, dx = np.subtract(center_of_mass(plus), center_of_mass(minus))
        lead = np.sign(dx)
        out |= {"psep": np.hypot(dy, dx), "polarity": lead, "tilt": np.degrees(np.arctan2(lead * dy, lead * dx))}
    out["r"] = np.abs(b)[binary_dilation(b > 150, _SQUARE) & binary_dilation(b < -150, _SQUARE)].sum()
    density, _ = np.histogram(np.clip(b, -1000, 1000), _EDGES, density=True)
    middle = 0.5 * (_EDGES[1:] + _EDGES[:-1])
    start = (middle[density.argmax()], 1 / (np.sqrt(2 * np.pi) * density.max()))
    (_, width), _ = curve_fit(lambda _, m, s: np.diff(ndtr((_EDGES - m) / s)) / 2, middle, density, start)
    out["sigma"] = abs(width)
    power = np.abs(np.fft.fft2(b)) ** 2
    ky, kx = np.fft.fftfreq(b.shape[0]) * b.shape[0], np.fft.fftfreq(b.shape[1]) * b.shape[1]
    ring = np.rint(np.hypot(ky[:, None], kx[None, :])).astype(int).ravel()
    mean = np.bincount(ring, power.ravel()) / np.bincount(ring)
    out["alpha"] = np.polyfit(np.log(np.arange(1, 26)), np.log(mean[1:26]), 1)[0]
    out["grad"] = np.hypot(*np.gradient(b)).mean()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--loop", type=int, default=60, help="patches for the loop")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    made = [p.field for k in range(20) for p in simulate_region(1, k, 3)]
    few = np.stack([np.asarray(resize(field, (128, 128)), dtype=np.float32) for field in made])
    fields = np.tile(few, (-(-options.patches // len(few)), 1, 1))[: options.patches]

    by_hand(few[0])
    began = time.perf_counter()
    slow = [by_hand(field.astype(np.float64)) for field in few[: options.loop]]
    loop = min(options.loop, len(few)) / (time.perf_counter() - began)
    print(f"{len(fields):,} patches of 128 x 128; numba {'there' if fast.available() else 'missing: torch alone'}")
    print(f"loop, numpy and scipy            {loop:9.0f} patches a second")

    def rate(names: tuple[str, ...], what: str) -> None:
        measure(fields[:40], None, names)  # imports, compilation and caches are no part of the rate
        began = time.perf_counter()
        measure(fields, None, names)
        got = len(fields) / (time.perf_counter() - began)
        print(f"{what:32s} {got:9.0f}   {got / loop:6.1f} times the loop")

    for threads in options.threads:
        torch.set_num_threads(threads)
        rate(STANDARD, f"measure, twelve, {threads} thread(s)")
        rate(tuple(parameters()), f"measure, all {len(parameters())}, {threads} thread(s)")

    quick = measure(few[: options.loop], None, STANDARD)
    for name in STANDARD:
        apart = np.abs(quick[name].numpy() - np.array([s[name] for s in slow]))
        print(f"{name:9s} differs by at most {np.nanmax(apart / np.abs([s[name] for s in slow])):.1e} relative")
    big = [(p.field, p.scale_mm) for k in range(6) for p in simulate_region(2, k, 1)]
    torch.set_num_threads(1)
    began = time.perf_counter()
    for field, scale in big:
        measure(field, scale, STANDARD)
    each = (time.perf_counter() - began) / len(big)
    pixels = np.mean([f.size for f, _ in big])
    print(f"native fields of {pixels:,.0f} pixels on average: {1e3 * each:.1f} ms each, one thread")


if __name__ == "__main__":
    main()
