"""From nothing: an archive to search, and networks trained on another one, for a reproduction without either.

Every step resumes: the archives take only what they lack, the trainers go on from their checkpoints, and a model that
is there is used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..aliases import Document
from ..archive.samples import sample_patches
from ..archive.store import Archive
from ..config import Preset
from ..model import Model
from ..model_files import is_model
from ..patch import Patch
from ..simulator import simulate

__all__ = ["FULL_TRAINING", "QUICK_TRAINING", "Training", "simulated_archive", "trained_model", "training_folder"]

Progress = Callable[[str, float], None]

#: seeds of the regions that are searched, and of those trained on, which are others
REGIONS_SEED, TRAINING_SEED = 7, 1


@dataclass(frozen=True)
class Training:
    """How much is trained."""

    #: simulated regions and frames of each; 1,053 times 20 is what the shipped models saw
    regions: int = 1_053
    frames: int = 20
    #: images shown to each network; None: the preset's plan
    images: int | None = None
    #: latents for the support vector machines (paper, section 4)
    latents: int = 10_000


FULL_TRAINING = Training()
QUICK_TRAINING = Training(regions=60, frames=4, images=2_000, latents=1_000)


def simulated_archive(
    folder: str | Path,
    regions: int,
    frames: int,
    progress: Progress | None = None,
    samples: bool = True,
    seed: int = REGIONS_SEED,
) -> Archive:
    """The archive in `folder`, made if it is not there, completed if an earlier run was cut short.

    Simulated regions of `seed`, by default one that no shipped model was trained on, and the real samples of the
    package. A region's frames depend on how many there are: another number of them needs another folder.
    """
    tell = progress or _silent
    Path(folder).parent.mkdir(parents=True, exist_ok=True)
    archive = Archive.open_or_create(str(folder))
    have = set(archive.ids())
    wanted = regions * frames

    def missing() -> Iterator[Patch]:
        for k, patch in enumerate(simulate(regions, frames, seed), start=1):
            if k % 20 == 0 or k == wanted:
                tell(f"simulating active regions: {k} of {wanted} patches", k / wanted)
            if patch.id not in have:
                yield patch

    if sum(name.startswith(f"sim-{seed}-") for name in have) < wanted:
        archive.add(missing())
    real = [patch for patch in sample_patches() if patch.id not in have] if samples else []
    if real:
        archive.add(real)
    return archive


def _silent(text: str, fraction: float) -> None:
    pass


def training_folder(out: str | Path, preset: Preset, plan: Training = FULL_TRAINING) -> Path:
    """Where `trained_model` keeps its archive, the runs ``generator`` and ``encoder``, and the model."""
    return Path(out) / f"trained-{preset.name}-{plan.regions}x{plan.frames}-{plan.images or 'all'}"


def trained_model(
    out: str | Path, preset: Preset, plan: Training = FULL_TRAINING, progress: Progress | None = None
) -> tuple[Model, list[Path]]:
    """Simulate regions, train generator and encoder on them, fit the directions, and save it all as a model.

    Parameters
    ----------
    out
        Everything is in ``out/trained-PRESET-SIZE``: archive, the two run folders, the model.
    preset
        Of the model.
    plan
        How much.
    progress
        Called with a text and the fraction done.

    Returns
    -------
    The model, and the run folders of generator and encoder.
    """
    import torch

    from ..archive.prepare import preset_key
    from ..encoder.training import train_encoder
    from ..generator.training import train_generator
    from ..model_build import build_model

    tell = progress or _silent
    folder = training_folder(out, preset, plan)
    runs = [folder / "generator", folder / "encoder"]
    if is_model(folder / "model"):
        return Model.load(folder / "model", preset=preset), runs
    folder.mkdir(parents=True, exist_ok=True)
    archive = simulated_archive(folder / "archive", plan.regions, plan.frames, tell, False, TRAINING_SEED)
    data = archive.prepared_memmap(preset)[1]
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def counting(what: str) -> Callable[[Document], None]:
        def step(entry: Document) -> None:
            total = entry.get("of_images") or plan.images or 0
            tell(f"{what}, {int(entry['images']):,} images", entry["images"] / total if total else 0.0)

        return step

    generator, encoder = preset.generator, preset.encoder
    if plan.images is not None:
        # growing takes longer than a short training has
        generator = dataclasses.replace(generator, images=plan.images, grow_images=(), fade_images=1)
        encoder = dataclasses.replace(encoder, images=plan.images)
    tell("training the generator", 0.0)
    train_generator(
        generator, data, runs[0], preset.shape, seed=TRAINING_SEED, device=device,
        progress=counting("training the generator"),
        provenance={"preset": preset.name, "prepared": preset_key(preset)},
    )  # fmt: skip
    tell("training the encoder", 0.0)
    train_encoder(
        encoder, data, runs[1], seed=TRAINING_SEED, device=device, progress=counting("training the encoder"),
        provenance={"preset": preset.name},
    )  # fmt: skip
    model = build_model(
        preset.name,
        *runs,
        preset=preset,
        latents=plan.latents,
        seed=TRAINING_SEED,
        progress=lambda text: tell(text, 0.0),
    )
    model.save(folder / "model")
    return model, runs
