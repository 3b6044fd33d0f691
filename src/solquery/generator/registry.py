"""The names under which architectures of generators are found; `register_generator` adds one."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from torch import nn

from ..config import GeneratorConfig
from ..plugins import Registry, add_registry

__all__ = [
    "architectures", "build_discriminator", "build_generator", "register_generator", "register_own", "restore",
    "snapshot",
]  # fmt: skip

#: constructors of a generator and of its discriminator
_Pair = tuple[Callable[..., nn.Module], Callable[..., nn.Module]]
_ARCHITECTURES: dict[str, _Pair] = {}
#: modules that have some, and those of the package
_OWN_MODULES = ("networks", "pyramid")
_OWN: dict[str, _Pair] = {}


def register_generator(
    name: str, generator: Callable[..., nn.Module], discriminator: Callable[..., nn.Module] | None = None
) -> None:
    """Make an architecture known as `name`; both are called with (GeneratorConfig, (H, W)).

    Without a discriminator of its own it is trained against the paper's. A name that is known already is replaced.
    """
    _ARCHITECTURES[name] = (generator, discriminator or _own()["paper"][1])


def register_own(name: str, generator: Callable[..., nn.Module], discriminator: Callable[..., nn.Module]) -> None:
    """Make an architecture of the package known, which no plug-in may replace."""
    _OWN[name] = _ARCHITECTURES[name] = (generator, discriminator)


def _load_own() -> None:
    """The modules of the package that register an architecture, wherever they have not been imported yet."""
    for module in _OWN_MODULES:
        import_module(f".{module}", __package__)


def _own() -> dict[str, _Pair]:
    _load_own()
    return dict(_OWN)


def architectures() -> list[str]:
    """Names that `GeneratorConfig.arch` may take."""
    _load_own()
    return sorted(_ARCHITECTURES)


def snapshot() -> dict[str, _Pair]:
    """What is registered, for `restore`."""
    _load_own()
    return dict(_ARCHITECTURES)


def restore(before: dict[str, _Pair]) -> None:
    """Make the names what they were at a `snapshot`."""
    _ARCHITECTURES.clear()
    _ARCHITECTURES.update(before)


def _lookup(name: str) -> _Pair:
    if name not in architectures():
        from .. import physics  # noqa: F401  loads the plug-ins that the environment names
    if name not in architectures():
        raise ValueError(
            f"no generator architecture named {name!r}; there are: {', '.join(architectures())}; "
            "one of your own must be registered first, by --plugin FILE or an import (docs/how-to/plug-in-generator.md)"
        )
    return _ARCHITECTURES[name]


def build_generator(config: GeneratorConfig, shape: tuple[int, int] = (128, 128)) -> nn.Module:
    """Generator with freshly initialised weights: z (N, latent_dim) to (N, 1, H, W) in [-1, 1]."""
    return _lookup(config.arch)[0](config, shape)


def build_discriminator(config: GeneratorConfig, shape: tuple[int, int] = (128, 128)) -> nn.Module:
    """Discriminator with freshly initialised weights: (N, 1, H, W) to (N,) logits, positive where it believes."""
    return _lookup(config.arch)[1](config, shape)


add_registry("generators", Registry(snapshot, restore, _own))
