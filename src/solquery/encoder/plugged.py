"""An encoder of the user's own: what it gives is checked, and a hash says which encoder it is."""

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import torch
from torch import Tensor, nn

from ..aliases import Embedder
from ..errors import SolqueryError

__all__ = ["EncoderError", "PluggedEncoder"]


class EncoderError(SolqueryError, ValueError):
    """An encoder of the user's own that is not there, cannot be built, or gives no embeddings."""


class PluggedEncoder(nn.Module):
    """Any callable (N, 1, H, W) to (N, D) as the encoder of a model.

    Parameters
    ----------
    name
        What errors and advice call it.
    network
        A module, a function, or a callable with an attribute ``fingerprint``.
    code
        Text that stands for the code: embeddings made under another one are those of another encoder.
    registered
        Whether `solquery.encoder.registry.registered_encoder` finds it by its name.
    """

    def __init__(self, name: str, network: Embedder, code: str, registered: bool = False) -> None:
        super().__init__()
        if not callable(network):
            raise EncoderError(f"encoder {name!r} is a {type(network).__name__}, which cannot be called with patches")
        known = isinstance(network, nn.Module) or inspect.isfunction(network)
        if not known and not isinstance(getattr(network, "fingerprint", None), str):
            raise EncoderError(
                f"encoder {name!r} is no torch module, so that its weights cannot be told from others; give it an "
                "attribute `fingerprint`, a text such as the hash of its file"
            )
        self.name, self.code, self.registered = name, code, registered
        self.network = network.eval() if isinstance(network, nn.Module) else network
        self._identity: tuple[str, list[tuple[int, int]]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, D) float32; EncoderError where the network raises or gives something else."""
        try:
            out = self.network(x.contiguous())
        except EncoderError:
            raise
        except Exception as error:  # the user's code
            what = str(error).splitlines()[0] if str(error) else ""
            raise EncoderError(
                f"encoder {self.name!r} fails on patches of shape {tuple(x.shape)}: {type(error).__name__}: {what}"
            ) from error
        if isinstance(out, np.ndarray):
            out = torch.from_numpy(np.ascontiguousarray(out))
        if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x) or out.is_complex():
            got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise EncoderError(
                f"encoder {self.name!r} gives {got} for {len(x)} patches; it must give ({len(x)}, D), one row a patch"
            )
        out = out.to(x.device, torch.float32)
        if not bool(torch.isfinite(out).all()):
            raise EncoderError(
                f"encoder {self.name!r} gives embeddings that are not finite; check how it scales patches"
            )
        return out

    def identity(self) -> str:
        """Hash of code, weights (as they are, in full precision) and the ``fingerprint`` of every part that has one."""
        writes = [(tensor.data_ptr(), tensor._version) for tensor in self.state_dict().values()]
        if self._identity is not None and self._identity[1] == writes:
            return self._identity[0]
        digest = hashlib.sha256(f"solquery encoder\n{self.code}\n".encode())
        for part in (self.network, *(self.network.modules() if isinstance(self.network, nn.Module) else ())):
            digest.update(f"{getattr(part, 'fingerprint', '')}\n".encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes() if len(flat) else b"")
        self._identity = digest.hexdigest(), writes
        return self._identity[0]
