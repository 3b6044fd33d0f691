"""Packages whose public names are loaded when they are first used, and modules that are imported then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["deferred", "lazily", "spare", "without_spared"]


class _Deferred(ModuleType):
    """A module that is imported when something of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def deferred(name: str) -> Any:
    """The module `name`: itself where it is imported already, else what imports it with the first use.

    For a library that takes seconds to import and that a module needs in some of its functions only.
    """
    return sys.modules.get(name) or _Deferred(name)


class _Refusal:
    """A finder of modules that has one package not found."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self._package:
            raise ModuleNotFoundError(f"{name} is not to be loaded here", name=name)


_SPARED: set[str] = set()


def spare(package: str) -> None:
    """Say that this process is a command that does without a package, which others load where they find it."""
    _SPARED.add(package)


@contextmanager
def without_spared() -> Iterator[None]:
    """Let the packages that are spared (`spare`) not be found, unless they are loaded already."""
    refusals = [_Refusal(package) for package in _SPARED if package not in sys.modules]
    sys.meta_path[:0] = refusals
    try:
        yield
    finally:
        for refusal in refusals:
            sys.meta_path.remove(refusal)


class _Package(ModuleType):
    """A package that does not take a submodule for the public name that it shares."""

    def __setattr__(self, name: str, value: object) -> None:
        # the import of a submodule binds it in its package
        if not (isinstance(value, ModuleType) and name in self.__dict__.get("_MODULE_OF", ())):
            super().__setattr__(name, value)


def lazily(package: str, home: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package
        Its ``__name__``.
    home
        Submodule to the public names that it defines, separated by blanks.
    """
    module = sys.modules[package]
    module_of = {name: place for place, names in home.items() for name in names.split()}
    module.__dict__["_MODULE_OF"] = module_of
    module.__class__ = _Package

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{module_of[name]}", package), name)
        setattr(module, name, value)
        return value

    def listed() -> list[str]:
        return sorted({*module.__dict__, *module_of})

    return get, listed
