"""Translation against what else there is, on regions that no map was fitted on: a table for each kind.

    solquery simulate --archive pairs --regions 53 --frames 20 --keep 2 --seed 2900 \\
        --quantity radial --quantity line-of-sight --quantity noise-free
    python benchmarks/translation.py --archive pairs --model physical

Two thirds of the regions are fitted on, one third is held out. For each kind: doing nothing; a factor for all pixels;
for fields along and across the line of sight the factor and the cosine of the heliocentric angle; interpolation over
missing blocks; the maps of `solquery.translation`, each method alone; and a small U-Net (about 30,000 weights,
small_unet.py) trained on the same pairs. Errors are in gauss on a grid of 1.82 Mm, over the pixels that the map
changes, with the band that nine of ten resamplings of the held-out regions fall into. `--observed` adds real pairs,
SHARP files of which ``magnetogram`` and ``Br`` lie in two folders.
"""

from __future__ import annotations

import argparse
import glob
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from small_unet import MOST, Maker, divided, trained

from solquery import Archive, Model, Patch, SolqueryError, read_sharp
from solquery.sharp.header import RSUN_MM
from solquery.translation import KINDS, Kind, Pair, pairs_of_archive, translate
from solquery.translation.filters import harmonic
from solquery.translation.fitting import STRONG_GAUSS, Sample, fit_methods, samples_of, scores
from solquery.translation.grid import values_on, whole_window
from solquery.translation.maps import METHODS, WITHOUT_MODEL, left_as_is, smoothly_filled


def regressions(kind: Kind, samples: Sequence[Sample]) -> dict[str, Maker]:
    """What people do pixel by pixel; factors by least squares on the same pairs."""
    out: dict[str, Maker] = {}

    def with_factor(name: str, base: Maker) -> None:
        tops = sum(float((base(s) * s.wanted)[s.counts].sum(dtype=np.float64)) for s in samples)
        ends = sum(float(np.square(base(s))[s.counts].sum(dtype=np.float64)) for s in samples)
        factor = tops / max(ends, 1e-9)
        out[f"{name} x {factor:.3f}"] = lambda s: factor * base(s)

    if kind.where == "missing":
        out["interpolation"] = lambda s: smoothly_filled(s.one)
        out["harmonic"] = lambda s: harmonic(s.one)
        return out
    with_factor("field", lambda s: s.one.field)
    if kind.name == "los-to-radial":
        out["field / mu"] = lambda s: s.one.field / s.one.mu
        with_factor("field / mu", lambda s: s.one.field / s.one.mu)
    if kind.name == "radial-to-los":
        out["field x mu"] = lambda s: s.one.field * s.one.mu
        with_factor("field x mu", lambda s: s.one.field * s.one.mu)
    return out


def judged(samples: Sequence[Sample], made: Sequence[np.ndarray], seed: int = 0) -> dict[str, Any]:
    """Errors over all pixels that count, over strong ones, and of the flux beyond 100 G of each region."""
    regions = sorted({s.region for s in samples})
    sums = np.zeros((len(regions), 5))
    fluxes = []
    for sample, values in zip(samples, made, strict=True):
        wanted, got = sample.wanted[sample.counts].astype(np.float64), values[sample.counts].astype(np.float64)
        square, strong = (got - wanted) ** 2, np.abs(wanted) > STRONG_GAUSS
        row = sums[regions.index(sample.region)]
        row += [square.sum(), len(square), square[strong].sum(), strong.sum(), (wanted**2).sum()]
        flux = [np.abs(f[np.abs(f) > 100]).sum() for f in (wanted, got)]
        if flux[0] > 0:
            fluxes.append(flux[1] / flux[0])
    rng = np.random.default_rng(seed)
    drawn = [sums[rng.integers(0, len(sums), len(sums))].sum(0) for _ in range(400)]
    band = np.percentile([np.sqrt(d[0] / max(d[1], 1)) for d in drawn], [5, 95])
    total = sums.sum(0)
    return {
        "rms_gauss": float(np.sqrt(total[0] / total[1])), "band": band.round(2).tolist(),
        "rms_strong_gauss": float(np.sqrt(total[2] / max(total[3], 1))), "unexplained": float(total[0] / total[4]),
        "flux_ratio": float(np.median(fluxes)) if fluxes else float("nan"),
        "flux_off": float(np.median(np.abs(np.array(fluxes) - 1))) if fluxes else float("nan"),
    }  # fmt: skip


def table_of(
    kind: Kind, pairs: Sequence[Pair], model: Model | None, steps: int, seed: int, source: str, save: Path | None
) -> tuple[dict[str, Any], Maker | None]:
    """Every way, fitted on two thirds of the regions and judged on the others; and the U-Net."""
    regions = sorted({pair.region for pair in pairs})
    held = set(np.random.default_rng(seed).permutation(regions)[: max(len(regions) // 3, 1)].tolist())
    fit_on, ask = ([p for p in pairs if (p.region in held) is which] for which in (False, True))
    # without a model a map's grid holds the whole patch; here all ways share the view of the model
    samples, asked = samples_of(fit_on, kind, model), samples_of(ask, kind, model)
    ways: dict[str, Maker] = {"nothing": lambda s: left_as_is(kind, s.one), **regressions(kind, samples)}
    fitted = fit_methods(samples, kind, METHODS if model is not None else WITHOUT_MODEL, model, source=source)
    for method, found in fitted.items():
        ways[method] = lambda s, found=found: found.fields([s.one], model)[0]  # type: ignore[misc]
    if save is not None:
        # the better of both that need no model, as `fit_translation` takes it
        taken = min(WITHOUT_MODEL, key=lambda method: fitted[method].error[method]["rms_gauss"])
        fitted[taken].save(save / f"{kind.name}.safetensors")
    training: dict[str, Any] = {}
    if steps:
        ways["U-Net"], training = trained(kind, samples, steps, seed)
        apart = divided(samples, np.random.default_rng(seed))[0]
        checked = [s for s in samples if s.region in apart][:MOST]
        other = filtered([s for s in samples if s.region not in apart], kind)
        training["filters_validation_gauss"] = scores(checked, [other(s) for s in checked])["rms_gauss"]
    rows = {name: judged(asked, [make(s) for s in asked], seed) for name, make in ways.items()}
    numbers = [[len(some), len({s.region for s in some})] for some in (samples, asked)]
    return {"fitted_on": numbers[0], "asked": numbers[1], "rows": rows, "unet": training}, ways.get("U-Net")


def observed_pairs(los: str, radial: str) -> list[Pair]:
    """SHARP files of one instant in two folders; those of bad quality and beyond mu 0.3 are left out."""
    out = []
    for file in sorted(glob.glob(f"{los}/*.magnetogram.fits")):
        other = Path(radial) / Path(file).name.replace(".magnetogram.", ".Br.")
        try:
            pair = Pair(read_sharp(file), read_sharp(other)) if other.is_file() else None
        except SolqueryError:
            continue
        if pair is not None and pair.given.mu > 0.3:
            out.append(pair)
    return out


def shown(title: str, found: dict[str, Any]) -> None:
    """One table as text."""
    print(f"\n{title}: fitted on {found['fitted_on']}, asked on {found['asked']} (patches, regions)")
    print(f"{'':24}{'error, G':>9} {'90 % band':>15} {'>200 G':>8} {'unexplained':>12} {'flux':>7} {'flux off':>9}")
    for name, row in found["rows"].items():
        band = "{:.1f} to {:.1f}".format(*row["band"])
        print(
            f"{name:24}{row['rms_gauss']:9.1f} {band:>15} {row['rms_strong_gauss']:8.0f} {row['unexplained']:12.1%} "
            f"{row['flux_ratio']:7.2f} {row['flux_off']:9.1%}", flush=True,
        )  # fmt: skip
    if found.get("unet"):
        u = found["unet"]
        print(
            f"the U-Net: {u['parameters']} weights, {u['steps']} steps in {u['cpu_minutes']:.1f} minutes of one core, "
            f"best at {u['best_step']}; on the regions that it was checked on {u['validation_gauss']:.1f} G, filters "
            f"{u['filters_validation_gauss']:.1f} G" + ("" if u["ended"] else "; stopped before it ended by itself"),
            flush=True,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", required=True)
    parser.add_argument("--where", help="SQL condition")
    parser.add_argument("--model", help="also try its generator")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--most", type=int, default=10**6, help="pairs of a kind at most")
    parser.add_argument("--steps", type=int, default=20_000, help="of the U-Net at most; 0 leaves it out")
    parser.add_argument("--observed", nargs=2, metavar=("LOS", "BR"), help="folders of real files")
    parser.add_argument("--mdi", metavar="FOLDER", help="full disks of MDI: what the map that ships makes of them")
    parser.add_argument("--save", type=Path, help="folder for the maps that need no model")
    parser.add_argument("--source", default="", help="what the record of a saved map says of its pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Model.load(options.model) if options.model else None
    archive = Archive.open(options.archive)
    document: dict[str, Any] = {}
    if options.mdi:
        document["mdi"] = on_disks(options.mdi)
        if not options.json:
            print(*document["mdi"], sep="\n", flush=True)
    for name in options.kinds.split(","):
        began = time.perf_counter()
        pairs = [p for p, _ in zip(pairs_of_archive(archive, name, options.where), range(options.most), strict=False)]
        document[name], network = table_of(
            KINDS[name], pairs, model, options.steps, options.seed, options.source, options.save
        )
        document[name]["seconds"] = time.perf_counter() - began
        if not options.json:
            shown(name, document[name])
        if options.observed and name in ("los-to-radial", "radial-to-los"):
            real = observed_pairs(*options.observed)
            real = real if name == "los-to-radial" else [Pair(p.wanted, p.given) for p in real]
            document[f"{name}, real"] = on_real(KINDS[name], pairs, real, network, options.seed)
            if not options.json:
                shown(f"{name}, real", document[f"{name}, real"])
    if options.json:
        json.dump(document, sys.stdout, indent=1)


def on_real(
    kind: Kind, simulated: Sequence[Pair], real: Sequence[Pair], network: Maker | None, seed: int
) -> dict[str, Any]:
    """Ways fitted on the simulation, the U-Net of `table_of` among them, and filters of the other real regions."""
    samples, asked = samples_of(simulated, kind), samples_of(real, kind)
    ways: dict[str, Maker] = {"nothing": lambda s: left_as_is(kind, s.one), **regressions(kind, samples)}
    ways["filters, simulated"] = filtered(samples, kind)
    if network is not None:
        ways["U-Net, simulated"] = network
    rows = {name: judged(asked, [make(s) for s in asked], seed) for name, make in ways.items()}
    regions = sorted({s.region for s in asked})
    apart = {r: filtered([s for s in asked if s.region != r], kind) for r in regions}
    rows["filters, other real regions"] = judged(asked, [apart[s.region](s) for s in asked], seed)
    return {
        "fitted_on": [len(samples), len({s.region for s in samples})], "asked": [len(asked), len(regions)],
        "rows": rows,
    }  # fmt: skip


def on_disks(folder: str) -> list[dict[str, Any]]:
    """The middle of full disks of MDI, where foreshortening is small, and what the map that ships makes of them.

    Nobody knows what HMI would have seen: told are the noise of quiet pixels, by the median of their strength, and the
    factor between both fields over 300 G.
    """
    rows = []
    for file in sorted(glob.glob(f"{folder}/mdi.fd_*.fits")):
        with fits.open(file) as units:
            image = units[-1]
            header, field = image.header, np.asarray(image.data, np.float32)
        radius = float(header["RSUN_OBS"]) / float(header["CDELT1"]) if "RSUN_OBS" in header else float(header["R_SUN"])
        x, y, half = round(float(header["CRPIX1"])), round(float(header["CRPIX2"])), round(0.4 * radius)
        field = np.nan_to_num(field[y - half : y + half, x - half : x + half])
        scale = (RSUN_MM / radius,) * 2
        b0 = float(header.get("CRLT_OBS", header.get("SOLAR_B0", 0.0)))
        patch = Patch(
            field, scale, Path(file).stem, "MDI disk", "real", "line-of-sight", "magnetogram", latitude_deg=b0,
            longitude_deg=0.0, b0_deg=b0, mu=1.0,
        )  # fmt: skip
        made = translate(patch, "mdi-to-hmi")
        given = values_on(patch, whole_window(patch, made.scale_mm or scale))[0]
        strong = np.abs(given) > 300
        row = {"quiet_given": given[~strong], "quiet_made": made.field[~strong]}
        told = {name: float(np.nanmedian(np.abs(v)) / 0.6745) for name, v in row.items()}
        factor = float(np.nansum(made.field[strong] * given[strong]) / np.square(given[strong]).sum(dtype=np.float64))
        rows.append({"file": Path(file).name, **told, "strong": int(strong.sum()), "factor": factor})
    return rows


def filtered(samples: list[Sample], kind: Kind) -> Maker:
    """The map of method filters."""
    found = fit_methods(samples, kind, ["filters"])["filters"]
    return lambda s: found.fields([s.one])[0]


if __name__ == "__main__":
    main()
