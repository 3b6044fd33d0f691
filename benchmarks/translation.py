"""Translation against what else there is, on regions that no map was fitted on: a table for each kind.

    solquery simulate --archive pairs --regions 53 --frames 20 --keep 2 --seed 2900 \\
        --quantity radial --quantity line-of-sight --quantity noise-free
    python benchmarks/translation.py --archive pairs --model physical

Two thirds of the regions are fitted on, one third is held out. For each kind: doing nothing; a factor for all pixels;
for fields along and across the line of sight the factor and the cosine of the heliocentric angle; interpolation over
missing blocks; the maps of `solquery.translation`, each method alone; and a small U-Net (about 30,000 weights) trained
on the same pairs. Errors are in gauss on a grid of 1.82 Mm, over the pixels that the map changes, with the band that
nine of ten resamplings of the held-out regions fall into. `--observed` adds real pairs, SHARP files of which
``magnetogram`` and ``Br`` lie in two folders.
"""

from __future__ import annotations

import argparse
import glob
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from torch import nn
from torch.nn import functional as F

from solquery import Archive, Model, Patch, SolqueryError, read_sharp
from solquery.sharp.header import RSUN_MM
from solquery.translation import KINDS, Kind, Pair, pairs_of_archive, translate
from solquery.translation.fitting import STRONG_GAUSS, Sample, fit_methods, samples_of
from solquery.translation.grid import values_on, whole_window
from solquery.translation.maps import METHODS, left_as_is, smoothly_filled

Maker = Callable[[Sample], np.ndarray]


class UNet(nn.Module):
    """Two levels down and up again, 12 to 36 channels; gives what is to be added to the field."""

    def __init__(self, channels: int, width: int = 12) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU())

        self.first, self.second = block(channels, width), block(width, 2 * width)
        self.third = block(2 * width, 2 * width)
        self.up_second, self.up_first = block(4 * width, width), block(2 * width, width)
        self.last = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.first(x)
        b = self.second(F.avg_pool2d(a, 2))
        c = self.third(F.avg_pool2d(b, 2))
        b = self.up_second(torch.cat([b, F.interpolate(c, scale_factor=2.0)], 1))
        a = self.up_first(torch.cat([a, F.interpolate(b, scale_factor=2.0)], 1))
        return self.last(a)


def channels(kind: Kind, sample: Sample) -> np.ndarray:
    """(5, H, W): field in kG, angle, its direction times the field, missing, saturated."""
    one = sample.one
    start = smoothly_filled(one) if kind.where == "missing" else one.field
    tan = 1.0 / one.mu - 1.0
    return np.stack([start / 1000, tan, one.toward[1], one.missing, one.saturated]).astype(np.float32)


def padded(x: np.ndarray) -> torch.Tensor:
    """(1, C, H, W) with sides that are multiples of four, and 48 at least."""
    ny, nx = x.shape[-2:]
    add = [max(-(-n // 4) * 4, 48) - n for n in (ny, nx)]
    return torch.from_numpy(np.pad(x, ((0, 0), (0, add[0]), (0, add[1]))))[None]


def unet(kind: Kind, samples: Sequence[Sample], steps: int, seed: int) -> Maker:
    """Trained on crops of 48 x 48 pixels, four at a time, turned upside down and in sign at random."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = UNet(5)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    data = []
    for s in samples:
        more = np.stack([s.wanted / 1000, s.counts.astype(np.float32)])
        data.append(padded(np.concatenate([channels(kind, s), more.astype(np.float32)]))[0])
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / steps))
        crops: list[torch.Tensor] = []
        while len(crops) < 4:
            whole = data[rng.integers(len(data))]
            y, x = (int(rng.integers(0, n - 47)) for n in whole.shape[-2:])
            crop = whole[:, y : y + 48, x : x + 48]
            if not crop[-1].any() and rng.random() < 0.95:
                continue
            crop = crop.flip(1) if rng.random() < 0.5 else crop
            if rng.random() < 0.5:
                crop = torch.cat([-crop[:1], crop[1:5], -crop[5:6], crop[6:]])
            crops.append(crop)
        batch = torch.stack(crops)
        made = batch[:, :1] + network(batch[:, :5])
        counts = batch[:, 6:]
        loss = ((made - batch[:, 5:6]) * counts).square().sum() / counts.sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()

    def make(sample: Sample) -> np.ndarray:
        x = channels(kind, sample)
        with torch.no_grad():
            added = network(padded(x))[0, 0].numpy()[: x.shape[1], : x.shape[2]]
        return 1000 * (x[0] + added)

    return make


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
) -> dict[str, Any]:
    """Every way, fitted on two thirds of the regions and judged on the others."""
    regions = sorted({pair.region for pair in pairs})
    held = set(np.random.default_rng(seed).permutation(regions)[: max(len(regions) // 3, 1)].tolist())
    fit_on, ask = ([p for p in pairs if (p.region in held) is which] for which in (False, True))
    # without a model a map's grid holds the whole patch; here all ways share the view of the model
    samples, asked = samples_of(fit_on, kind, model), samples_of(ask, kind, model)
    ways: dict[str, Maker] = {"nothing": lambda s: left_as_is(kind, s.one), **regressions(kind, samples)}
    fitted = fit_methods(samples, kind, METHODS if model is not None else ["filters"], model, source=source)
    for method, found in fitted.items():
        ways[method] = lambda s, found=found: found.fields([s.one], model)[0]  # type: ignore[misc]
    if save is not None:
        fitted["filters"].save(save / f"{kind.name}.safetensors")
    if steps:
        ways["U-Net"] = unet(kind, samples, steps, seed)
    rows = {name: judged(asked, [make(s) for s in asked], seed) for name, make in ways.items()}
    return {
        "fitted_on": [len(samples), len(regions) - len(held)], "asked": [len(asked), len(held)], "rows": rows
    }  # fmt: skip


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", required=True)
    parser.add_argument("--where", help="SQL condition")
    parser.add_argument("--model", help="also try its generator")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--most", type=int, default=10**6, help="pairs of a kind at most")
    parser.add_argument("--steps", type=int, default=300, help="of the U-Net; 0 leaves it out")
    parser.add_argument("--observed", nargs=2, metavar=("LOS", "BR"), help="folders of real files")
    parser.add_argument("--mdi", metavar="FOLDER", help="full disks of MDI: what the map that ships makes of them")
    parser.add_argument("--save", type=Path, help="folder for the maps of method filters")
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
        document[name] = table_of(KINDS[name], pairs, model, options.steps, options.seed, options.source, options.save)
        document[name]["seconds"] = time.perf_counter() - began
        if not options.json:
            shown(name, document[name])
        if options.observed and name in ("los-to-radial", "radial-to-los"):
            real = observed_pairs(*options.observed)
            real = real if name == "los-to-radial" else [Pair(p.wanted, p.given) for p in real]
            document[f"{name}, real"] = on_real(KINDS[name], pairs, real, options.steps, options.seed)
            if not options.json:
                shown(f"{name}, real", document[f"{name}, real"])
    if options.json:
        json.dump(document, sys.stdout, indent=1)


def on_real(kind: Kind, simulated: Sequence[Pair], real: Sequence[Pair], steps: int, seed: int) -> dict[str, Any]:
    """Ways fitted on the simulation, and filters fitted on the other real regions, judged on real pairs."""
    samples, asked = samples_of(simulated, kind), samples_of(real, kind)
    ways: dict[str, Maker] = {"nothing": lambda s: left_as_is(kind, s.one), **regressions(kind, samples)}
    ways["filters, simulated"] = filtered(samples, kind)
    if steps:
        ways["U-Net, simulated"] = unet(kind, samples, steps, seed)
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
