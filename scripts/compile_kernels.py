"""Compile what numba compiles, and keep it: whoever starts next, several processes at once among them, finds it done.

python scripts/compile_kernels.py

It reads, simulates, measures, generates, embeds, searches, reranks and augments a few patches, as anybody would; what
is compiled on the way lies where numba keeps it (`solquery.numba_cache`).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits

from solquery import Archive, Model, SearchSession, embed_archive, simulate_region
from solquery.encoder.augment import augment
from solquery.generator.optimized import optimize_for_inference
from solquery.sharp.quick_reading import quick_units
from solquery.steering.latents import frozen


def compile_kernels(folder: Path) -> None:
    """Run every compiled function once, on an archive in a folder that does not exist yet."""
    archive, model = Archive.create(folder), Model.load()
    archive.add(patch for index in range(2) for patch in simulate_region(seed=0, index=index, frames=2))
    embed_archive(archive, model)
    SearchSession(archive, model).search(next(archive.patches()), k=2, rerank=2)
    with frozen(ready := optimize_for_inference(model.generator)):
        ready(torch.zeros(1, ready.latent_dim, requires_grad=True)).sum().backward()
    fields = torch.zeros(2, 1, *model.preset.shape)
    augment(fields, model.preset.encoder.augment, torch.Generator().manual_seed(0))
    stored = fits.CompImageHDU(np.zeros((4, 4), np.int32))
    stored.header["BSCALE"] = 0.01
    fits.HDUList([fits.PrimaryHDU(), stored]).writeto(folder / "as-jsoc.fits", checksum=True)
    quick_units(folder / "as-jsoc.fits")


def main() -> None:
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        compile_kernels(Path(folder, "archive"))
    print(f"compiled, or found compiled, in {time.process_time() - began:.1f} s of processor time")


if __name__ == "__main__":
    main()
