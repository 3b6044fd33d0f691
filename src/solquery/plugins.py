"""Parameters, generators and encoders of the user's own, in a file named on the command line or in the environment.

A package whose names a plug-in may add to gives its registry to `add_registry`; `physics` loads what the environment
names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .aliases import Document
from .errors import NameTaken, SolqueryError

__all__ = [
    "ENVIRONMENT", "PluginError", "Registry", "add_registry", "load_from_environment", "load_plugin", "plugin_names",
]  # fmt: skip

#: files to load when the package's physics is imported, as in PATH; worker processes find them here
ENVIRONMENT = "SOLQUERY_PLUGINS"


class Registry(NamedTuple):
    """How the names of one kind are read and put back."""

    #: name to what is registered under it
    snapshot: Callable[[], Document]
    #: make the names what they were at a snapshot
    restore: Callable[[Document], None]
    #: those of the package, which a plug-in must leave alone
    own: Callable[[], Document]


_REGISTRIES: dict[str, Registry] = {}
#: file to what it has made known: kind to names
_LOADED: dict[Path, dict[str, tuple[str, ...]]] = {}


def add_registry(kind: str, registry: Registry) -> None:
    """Let plug-ins add names of a kind, such as ``parameters``."""
    _REGISTRIES[kind] = registry


class PluginError(SolqueryError):
    """A plug-in file that cannot be used; the message says why, and where in the file."""


def _where(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = lines[-1] if lines else getattr(error, "lineno", None)
    return f"{path}, line {line}" if line else str(path)


def _names(found: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Parameters first, then generators, then encoders."""
    return tuple(name for kind in sorted(found, reverse=True) for name in found[kind])


def _made(before: dict[str, Document], file: Path) -> dict[str, tuple[str, ...]]:
    """What has been registered since; PluginError where a name of the package was taken."""
    out = {}
    for kind, registry in _REGISTRIES.items():
        # a package that the file itself was the first to import brought its own names along
        was, now, own = before.get(kind, registry.own()), registry.snapshot(), registry.own()
        out[kind] = tuple(name for name in now if now[name] is not was.get(name))
        taken = [name for name in out[kind] if name in own]
        if taken:
            raise PluginError(
                f"{file}: the package has a {kind[:-1]} {taken[0]!r} itself; register yours by another name"
            )
    return out


def load_plugin(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Run a Python file that registers parameters, generators or encoders; one that was loaded before is not run again.

    Parameters
    ----------
    path
        A file with at least one function decorated with `parameter`, or one call of `register_generator` or
        `register_encoder`. It is code and runs with your rights.

    Returns
    -------
    Names of the parameters that it has registered, then those of the generators, then those of the encoders.

    Raises
    ------
    PluginError
        When there is no such file, it raises, takes the name of a parameter that exists or of a generator of the
        package, or registers nothing; what is registered is then left as it was.
    """
    file = Path(path).expanduser().resolve()
    done = _LOADED.get(file)
    if done is not None and all(set(names) <= set(_REGISTRIES[kind].snapshot()) for kind, names in done.items()):
        return _names(done)
    if not file.is_file():
        raise PluginError(
            f"no plug-in file {path}; name a Python file that registers parameters, a generator or an encoder"
        )
    before = {kind: registry.snapshot() for kind, registry in _REGISTRIES.items()}
    # the same name in every process that loads this file, so that objects of its classes can be sent to one
    name = f"solquery_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no Python file; a plug-in ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        sys.modules[name] = module
        spec.loader.exec_module(module)
        found = _made(before, file)
        if not any(found.values()):
            raise PluginError(
                f"{file} registers no parameter, no generator and no encoder; decorate a function with "
                "@solquery.parameter(name, unit), or call solquery.register_generator(name, class) or "
                "solquery.register_encoder(name, function)"
            )
    except BaseException as error:
        sys.modules.pop(name, None)
        for kind, registry in _REGISTRIES.items():
            registry.restore(before.get(kind, registry.own()))
        if isinstance(error, PluginError) or not isinstance(error, Exception):
            raise
        if isinstance(error, NameTaken):
            raise PluginError(f"{_where(error, file)}: {error}") from None
        what = str(error).splitlines()[0] if str(error) else ""
        raise PluginError(f"{_where(error, file)}: {type(error).__name__}: {what}; mend the plug-in") from error
    _LOADED[file] = found
    return _names(found)


def plugin_names() -> tuple[str, ...]:
    """Parameters that plug-ins have registered, in the order of loading."""
    known = _REGISTRIES["parameters"].snapshot() if "parameters" in _REGISTRIES else {}
    return tuple(name for done in _LOADED.values() for name in done.get("parameters", ()) if name in known)


def load_from_environment() -> None:
    """Load the files that `ENVIRONMENT` names, separated as in PATH."""
    for path in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        load_plugin(path)
