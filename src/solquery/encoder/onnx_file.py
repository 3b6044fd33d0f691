"""An encoder in an ONNX file, run by onnxruntime (extra ``onnx``)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..aliases import Document
from ..io import first_line
from .plugged import EncoderError

__all__ = ["OnnxEncoder"]

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_POOLS = (None, "mean", "first")


class OnnxEncoder(nn.Module):
    """(N, 1, H, W) patches in preset units to (N, D), by a network of one input (N, channels, height, width).

    What the file says of its input is followed: a fixed height and width are reached by interpolation (bilinear, with
    an area filter when shrinking), a patch is repeated in all channels, and a fixed batch is filled up.

    Parameters
    ----------
    path
        The file; weights that lie outside it (``NAME.onnx.data``) must begin with its name.
    size
        (height, width) where the file leaves them open; None: that of the patches.
    scale, offset
        The network is shown ``scale * x + offset``: one number, or one for each channel.
    output
        Name of the output; None for the first.
    pool
        Of an output (N, T, D) of tokens or (N, D, h, w) of a map: ``"mean"``, or ``"first"``, the first token.

    Raises
    ------
    EncoderError
        When onnxruntime or the file is missing, or the file is no network of one image.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int] | None = None,
        scale: float | tuple[float, ...] = 1.0,
        offset: float | tuple[float, ...] = 0.0,
        output: str | None = None,
        pool: str | None = None,
    ) -> None:
        super().__init__()
        if pool not in _POOLS:
            raise EncoderError(f"pool must be 'mean', 'first' or None, got {pool!r}")
        self.path, self.pool, self.size = Path(path).absolute(), pool, size
        self.scale, self.offset = np.atleast_1d(scale).tolist(), np.atleast_1d(offset).tolist()
        self._open(output)
        self.fingerprint = self._fingerprint()

    def _open(self, output: str | None) -> None:
        self._session = _session(self.path)
        inputs, outputs = self._session.get_inputs(), [one.name for one in self._session.get_outputs()]
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
            told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise EncoderError(f"{self.path} takes {told}; an encoder takes one image (N, channels, height, width)")
        if output is not None and output not in outputs:
            raise EncoderError(f"{self.path} has no output {output!r}; there are: {', '.join(outputs)}")
        self.output = outputs[0] if output is None else output
        batch, channels, *sides = (side if isinstance(side, int) else None for side in inputs[0].shape)
        self._input, self._type, self._batch = inputs[0].name, _TYPES[inputs[0].type], batch
        self._channels = max(channels or 1, len(self.scale), len(self.offset))
        if any({len(self.scale), len(self.offset)} - {1, self._channels}) or channels not in (None, self._channels):
            raise EncoderError(
                f"{self.path} has {channels or self._channels} channels; give scale and offset one number, or one for "
                "each of them"
            )
        if None not in sides:
            self.size = (int(sides[0] or 0), int(sides[1] or 0))

    def _fingerprint(self) -> str:
        """Of the file, of weights beside it, and of how it is used."""
        digest = hashlib.sha256(repr((self.size, self.scale, self.offset, self.output, self.pool)).encode())
        beside = sorted(file for file in self.path.parent.glob(f"{_literal(self.path.name)}*") if file.is_file())
        for file in beside:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def __getstate__(self) -> Document:
        return {name: value for name, value in self.__dict__.items() if name != "_session"}

    def __setstate__(self, state: Document) -> None:
        super().__setstate__(state)
        self._session = _session(self.path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, D) float32."""
        if self.size is not None and tuple(x.shape[2:]) != tuple(self.size):
            shrinks = self.size[0] <= x.shape[2] and self.size[1] <= x.shape[3]
            x = F.interpolate(x, tuple(self.size), mode="bilinear", align_corners=False, antialias=shrinks)
        scale, offset = (torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in (self.scale, self.offset))
        shown = (x.cpu() * scale + offset).expand(-1, self._channels, -1, -1).numpy().astype(self._type)
        step = self._batch or max(len(shown), 1)
        parts = [self._run(shown[start : start + step]) for start in range(0, len(shown), step)]
        return torch.from_numpy(np.concatenate(parts).astype(np.float32))

    def _run(self, shown: np.ndarray) -> np.ndarray:
        count = len(shown)
        if self._batch and count < self._batch:
            shown = np.concatenate([shown, np.zeros((self._batch - count, *shown.shape[1:]), shown.dtype)])
        try:
            (out,) = self._session.run([self.output], {self._input: np.ascontiguousarray(shown)})
        except Exception as error:  # onnxruntime raises kinds of its own
            raise EncoderError(f"{self.path} fails on images of shape {shown.shape[1:]}: {first_line(error)}") from None
        out = np.asarray(out)[:count]
        if out.ndim == 2:
            return out
        if self.pool is None or out.ndim not in (3, 4) or (out.ndim == 4 and self.pool != "mean"):
            raise EncoderError(
                f"{self.path} gives {out.shape[1:]} for a patch, not a row of numbers; name another output, or say "
                "OnnxEncoder(..., pool='mean'), or of tokens pool='first'"
            )
        if out.ndim == 4:
            return out.mean((2, 3))
        return out.mean(1) if self.pool == "mean" else out[:, 0]


def _literal(name: str) -> str:
    """A file name as a pattern of `Path.glob` that means it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EncoderError(
            f'{path.name} is an ONNX file, which needs {error.name or "onnxruntime"}: pip install "solquery[onnx]"'
        ) from None
    if not path.is_file():
        raise EncoderError(f"no ONNX file {path}; name one that is there")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises kinds of its own
        raise EncoderError(f"{path} cannot be read as ONNX: {first_line(error)}") from None
