"""Parameters and generators of the user's own, in a Python file named on the command line or in the environment.

It stands above the rooms, since one file may add to several; `physics` loads what the environment names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

from .errors import SolqueryError

__all__ = ["ENVIRONMENT", "PluginError", "load_from_environment", "load_plugin", "plugin_names"]

#: files to load when the package's physics is imported, as in PATH; worker processes find them here
ENVIRONMENT = "SOLQUERY_PLUGINS"


class _Registered(NamedTuple):
    """What a file has made known, by name."""

    parameters: tuple[str, ...]
    generators: tuple[str, ...]


_LOADED: dict[Path, _Registered] = {}


class PluginError(SolqueryError):
    """A plug-in file that cannot be used; the message says why, and where in the file."""


def _where(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = lines[-1] if lines else getattr(error, "lineno", None)
    return f"{path}, line {line}" if line else str(path)


def _is_ours(generator: object) -> bool:
    return getattr(generator, "__module__", "").startswith("solquery.")


def load_plugin(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Run a Python file that registers parameters or generators; a file that was loaded before is not run again.

    Parameters
    ----------
    path
        A file with at least one function decorated with `parameter`, or one call of `register_generator`. It is code
        and runs with your rights.

    Returns
    -------
    Names of the parameters that it has registered, then those of the generators.

    Raises
    ------
    PluginError
        When there is no such file, it raises, takes the name of a parameter that exists or of a generator of the
        package, or registers nothing; what is registered is then left as it was.
    """
    from .generator import networks
    from .physics import registry

    file = Path(path).expanduser().resolve()
    done = _LOADED.get(file)
    if (
        done is not None
        and set(done.parameters) <= set(registry.parameters(on_demand=True))
        and set(done.generators) <= set(networks.architectures())
    ):
        return done.parameters + done.generators
    if not file.is_file():
        raise PluginError(f"no plug-in file {path}; name a Python file that registers parameters or a generator")
    before, built = registry.snapshot(), networks.snapshot()
    # the same name in every process that loads this file, so that objects of its classes can be sent to one
    name = f"solquery_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no Python file; a plug-in ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        sys.modules[name] = module
        spec.loader.exec_module(module)
        now = networks.snapshot()
        made = tuple(known for known in now if now[known] != built.get(known))
        # shipped models are built from the package's own, which a file of the same name would quietly take away
        taken = [known for known in made if known in built and _is_ours(built[known][0])]
        if taken:
            raise PluginError(
                f"{file}: the package has a generator {taken[0]!r} itself; register yours by another name"
            )
        found = _Registered(tuple(known for known in registry.parameters(on_demand=True) if known not in before), made)
        if not any(found):
            raise PluginError(
                f"{file} registers no parameter and no generator; decorate a function with "
                "@solquery.parameter(name, unit), or call solquery.register_generator(name, class)"
            )
    except BaseException as error:
        sys.modules.pop(name, None)
        registry.restore(before)
        networks.restore(built)
        if isinstance(error, PluginError) or not isinstance(error, Exception):
            raise
        if isinstance(error, registry.DuplicateParameter):
            raise PluginError(f"{_where(error, file)}: {error}") from None
        what = str(error).splitlines()[0] if str(error) else ""
        raise PluginError(f"{_where(error, file)}: {type(error).__name__}: {what}; mend the plug-in") from error
    _LOADED[file] = found
    return found.parameters + found.generators


def plugin_names() -> tuple[str, ...]:
    """Parameters that plug-ins have registered, in the order of loading."""
    from .physics import registry

    known = registry.parameters(on_demand=True)
    return tuple(name for done in _LOADED.values() for name in done.parameters if name in known)


def load_from_environment() -> None:
    """Load the files that `ENVIRONMENT` names, separated as in PATH."""
    for path in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        load_plugin(path)
