"""Simulated regions beside catalogues of real ones: Kolmogorov-Smirnov distances of fluxes, R, separations and more.

    python scripts/compare_catalogue.py --tables DIR [--regions 1000] [--frames 20] [--keep 3] [--seed 3]

DIR holds `sharp_keywords.csv.gz` (USFLUX and R_VALUE of frames, HARPNUM) and `bipoles.csv` (bipoles of 1996 to 2025).
Simulated frames are measured as SHARP measures: flux over the region's own field, R_VALUE from the line-of-sight field.
The catalogues hold regions with a NOAA number, so that faint simulated ones are left out. Separation, tilt and
imbalance are those of each region's frame with most flux.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from solquery.physics import measure
from solquery.simulator import simulate_region

#: heliographic degree, Mm
DEGREE_MM = 12.147


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Rows of a table, plain or compressed."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def numbers(table: list[dict[str, str]], name: str) -> np.ndarray:
    """A column as float64; empty cells are NaN."""
    return np.array([float(row[name] or "nan") for row in table])


def catalogued(folder: Path) -> dict[str, np.ndarray]:
    """The real distributions."""
    frames = rows(folder / "sharp_keywords.csv.gz")
    flux, r_value = numbers(frames, "usflux_mx"), numbers(frames, "r_value")
    largest: dict[str, float] = defaultdict(float)
    for row, value in zip(frames, flux, strict=True):
        largest[row["harpnum"]] = max(largest[row["harpnum"]], value)
    out = {"log10 USFLUX of frames": np.log10(flux), "log10 largest USFLUX": np.log10(list(largest.values()))}
    out["R_VALUE of frames, 0 included"] = r_value
    out["R_VALUE of frames, where not 0"] = r_value[r_value > 0]
    bipoles = rows(folder / "bipoles.csv")
    latitude = numbers(bipoles, "Lat(whole)")
    plus, minus = numbers(bipoles, "Flux(pos, Mx)"), -numbers(bipoles, "Flux(neg, Mx)")
    turn = (numbers(bipoles, "Lon(pos)") - numbers(bipoles, "Lon(neg)") + 180.0) % 360.0 - 180.0
    dx = turn * np.cos(np.radians(latitude)) * DEGREE_MM
    dy = (numbers(bipoles, "Lat(pos)") - numbers(bipoles, "Lat(neg)")) * DEGREE_MM
    tilt = (np.degrees(np.arctan2(dy, dx)) + 90.0) % 180.0 - 90.0
    out["separation (Mm)"] = np.hypot(dx, dy)
    out["tilt toward the equator (deg)"] = -np.sign(latitude) * tilt
    out["|latitude| (deg)"] = np.abs(latitude)
    out["imbalance"] = np.abs(plus - minus) / (plus + minus)
    return out


def simulated(regions: int, frames: int, keep: int, seed: int) -> dict[str, np.ndarray]:
    """The same of simulated regions."""
    found: dict[str, list[float]] = defaultdict(list)
    for index in range(regions):
        patches = simulate_region(seed, index, frames, keep=keep, quantity=("radial", "line-of-sight"))
        if patches[0].truth["faint"]:
            continue
        fluxes = []
        for radial, los in zip(patches[::2], patches[1::2], strict=True):
            fluxes.append(float(measure(radial.field, radial.scale_mm, ("flux",))["flux"][0]))
            value = float(measure(los.field, los.scale_mm, ("r_value",))["r_value"][0])
            found["R_VALUE of frames, 0 included"].append(value if np.isfinite(value) else 0.0)
        best = patches[2 * int(np.argmax(fluxes))]
        shape = measure(best.field, best.scale_mm, ("psep", "tilt", "tpf", "tnf"))
        found["log10 USFLUX of frames"] += list(np.log10(fluxes))
        found["log10 largest USFLUX"].append(float(np.log10(max(fluxes))))
        found["separation (Mm)"].append(float(shape["psep"][0]))
        found["tilt toward the equator (deg)"].append(-np.sign(best.latitude_deg) * float(shape["tilt"][0]))
        found["|latitude| (deg)"].append(abs(best.latitude_deg))
        plus, minus = float(shape["tpf"][0]), float(shape["tnf"][0])
        found["imbalance"].append(abs(plus - minus) / (plus + minus))
    out = {name: np.array(values) for name, values in found.items()}
    r_value = out["R_VALUE of frames, 0 included"]
    out["R_VALUE of frames, where not 0"] = r_value[r_value > 0]
    return {name: values[np.isfinite(values)] for name, values in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--regions", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--keep", type=int, default=3)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    real = catalogued(options.tables)
    made = simulated(options.regions, options.frames, options.keep, options.seed)
    print("| | catalogue: 5, 50, 95 % | simulated: 5, 50, 95 % | KS |")
    print("|---|---|---|---|")
    for name, values in real.items():
        cells = [", ".join(f"{x:.3g}" for x in np.percentile(v, [5, 50, 95])) for v in (values, made[name])]
        print(f"| {name} | {cells[0]} | {cells[1]} | {ks_2samp(values, made[name]).statistic:.2f} |")


if __name__ == "__main__":
    main()
