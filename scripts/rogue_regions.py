"""Regions that break the rules, as FITS files and a table of bipoles; see docs/how-to/rogue-regions.md.

python scripts/rogue_regions.py --model physical --number 500 --hale anti --joy anti --complexity high --out rogue
"""

from __future__ import annotations

import argparse
import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits

from solquery import Model, Patch, SolqueryError, measure, render, write_fits
from solquery.physics.geometry import centroids
from solquery.steering.rogue import draw_latents, named_targets

RSUN_MM = 696.0


def positions(shape: tuple[int, int], scale: tuple[float, float], latitude: float, longitude: float) -> tuple:
    """Heliographic latitude and Carrington longitude (H, W), degrees, of the pixels of a patch about a centre."""
    y = (np.arange(shape[0]) - (shape[0] - 1) / 2) * scale[0] / RSUN_MM
    x = (np.arange(shape[1]) - (shape[1] - 1) / 2) * scale[1] / RSUN_MM
    sine, angle = np.meshgrid(y, x, indexing="ij")
    cosine, tip = np.sqrt(1 - sine**2), np.radians(latitude)
    # the frame whose equator goes through the centre, turned back to the Sun's
    a, b, c = cosine * np.cos(angle), cosine * np.sin(angle), sine
    north = c * np.cos(tip) + a * np.sin(tip)
    lon = longitude + np.degrees(np.arctan2(b, a * np.cos(tip) - c * np.sin(tip)))
    return np.degrees(np.arcsin(np.clip(north, -1, 1))), lon % 360.0


def balanced(field: np.ndarray) -> np.ndarray:
    """The field with both polarities scaled to the geometric mean of their fluxes; net flux zero."""
    positive, negative = field.clip(min=0).sum(dtype=np.float64), -field.clip(max=0).sum(dtype=np.float64)
    if not (positive > 0 and negative > 0):
        raise ValueError("a patch of one polarity cannot be balanced")
    factor = np.sqrt(negative / positive)
    return np.where(field > 0, field * factor, field / factor)


def on_sine_latitude(field: np.ndarray, lat: np.ndarray, lon: np.ndarray, pixel_mm2: float, shape: tuple) -> np.ndarray:
    """Mean field (ny, nx) in G of the whole Sun in equal steps of sine latitude and longitude; flux is conserved."""
    ny, nx = shape
    row = np.clip(((np.sin(np.radians(lat)) + 1) / 2 * ny).astype(int), 0, ny - 1)
    column = (lon / 360 * nx).astype(int) % nx
    flux = np.bincount((row * nx + column).ravel(), (field * pixel_mm2).ravel().astype(np.float64), ny * nx)
    return (flux / (4 * np.pi * RSUN_MM**2 / (ny * nx))).reshape(ny, nx)


def mark_synthetic(path: Path) -> None:
    """Say in the header that nobody observed this; nine letters need the HIERARCH convention."""
    with fits.open(path) as units:
        units[0].header["HIERARCH SYNTHETIC"] = (True, "made by a generator, not observed")
        part = path.with_name(f".{path.name}.part")
        units.writeto(part, overwrite=True)
    os.replace(part, path)


def write_whole_sun(path: Path, field: np.ndarray) -> None:
    ny, nx = field.shape
    header = fits.Header({"CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "deg", "CUNIT2": "deg", "BUNIT": "G"})
    header.update({"CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2, "CRVAL1": 180.0, "CRVAL2": 0.0})
    header.update({"CDELT1": 360 / nx, "CDELT2": 360 / (np.pi * ny), "PV2_1": 1.0})
    header["HIERARCH SYNTHETIC"] = (True, "made by a generator, not observed")
    fits.writeto(path, field.astype(np.float32), header, overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--hale", choices=("normal", "anti"))
    parser.add_argument("--joy", choices=("normal", "anti"))
    parser.add_argument("--complexity", choices=("low", "high"))
    parser.add_argument("--hemisphere", choices=("north", "south"), default="north")
    parser.add_argument("--cycle", type=int, default=24)
    parser.add_argument(
        "--time", default="2014.07.01_00:00:00_TAI", help="what the files say; a transport run sets its own"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--balance", metavar="NYxNX", help="also whole-Sun maps in sine latitude, net flux zero: 180x360"
    )
    parser.add_argument("--out", type=Path, default=Path("rogue"))
    asked = parser.parse_args()
    if not (asked.hale or asked.joy or asked.complexity):
        parser.error("say which law: --hale, --joy or --complexity")
    model = Model.load(asked.model)
    names = (asked.hale, asked.joy, asked.complexity, asked.hemisphere, asked.cycle)
    try:
        z = draw_latents(model, named_targets(model, *names), asked.number, asked.seed)
    except SolqueryError as error:
        raise SystemExit(f"rogue_regions: {error}") from None
    scale, rng = model.preset.scale_mm, np.random.default_rng(asked.seed)
    assert scale is not None  # refused above
    side = 1.0 if asked.hemisphere == "north" else -1.0
    grid = tuple(int(n) for n in asked.balance.lower().split("x")) if asked.balance else None
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for k, latent in enumerate(z):
        x = render(model.generator, latent[None], model.preset.shape)[0, 0].numpy()
        field = np.asarray(model.preset.to_gauss(x), np.float32)
        # activity belts: 15 degrees from the equator, give or take 6
        latitude, longitude = side * float(np.clip(rng.normal(15, 6), 3, 35)), float(rng.uniform(0, 360))
        lat, lon = positions(field.shape, scale, latitude, longitude)
        name = f"rogue-{asked.seed}-{k:03d}"
        patch = Patch(
            field, scale, f"gen-{name}", f"GEN {name}", "generated", t_rec=asked.time, latitude_deg=latitude,
            longitude_deg=0.0, carrington_deg=longitude, b0_deg=0.0, mu=float(np.cos(np.radians(latitude))),
        )  # fmt: skip
        mark_synthetic(write_fits(replace(patch, file=f"{name}.fits"), asked.out / f"{name}.fits"))
        got = {key: float(v[0]) for key, v in measure(field, scale).items()}
        if not np.isfinite(got["psep"]):
            (asked.out / f"{name}.fits").unlink()
            print(f"{name} has one polarity only and is left out")
            continue
        poles = [centroids(torch.from_numpy(field)[None], None, sign)[0] for sign in (1, -1)]
        middle = tuple(((poles[0] + poles[1]) / 2).round().int().tolist())
        rows.append(
            {
                "id": patch.id, "file": f"{name}.fits", "latitude_deg": round(float(lat[middle]), 3),
                "carrington_longitude_deg": round(float(lon[middle]), 3), "flux_mx": f"{got['tuf']:.5g}",
                "positive_mx": f"{got['tpf']:.5g}", "negative_mx": f"{got['tnf']:.5g}",
                "separation_mm": round(got["psep"], 3), "separation_deg": round(np.degrees(got["psep"] / RSUN_MM), 4),
                "tilt_deg": round(got["tilt"], 3), "leading_polarity": int(got["polarity"]), "r_mx": f"{got['r']:.5g}",
                "z_norm": round(float(np.linalg.norm(latent)), 3),
            }
        )  # fmt: skip
        if grid is not None:
            sun = balanced(on_sine_latitude(field, lat, lon, scale[0] * scale[1], grid))
            write_whole_sun(asked.out / f"{name}-sun.fits", sun)
    with (asked.out / "bipoles.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["id"])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} regions in {asked.out}, bipoles.csv beside them")


if __name__ == "__main__":
    main()
