"""The names under which encoders of the user's own are found; `register_encoder` adds one."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from ..aliases import Embedder
from ..plugins import Registry, add_registry
from .networks import Encoder
from .plugged import EncoderError, PluggedEncoder

if TYPE_CHECKING:
    from ..config import Preset

__all__ = ["as_encoder", "encoders", "register_encoder", "registered_encoder", "restore", "snapshot"]


class _Registered(NamedTuple):
    """How an encoder is built, and what stands for its code."""

    build: Callable[[Preset], Embedder]
    code: str


_ENCODERS: dict[str, _Registered] = {}


def register_encoder(name: str, build: Callable[[Preset], Embedder], *, version: str | None = None) -> None:
    """Make an encoder of your own known as `name`; a name that is known already is replaced.

    Parameters
    ----------
    name
        Letters, digits, '-', '_' and '.'; for ``--encoder`` and `solquery.Model.with_encoder`.
    build
        Called with the preset whose patches are embedded; gives a `torch.nn.Module`, a function or any other callable
        (N, 1, H, W) float32, in preset units, to (N, D), a tensor or an array. What is neither module nor function
        needs an attribute ``fingerprint``, a text that stands for its weights. It must come out the same every time.
    version
        Stands for the code in the identity of the encoder. None: the file that calls this function does, so that after
        any change of it the archive is embedded anew.

    Raises
    ------
    ValueError
        When the name is no such name, or neither a version nor a file stands for the code.

    Examples
    --------
    >>> from solquery import register_encoder
    >>> register_encoder("pooled", lambda preset: lambda x: x[:, 0, ::16, ::16].flatten(1), version="1")
    """
    if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name.endswith(".onnx"):
        raise ValueError(f"the name of an encoder is made of letters, digits, '-', '_' and '.', got {name!r}")
    _ENCODERS[name] = _Registered(build, f"version {version}" if version is not None else _source(name, build))


def _source(name: str, build: Callable[[Preset], Embedder]) -> str:
    """Hash of the file that registers, or of the source of `build` where it was typed in."""
    file = Path(sys._getframe(2).f_code.co_filename)
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        return hashlib.sha256(inspect.getsource(build).encode()).hexdigest()
    except (OSError, TypeError):
        raise ValueError(
            f"no file holds the code of encoder {name!r}, so that nothing would tell when it changes; "
            'say register_encoder(..., version="1")'
        ) from None


def encoders() -> list[str]:
    """Names that ``--encoder`` may take."""
    return sorted(_ENCODERS)


def snapshot() -> dict[str, _Registered]:
    """What is registered, for `restore`."""
    return dict(_ENCODERS)


def restore(before: dict[str, _Registered]) -> None:
    """Make the names what they were at a `snapshot`."""
    _ENCODERS.clear()
    _ENCODERS.update(before)


def registered_encoder(name: str, preset: Preset) -> PluggedEncoder:
    """The encoder registered as `name`, for the patches of a preset; EncoderError where there is none, or it fails."""
    if name not in _ENCODERS:
        from .. import physics  # noqa: F401  loads the plug-ins that the environment names
    if name not in _ENCODERS:
        raise EncoderError(
            f"no encoder named {name!r}; there {'are: ' + ', '.join(encoders()) if _ENCODERS else 'is none'}; one of "
            "your own must be registered first, by --plugin FILE or an import, or named as a file that ends in .onnx "
            "(docs/how-to/plug-in-encoder.md)"
        )
    build, code = _ENCODERS[name]
    try:
        network = build(preset)
    except EncoderError:
        raise
    except Exception as error:  # the user's code
        what = str(error).splitlines()[0] if str(error) else ""
        raise EncoderError(
            f"encoder {name!r} cannot be built for preset {preset.name!r}: {type(error).__name__}: {what}; "
            "mend the plug-in"
        ) from error
    return PluggedEncoder(name, network, code, registered=True)


def as_encoder(encoder: str | Path | Embedder, preset: Preset) -> nn.Module:
    """What a model takes as its encoder: a registered name, the path of an ONNX file, a module or another callable."""
    if isinstance(encoder, Encoder | PluggedEncoder):
        return encoder
    if isinstance(encoder, Path) or (isinstance(encoder, str) and encoder.endswith(".onnx")):
        from .onnx_file import OnnxEncoder

        return PluggedEncoder(str(encoder), OnnxEncoder(encoder), "onnx")
    if isinstance(encoder, str):
        return registered_encoder(encoder, preset)
    kind = encoder if inspect.isfunction(encoder) else type(encoder)
    name = getattr(kind, "__name__", "encoder")
    try:
        code = inspect.getsource(kind)
    except (OSError, TypeError):
        code = f"{kind.__module__}.{kind.__qualname__}"
    return PluggedEncoder(name, encoder, hashlib.sha256(code.encode()).hexdigest())


add_registry("encoders", Registry(snapshot, restore, dict))
