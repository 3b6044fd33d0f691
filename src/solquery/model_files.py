"""The files of a model: how weights are stored, hashed and checked, and how a folder is replaced at once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .aliases import Document, Entries
from .config import PRESETS, Preset, get_preset
from .errors import SolqueryError
from .io import first_line
from .lazy import deferred

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
else:
    torch = deferred("torch")

__all__ = [
    "FORMAT", "MANIFEST", "VERSION", "ModelError", "ModelWarning", "document_hash", "fill", "is_model", "manifest_of",
    "preset_record", "read_files", "read_manifest", "recorded_preset", "same_preset", "state_hash", "stored_state",
    "write_folder",
]  # fmt: skip

FORMAT = "solquery-bundle"
VERSION = 1
MANIFEST = "model.json"
#: its name in models saved before
_OLD_MANIFEST = "bundle.json"


class ModelError(SolqueryError, ValueError):
    """A model that is missing, damaged, foreign or made for something else."""


class ModelWarning(UserWarning):
    """What a model that is saved leaves out."""


def stored_state(module: nn.Module) -> dict[str, Tensor]:
    """State of a network as it is stored: learned weights in float16, buffers (running statistics) as they are."""
    learned = {name for name, _ in module.named_parameters()}
    out = {}
    for name, value in sorted(module.state_dict().items()):
        value = value.detach().cpu()
        value = value.half() if name in learned and value.is_floating_point() else value
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"weights {name!r} are not finite in float16; a model cannot hold them, train again")
        out[name] = value.contiguous()
    return out


def state_hash(module: nn.Module) -> str:
    """Hash of a network's weights as a model stores them: the same before saving and after loading."""
    digest = hashlib.sha256()
    for name, value in stored_state(module).items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def document_hash(document: Document) -> str:
    """Hash of model.json without its own hash; the files' hashes are in it, so that this one covers everything."""
    rest = {key: value for key, value in document.items() if key != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def preset_record(preset: Preset) -> Document:
    """What of a preset decides the meaning of network units."""
    record = dataclasses.asdict(preset)
    del record["generator"], record["encoder"]
    return json.loads(json.dumps(record))


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a new folder beside `folder` and rename it into place once it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        made.chmod(0o755)
        for name, data in contents.items():
            (made / name).write_bytes(data)
        _rename_into_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def same_preset(stored: Entries, preset: Preset) -> bool:
    """Whether a stored record means this preset; settings younger than the record must have their defaults."""
    record = preset_record(preset)
    defaults = preset_record(Preset(preset.name))
    return set(stored) <= set(record) and all(stored.get(key, defaults[key]) == record[key] for key in record)


def recorded_preset(stored: Entries) -> Preset:
    """The preset that a stored record means: that of its name, or the one that the name stood for when it was stored.

    ``physical`` was a square grid once, which is ``physical-square`` now.

    Raises
    ------
    ValueError
        When there is no preset of the name.
    """
    named = get_preset(stored["name"])
    among = (named, *PRESETS.values())
    return next((preset for preset in among if same_preset({**stored, "name": preset.name}, preset)), named)


def _rename_into_place(made: Path, target: Path) -> None:
    """Put folder `made` where `target` is; an older model there goes only once the new one is complete."""
    old = None
    if target.exists():
        old = made.with_name(made.name + ".old")
        os.rename(target, old)
    try:
        os.rename(made, target)
    except OSError:
        if old is not None:
            os.rename(old, target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def manifest_of(folder: str | Path) -> Path:
    """Where a model's folder has its manifest: ``model.json``, or ``bundle.json`` in one that was saved before."""
    new, old = Path(folder) / MANIFEST, Path(folder) / _OLD_MANIFEST
    return old if old.is_file() and not new.is_file() else new


def is_model(folder: str | Path | None) -> bool:
    """Whether a folder holds a model."""
    return folder is not None and manifest_of(folder).is_file()


def read_manifest(folder: Path) -> Document:
    """model.json, of the right format and undamaged."""
    path = manifest_of(folder)
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{folder} is no model: it has no {MANIFEST}") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ModelError(f"{path} is damaged: it is not JSON; restore the model or train it again") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelError(f"{path} is of another format; a model's says {FORMAT!r}")
    if document.get("version") != VERSION:
        raise ModelError(
            f"{folder} is of model version {document.get('version')}, this solquery reads {VERSION}; "
            "use a model of that version"
        )
    if document.get("hash") != document_hash(document):
        raise ModelError(f"{path} is damaged or was edited: its hash does not fit; restore the model or save it again")
    return document


def read_files(folder: Path, document: Document) -> dict[str, bytes]:
    """Contents of the weight files, checked against size and hash."""
    out = {}
    records = document.get("files")
    if not isinstance(records, dict):
        raise ModelError(f"{manifest_of(folder)} does not list the files of the model; save it again")
    for name, record in records.items():
        path = folder / name
        if path.parent != folder:
            raise ModelError(f"{manifest_of(folder)} names a file outside the model: {name!r}")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ModelError(f"{folder} lacks {name}; restore the model or train it again") from None
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from None
        if not isinstance(record, dict) or not {"bytes", "sha256"} <= set(record):
            raise ModelError(f"{manifest_of(folder)} does not say what {name} should hold; save the model again")
        if len(data) != record["bytes"]:
            raise ModelError(f"{path} is damaged: {len(data)} bytes instead of {record['bytes']}; restore the model")
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            raise ModelError(f"{path} is damaged: its contents changed; restore the model")
        out[name] = data
    return out


def fill(module: nn.Module, data: bytes | None, path: Path) -> None:
    """Load stored weights into a network, in float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load as unpack

    from .eight_bits import unpacked

    if data is None:
        raise ModelError(f"{path.parent} lacks {path.name}; restore the model or train it again")
    try:
        stored = unpacked(unpack(data))
    except SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file: {first_line(error)}") from None
    wanted = module.state_dict()
    if set(stored) != set(wanted):
        odd = sorted(set(stored) ^ set(wanted))[0]
        raise ModelError(f"{path} holds weights of another network ({odd!r} does not fit); train the model again")
    for name, value in wanted.items():
        if stored[name].shape != value.shape:
            raise ModelError(
                f"{path}: {name!r} has shape {tuple(stored[name].shape)}, the network needs {tuple(value.shape)}; "
                "train the model again"
            )
    module.load_state_dict({name: value.to(wanted[name].dtype) for name, value in stored.items()})
    module.eval()
