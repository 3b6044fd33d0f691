"""Pack finished runs into few small files, and restore them.

    python scripts/pack_runs.py pack RUNS/NAME ... --out OUT
    python scripts/pack_runs.py unpack OUT/NAME.tar RUNS

From a machine that gives few files back: at most 8, of 15 MiB each and 62 MiB in all, one for each run. A file holds
config.json, statistics, log, two pictures, and as many checkpoints of the generator as there is room for: what the run
ended with, those of the paper's rule, the last, and others at even distances. Weights are kept in float16, as a model
has them, where that changes fewer than one in 1,000 pixels by 0.001 network units, else in float32.

What is restored is a run folder in float32 for `solquery train choose` and `solquery model build`. It has no optimisers
and no discriminator: the training does not go on from it.

Needs numpy, torch and safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from solquery.eight_bits import packed, round_weights, unpacked
from solquery.encoder.training import export_encoder, load_encoder
from solquery.errors import SolqueryError
from solquery.generator.registry import build_generator
from solquery.generator.training import read_settings
from solquery.io import write_atomically
from solquery.model_files import stored_state
from solquery.training.statistics import read_statistics

__all__ = ["MOST_FILES", "pack_run", "pack_runs", "unpack_run"]

MOST_FILES, EACH_BYTES, ALL_BYTES = 8, 15 * 2**20, 62 * 2**20
#: network units that float16 may change all but `_SELDOM` of the pixels by, and draws that are looked at
TOLERANCE, _SELDOM, _DRAWS = 1e-3, 1e-3, 16
#: lines of statistics beside those at the end of an epoch; bytes of a log; a tar's own for each file and at its end
_LINES, _LOG_BYTES, _TAR_FILE, _TAR_END = 500, 20_000, 1024, 10_240
_TEXTS = ("config.json", "start.json", "choice.json", "error.txt")
_MANIFEST = "packed.json"


@dataclass
class _Tar:
    """Files of a run by name, as long as there is room."""

    room: int
    files: dict[str, bytes] = field(default_factory=dict)

    @staticmethod
    def cost(content: bytes) -> int:
        return _TAR_FILE + -(-len(content) // 512) * 512

    @property
    def left(self) -> int:
        # the manifest grows with what is added
        return self.room - _TAR_END - 16_384 - sum(map(self.cost, self.files.values()))

    def add(self, name: str, content: bytes) -> bool:
        """Whether it had room."""
        if self.cost(content) > self.left:
            return False
        self.files[name] = content
        return True

    def write(self, path: Path, run: str) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name, content in self.files.items():
                about = tarfile.TarInfo(f"{run}/{name}")
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
        write_atomically(path, made.getvalue())


def squeezed(state: dict[str, Tensor]) -> bytes:
    """Tensors as compressed safetensors: exponents repeat themselves when they lie beside each other."""
    raw = save(state)
    width = min((value.element_size() for value in state.values()), default=1)
    padded = np.frombuffer(raw + bytes(-len(raw) % width), np.uint8)
    planes = np.ascontiguousarray(padded.reshape(-1, width).T)
    return bytes([width]) + len(raw).to_bytes(8, "little") + zlib.compress(planes.tobytes(), 6)


def unsqueezed(content: bytes) -> dict[str, Tensor]:
    """The tensors that `squeezed` was given."""
    width, length = content[0], int.from_bytes(content[1:9], "little")
    planes = np.frombuffer(zlib.decompress(content[9:]), np.uint8).reshape(width, -1)
    return load(np.ascontiguousarray(planes.T).tobytes()[:length])


@torch.no_grad()
def half_suffices(network: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether a generator with these weights draws the same with those in float16, but for `TOLERANCE`."""
    learned = {name for name, _ in network.named_parameters()}
    z = torch.randn(_DRAWS, network.latent_dim, generator=torch.Generator().manual_seed(0))
    made = []
    for rounded in (False, True):
        values = {n: v.half().float() if rounded and n in learned else v.float() for n, v in state.items()}
        network.load_state_dict(values)
        made.append(network.eval()(z))
    far = ((made[0] - made[1]).abs() < TOLERANCE).logical_not()  # what is not a number is far
    return float(far.float().mean()) <= _SELDOM


def checkpoints_of(run: Path) -> list[list[str]]:
    """Files of each checkpoint of a generator below `checkpoints/`, the most wanted first."""
    folder = run / "checkpoints"
    kept = sorted(file.name for file in (folder / "kept").glob("*-generator.safetensors"))

    def beside(name: str) -> list[str]:
        pair = [name, name.replace("generator.safetensors", "inference.safetensors")]
        return [one for one in dict.fromkeys(pair) if (folder / one).is_file()]

    wanted = [beside(name) for name in ("generator.safetensors", "chosen.safetensors", "chosen-held-out.safetensors")]
    return [files for files in wanted if files] + [beside(f"kept/{name}") for name in spread_out(kept)]


def spread_out(names: Sequence[str]) -> list[str]:
    """Names that begin with a number, so ordered that each is as far as can be from those before it; the last first."""
    rest, out = list(names), list[str]()

    def number(name: str) -> int:
        return int(name.split("-")[0])

    while rest:
        out.append(max(rest, key=lambda name: min((abs(number(name) - number(o)) for o in out), default=number(name))))
        rest.remove(out[-1])
    return out


def _add_generator(run: Path, tar: _Tar) -> dict[str, Any]:
    """Put the checkpoints of a generator into a file; what the manifest says of them."""
    units = checkpoints_of(run)
    if not units:
        return {}
    config, shape, _ = read_settings(run)
    network = build_generator(config, shape)
    # the export at the end of a run is that of its last checkpoint: a file is stored once for each content
    names = [name for unit in units for name in unit]
    digest = {name: hashlib.sha256((run / "checkpoints" / name).read_bytes()).hexdigest() for name in names}
    states = {digest[name]: load_file(run / "checkpoints" / name) for name in names}
    kinds = {digest[name]: "inference" if "inference" in name else "generator" for name in names}
    frozen = {kind: _in_all([states[d] for d in states if kinds[d] == kind]) for kind in ("generator", "inference")}
    place: dict[str, str] = {}
    for kind, shared in frozen.items():
        if shared and tar.add(f"weights/{kind}-frozen.bin", squeezed(shared)):
            place[kind] = f"weights/{kind}-frozen.bin"
        else:
            frozen[kind] = {}
    stored: dict[str, Any] = {}
    for unit in units:
        half = half_suffices(network, states[digest[unit[0]]])
        fresh: dict[str, bytes] = {}
        for name in unit:
            kind, key = kinds[digest[name]], digest[name]
            own = {n: v.half() if half else v for n, v in states[key].items() if n not in frozen[kind]}
            target = f"weights/{key[:16]}.bin"
            if target not in tar.files:
                fresh[target] = squeezed(own)
        if sum(map(tar.cost, fresh.values())) > tar.left:
            continue
        for target, content in fresh.items():
            tar.add(target, content)
        for name in unit:
            parts = [f"weights/{digest[name][:16]}.bin", *filter(None, [place.get(kinds[digest[name]])])]
            stored[f"checkpoints/{name}"] = {"parts": parts, "precision": "float16" if half else "float32"}
    if (
        "checkpoints/generator.safetensors" not in stored and stored
    ):  # a run that was ended has not exported its weights
        first = next(iter(stored))
        for kind in ("generator", "inference"):
            like = first if kind == "generator" else first.replace("-generator.", "-inference.")
            if like in stored and (kind == "generator" or like != first):
                stored[f"checkpoints/{kind}.safetensors"] = stored[like]
    return {"files": stored, "checkpoints": len(units)}


def _in_all(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors that are the same in all of several states, as frozen noise is."""
    if len(states) < 2:
        return {}
    first, *others = states
    return {n: v for n, v in first.items() if all(n in o and torch.equal(v, o[n]) for o in others)}


def _add_encoder(run: Path, tar: _Tar) -> dict[str, Any]:
    """Put the encoder of a run into a file, in the precision that there is room for; what the manifest says of it."""
    if not (run / "checkpoints" / "last.pt").is_file():
        return {}
    checkpoint = torch.load(run / "checkpoints" / "last.pt", map_location="cpu", weights_only=True)
    tar.add("weights/predictor.bin", squeezed(checkpoint["predictor"]))
    more = {"step": checkpoint["step"], "seconds": checkpoint.get("seconds", 0.0)}
    encoder = load_encoder(run)
    if tar.add("weights/encoder.bin", squeezed(export_encoder(run))):
        return {"encoder": "float32", **more}
    if tar.add("weights/encoder.bin", squeezed(stored_state(encoder))):
        return {"encoder": "float16", **more}
    round_weights(encoder)
    if tar.add("weights/encoder.bin", squeezed(packed(stored_state(encoder)))):
        return {"encoder": "eight bits", **more}
    return {}


def _thinned(run: Path) -> bytes:
    """Statistics: the ends of epochs, the last, and at most some hundred others at even distances."""
    lines = read_statistics(run)
    ends = [k for k, line in enumerate(lines) if "discriminator_accuracy" in line]
    rows = sorted({*ends, *np.linspace(0, len(lines) - 1, min(len(lines), _LINES)).astype(int).tolist()})
    return "".join(json.dumps(lines[k]) + "\n" for k in rows).encode()


def pack_run(run: Path, path: Path, room: int = EACH_BYTES) -> str:
    """Pack one run folder into `path`, of at most `room` bytes; what it holds, in a few words."""
    tar = _Tar(room)
    for name in _TEXTS:
        if (run / name).is_file():
            tar.add(name, (run / name).read_bytes())
    tar.add("stats.jsonl", _thinned(run))
    if (run / "log.txt").is_file():
        tar.add("log.txt", (run / "log.txt").read_bytes()[-_LOG_BYTES:])
    pictures = sorted((run / "samples").glob("*.p[ng][gm]"))
    for picture in dict.fromkeys([pictures[-1], pictures[len(pictures) // 2]] if pictures else []):
        tar.add(f"samples/{picture.name}", picture.read_bytes())
    manifest: dict[str, Any] = {}
    if (run / "config.json").is_file():
        told = json.loads((run / "config.json").read_text())
        manifest = _add_encoder(run, tar) if told.get("kind") == "encoder" else _add_generator(run, tar)
    tar.files[_MANIFEST] = json.dumps(manifest, indent=1).encode()
    tar.write(path, run.name)
    size = f"{path.stat().st_size / 2**20:.1f} MiB"
    if "encoder" in manifest:
        return f"{size}, the encoder in {manifest['encoder']}"
    files = [name for name in manifest.get("files", {}) if "inference" not in name]
    return f"{size}, {len(files)} of {manifest.get('checkpoints', 0)} checkpoints"


def _rooms(runs: Sequence[Path], each: int, total: int) -> list[int]:
    """Bytes for each run, in proportion to what one checkpoint of it takes."""
    takes = []
    for run in runs:
        units = checkpoints_of(run)
        takes.append(max(sum((run / "checkpoints" / name).stat().st_size for name in units[-1]) if units else 0, 10**5))
    rooms, open_ = [0] * len(runs), set(range(len(runs)))
    while open_:
        share = total / sum(takes[k] for k in open_)
        full = {k for k in open_ if takes[k] * share >= each}
        for k in full or open_:
            rooms[k] = min(each, int(takes[k] * share))
            total -= rooms[k]
        open_ -= full or open_
    return rooms


def pack_runs(
    runs: Sequence[Path], out: Path, each: int = EACH_BYTES, total: int = ALL_BYTES
) -> Iterator[tuple[Path, str]]:
    """Pack each run into `out/NAME.tar`, in bytes for `each` and in `total`; the files, and what they hold.

    A run that cannot be packed says so in the place of what it holds, and does not keep the others back.
    """
    if len(runs) > MOST_FILES:
        raise SystemExit(f"{len(runs)} runs do not fit into {MOST_FILES} files")
    for run, room in zip(runs, _rooms(runs, each, total), strict=True):
        path = out / f"{run.name}.tar"
        try:
            yield path, pack_run(run, path, room)
        except (SolqueryError, OSError, ValueError, KeyError, RuntimeError) as error:
            yield path, f"NOT PACKED: {type(error).__name__}: {error}"


def unpack_run(path: Path, runs: Path) -> Path:
    """Restore a run folder below `runs`; weights in float32.

    Raises
    ------
    SystemExit
        Where the file names something outside of one folder, or the run is there already.
    """
    with tarfile.open(path) as tar:
        held = {one.name: tar.extractfile(one).read() for one in tar.getmembers() if one.isreg()}  # type: ignore[union-attr]
    names = {name: PurePosixPath(name).parts for name in held}
    folders = {parts[0] for parts in names.values()}
    if len(folders) != 1 or any(".." in parts or name.startswith("/") for name, parts in names.items()):
        raise SystemExit(f"{path} is no packed run")
    files = {"/".join(names[name][1:]): content for name, content in held.items()}
    run = runs / folders.pop()
    if run.exists():
        raise SystemExit(f"{run} is there already; restore {path.name} elsewhere")
    manifest = json.loads(files.pop(_MANIFEST))
    for name, content in files.items():
        if not name.startswith("weights/"):
            write_atomically(run / name, content)
    for name, told in manifest.get("files", {}).items():
        parts = [unsqueezed(files[part]) for part in told["parts"]]
        state = {n: v.float() if v.is_floating_point() else v for part in parts for n, v in part.items()}
        if ".." in PurePosixPath(name).parts or not name.startswith("checkpoints/"):
            raise SystemExit(f"{path} is no packed run")
        write_atomically(run / name, save(state))
    if "encoder" in manifest:
        state = unpacked(unsqueezed(files["weights/encoder.bin"]))
        float32 = {n: v.float() if v.is_floating_point() else v for n, v in state.items()}
        made = io.BytesIO()
        more = {"predictor": unsqueezed(files["weights/predictor.bin"]), "step": manifest["step"]}
        torch.save({"encoder": float32, **more, "seconds": manifest["seconds"]}, made)
        write_atomically(run / "checkpoints" / "last.pt", made.getvalue())
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    pack = verbs.add_parser("pack", help="run folders into OUT/NAME.tar")
    pack.add_argument("runs", type=Path, nargs="+")
    pack.add_argument("--out", type=Path, required=True)
    unpack = verbs.add_parser("unpack", help="NAME.tar into the run folder RUNS/NAME")
    unpack.add_argument("file", type=Path)
    unpack.add_argument("runs", type=Path)
    given = parser.parse_args()
    if given.verb == "unpack":
        print(unpack_run(given.file, given.runs))
        return
    for path, what in pack_runs(given.runs, given.out):
        print(f"{path}: {what}")


if __name__ == "__main__":
    main()
