"""Train several networks side by side on one device, on prepared patches, until a common deadline.

    python scripts/train_prepared.py PLAN --data DIR --held-out DIR --runs RUNS --minutes 7 [--device cuda] [--out OUT]

PLAN is a TOML file with a table `[[run]]` for each training (`scripts/plans/`); DIR are folders that
`scripts/prepare_training.py` wrote. Each run is a process of its own with a run folder RUNS/NAME, with which the same
command goes on. One that fails writes `error.txt` there, and the others go on. Every half minute there is a line of
statistics of each. With --out the runs are packed at the end (`scripts/pack_runs.py`).

Needs numpy, scipy, numba, torch and safetensors.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pack_runs import MOST_FILES, pack_runs

from solquery.archive.prepare import preset_key
from solquery.archive.training_rows import Selection, TrainingRows
from solquery.config import EncoderConfig, GeneratorConfig, VaeGanConfig, changed, get_preset
from solquery.errors import SolqueryError
from solquery.io import write_atomically
from solquery.training.statistics import last_statistics

if TYPE_CHECKING:
    from solquery.protocols import Patches

#: seconds between lines of statistics, and after the deadline until a run that has not ended is ended
LINES_S, GRACE_S = 30.0, 40.0
#: patches of the short training that a rate is measured by, and the share of the time left that is planned with
_TRIAL_PATCHES, _PLANNED_SHARE = 2048, 0.9


@dataclass(frozen=True)
class Run:
    """One training of a plan.

    Attributes
    ----------
    name, kind, preset
        Of the run folder; ``generator`` or ``encoder``; whose data and settings it has.
    settings
        Changes to the settings of the preset, by name.
    seed
        Of weights, order and latents.
    start, warmup
        Name of a shipped model, or the folder of a model or run, whose weights it begins with; images from which a new
        discriminator alone learns.
    encoder
        Likewise the model whose encoder the generator is shown to.
    leave_out_harps
        Whose observed frames are not shown.
    minutes
        That it takes at most, beside the common deadline.
    measure_seconds, decay_share
        The speed is measured for so long, and `images` set to what fits before the deadline; the learning rate falls
        over this share of them. 0: `images` are those of the settings.
    threads
        Of the processor; 0: an equal share of the cores.
    picture_every, checkpoint_seconds
        Steps between pictures; seconds between checkpoints.
    """

    name: str
    kind: str
    preset: str
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    start: str | None = None
    warmup: int | None = None
    encoder: str | None = None
    leave_out_harps: tuple[int, ...] = ()
    minutes: float | None = None
    measure_seconds: float = 0.0
    decay_share: float = 0.0
    threads: int = 0
    picture_every: int = 4000
    checkpoint_seconds: float = 120.0

    def config(self) -> GeneratorConfig | EncoderConfig:
        """The settings of the preset with the changes of the plan."""
        preset = get_preset(self.preset)
        told = {name: tuple(value) if isinstance(value, list) else value for name, value in self.settings.items()}
        if self.kind == "encoder":
            return changed(preset.encoder, **told)
        config, more = preset.generator, {}
        if isinstance(config, VaeGanConfig):
            if self.start is not None:
                from solquery.generator.warm_start import begun_settings

                more = begun_settings(folder_of(self.start), self.warmup)
            if self.encoder is not None:
                more["embedding_critic"] = 1.0
        return changed(config, **(more | told))


def read_plan(path: Path) -> list[Run]:
    """The runs of a plan; SystemExit, naming the run, where something does not fit."""
    try:
        tables = tomllib.loads(path.read_text())["run"]
        runs = [Run(**{**table, "leave_out_harps": tuple(table.get("leave_out_harps", ()))}) for table in tables]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise SystemExit(f"{path} is no plan: {error}") from None
    names = [run.name for run in runs]
    if not 0 < len(runs) <= MOST_FILES or len(set(names)) < len(names):
        raise SystemExit(f"{path}: a plan has 1 to {MOST_FILES} runs, each with a name of its own")
    for run in runs:
        try:
            if run.kind not in ("generator", "encoder") or not run.name.replace("-", "").isalnum():
                raise ValueError("kind is generator or encoder, and a name has letters, digits and -")
            run.config()
        except (ValueError, TypeError, SolqueryError) as error:
            raise SystemExit(f"{path}, run {run.name!r}: {error}") from None
    return runs


def folder_of(source: str) -> Path:
    """The folder of a model that ships, or another, of a model or a run."""
    from solquery.model_parts import SHIPPED

    if Path(source).exists():
        return Path(source)
    if (SHIPPED / source).is_dir():
        return SHIPPED / source
    raise SolqueryError(f"no model or run {source!r}")


def read_rows(folder: Path, run: Run) -> TrainingRows:
    """Prepared patches of a folder, without the observed frames that the run leaves out, and what is known of them."""
    preset, about = get_preset(run.preset), json.loads((folder / "patches.json").read_text())
    if about["presets"].get(run.preset) != preset_key(preset):
        raise SolqueryError(f"{folder} was not prepared with preset {run.preset!r} as it is now: prepare it again")
    data: Patches = np.load(folder / f"{run.preset}.npy", mmap_mode="r")
    harps = np.array(about["harpnums"])
    real = np.array([source == "real" for source in about["sources"]])
    out = real & np.isin(harps, run.leave_out_harps)
    left_out = {*about["left_out_harps"], *harps[out].tolist()}
    absent = sorted(set(run.leave_out_harps) - left_out)
    if absent:
        raise SolqueryError(f"{folder} has no observed frame of HARP {', '.join(map(str, absent))} to leave out")
    if out.any():
        data = Selection(data, np.flatnonzero(~out))
        real, harps = real[~out], harps[~out]
    seen = sorted({int(number) for number in harps[real] if number})
    return TrainingRows(data, real, {}, tuple(seen), tuple(sorted(left_out)))


def held_out_patches(folder: Path, run: Run) -> np.ndarray:
    """The patches that `solquery train generator --held-out` takes of an archive."""
    from solquery.generator.epoch_choice import ACCURACY_PATCHES
    from solquery.training.run_folder import batch_order

    data = read_rows(folder, dataclasses.replace(run, leave_out_harps=())).data
    return np.asarray(data[batch_order(0, 0, len(data))[:ACCURACY_PATCHES]], np.float32)


class _Measured(Exception):
    """The speed has been measured for long enough."""


def measured(run: Run, call: Any, config: Any, rows: TrainingRows, runs: Path, until: float) -> Any:
    """Settings with the images, and the fall of the learning rate, that fit before the deadline at the speed of now.

    A short training on some of the patches, beside the other runs, tells the speed from its first line of statistics
    on; its folder is removed. A run that is there already keeps what its config.json says.
    """
    planned = runs / run.name / "config.json"
    decays = isinstance(config, VaeGanConfig)
    if planned.is_file():
        there = json.loads(planned.read_text())[run.kind]
        keys = ("images", "decay_images") if decays else ("images",)
        return dataclasses.replace(config, **{key: there[key] for key in keys})
    began, lines = time.monotonic(), list[tuple[float, int]]()

    def watch(line: dict[str, Any]) -> None:
        lines.append((time.monotonic(), line["images"]))
        if lines[-1][0] - lines[0][0] >= run.measure_seconds:
            raise _Measured

    trial = dataclasses.replace(config, images=10**9)
    if decays:
        trial = dataclasses.replace(trial, discriminator_warmup_images=0, decay_images=0)
    few = TrainingRows(rows.data[:_TRIAL_PATCHES], rows.real[:_TRIAL_PATCHES])
    folder = runs / f".trial-{run.name}"
    shutil.rmtree(folder, ignore_errors=True)
    most = min((until - time.time()) / 2, 4 * run.measure_seconds + 60)
    with contextlib.suppress(_Measured):
        call(trial, few, folder, minutes=most / 60, progress=watch)
    shutil.rmtree(folder, ignore_errors=True)
    if len(lines) < 2:
        print("no speed was measured: the images are those of the plan", flush=True)
        return config
    rate = (lines[-1][1] - lines[0][1]) / (lines[-1][0] - lines[0][0])
    set_up = lines[0][0] - began
    images = max(int(_PLANNED_SHARE * rate * (until - time.time() - set_up)), config.batch)
    print(f"{rate:.0f} images a second: {images:,} images until the deadline", flush=True)
    config = dataclasses.replace(config, images=images)
    return dataclasses.replace(config, decay_images=int(run.decay_share * images)) if decays else config


def train_one(run: Run, data: Path, held_out: Path | None, runs: Path, device: str, until: float) -> None:
    """Train, or go on with, one run in this process."""
    import torch

    from solquery.encoder.training import load_encoder, train_encoder
    from solquery.generator.training import train_generator
    from solquery.model_files import state_hash

    torch.set_num_threads(run.threads)
    torch.backends.cudnn.benchmark = True  # shapes never change
    config, preset, rows = run.config(), get_preset(run.preset), read_rows(data, run)
    if run.minutes is not None:
        until = min(until, time.time() + 60 * run.minutes)
    told: dict[str, Any] = {"preset": preset.name, **rows.provenance()}
    common: dict[str, Any] = {"seed": run.seed, "device": device, "checkpoint_seconds": run.checkpoint_seconds}
    common["start"] = None if run.start is None else folder_of(run.start)
    if run.kind == "generator":
        told = {"preset": preset.name, "prepared": preset_key(preset), **rows.provenance()}
        common["picture_steps"] = run.picture_every
        if run.encoder is not None:
            common["encoder"] = load_encoder(folder_of(run.encoder))
            told["encoder"] = state_hash(common["encoder"])
        if held_out is not None and config.loss == "bce":
            common["held_out"] = held_out_patches(held_out, run)

    def call(settings: Any, some: TrainingRows, folder: Path, **more: Any) -> None:
        if run.kind == "encoder":
            train_encoder(settings, some.data, folder, real=some.real, provenance=told, **common, **more)
        else:
            train_generator(
                settings, some.data, folder, preset.shape, real=some.real, provenance=told, **common, **more
            )

    if run.measure_seconds:
        config = measured(run, call, config, rows, runs, until)
    call(config, rows, runs / run.name, minutes=max((until - time.time()) / 60, 0.0))


def start_one(run: Run, given: argparse.Namespace, device: str, until: float) -> subprocess.Popen[bytes]:
    """A process that trains one run; what it says goes to its log.txt."""
    folder = given.runs / run.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.txt").unlink(missing_ok=True)
    words = [given.plan, "--data", given.data, "--runs", given.runs, "--device", device]
    words += [] if given.held_out is None else ["--held-out", given.held_out]
    words += ["--only", run.name, "--threads", run.threads, "--until", until]
    threads = {name: str(run.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, __file__, *map(str, words)], stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, **threads},
        )  # fmt: skip


def error_of(folder: Path, code: int) -> str:
    """What a run that failed has left, in a line; `error.txt` is written where its process could not."""
    path = folder / "error.txt"
    if not path.is_file():
        log = (folder / "log.txt").read_text(errors="replace")[-4000:]
        write_atomically(path, f"the process ended with code {code}\n{log}")
    return path.read_text().strip().splitlines()[0]


def train_all(plan: list[Run], given: argparse.Namespace, device: str, until: float) -> list[str]:
    """Train all runs side by side; the names of those that failed."""
    cores = len(os.sched_getaffinity(0))
    shared = max(1, (cores - sum(run.threads for run in plan)) // max(sum(not run.threads for run in plan), 1))
    plan = [dataclasses.replace(run, threads=run.threads or shared) for run in plan]
    processes = {run.name: start_one(run, given, device, until) for run in plan}
    failed, waiting, due = list[str](), set(processes), time.monotonic() + LINES_S
    try:
        while waiting:
            time.sleep(0.2)
            for name in sorted(waiting):
                code = processes[name].poll()
                if code is None and time.time() > until + GRACE_S:
                    processes[name].kill()
                    code = processes[name].wait()
                if code is None:
                    continue
                waiting.discard(name)
                if code:
                    failed.append(name)
                    print(f"{name} FAILED: {error_of(given.runs / name, code)}", flush=True)
            if time.monotonic() > due or not waiting:
                due = time.monotonic() + LINES_S
                for name in processes:
                    print(f"{name}: {json.dumps(last_statistics(given.runs / name))}", flush=True)
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
    return failed


def chosen_device(name: str) -> str:
    """`auto`: a GPU where torch sees one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help="TOML file")
    parser.add_argument("--data", type=Path, required=True, help="folder of prepared patches")
    parser.add_argument("--held-out", type=Path, help="folder of prepared patches of other regions")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--minutes", type=float, default=5.0, help="until the deadline")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--out", type=Path, help="folder to pack the runs into")
    for hidden in ("--only", "--until", "--threads"):  # of the processes that it starts
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    plan = read_plan(given.plan)
    if given.only is not None:
        run = dataclasses.replace(next(run for run in plan if run.name == given.only), threads=int(given.threads))
        # nothing brings the events of TensorBoard back, and its import takes seconds
        sys.modules["tensorboard"] = None  # type: ignore[assignment]
        try:
            train_one(run, given.data, given.held_out, given.runs, given.device, float(given.until))
        except Exception as error:
            text = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
            write_atomically(given.runs / run.name / "error.txt", text)
            raise SystemExit(1) from None
        return
    # whoever ends this process ends those that it has started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    until = time.time() + 60 * given.minutes
    device = chosen_device(given.device)
    print(f"{len(plan)} runs on {device} for {given.minutes:.1f} minutes", flush=True)
    failed = train_all(plan, given, device, until)
    if given.out is not None:
        for path, what in pack_runs([given.runs / run.name for run in plan], given.out):
            print(f"{path}: {what}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
