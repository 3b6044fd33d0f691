"""Parameters of the user's own, in a Python file that is named on the command line or in the environment."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path

from ..errors import SolqueryError
from . import registry

__all__ = ["ENVIRONMENT", "PluginError", "load_from_environment", "load_plugin", "plugin_names"]

#: files to load when the package's physics is imported, as in PATH; worker processes find them here
ENVIRONMENT = "SOLQUERY_PLUGINS"

_LOADED: dict[Path, tuple[str, ...]] = {}


class PluginError(SolqueryError):
    """A file of parameters that cannot be used; the message says why, and where in the file."""


def _where(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = lines[-1] if lines else getattr(error, "lineno", None)
    return f"{path}, line {line}" if line else str(path)


def load_plugin(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Run a Python file that registers parameters; a file that was loaded before is not run again.

    Parameters
    ----------
    path
        A file with at least one function decorated with `parameter`. It is code and runs with your rights.

    Returns
    -------
    Names of the parameters that it has registered.

    Raises
    ------
    PluginError
        When there is no such file, it raises, takes a name that exists, or registers nothing; the registry is then
        left as it was.
    """
    file = Path(path).expanduser().resolve()
    if file in _LOADED and set(_LOADED[file]) <= set(registry.parameters(on_demand=True)):
        return _LOADED[file]
    if not file.is_file():
        raise PluginError(f"no plug-in file {path}; name a Python file with a function decorated with @parameter")
    before = registry.snapshot()
    spec = importlib.util.spec_from_file_location(f"solquery_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no Python file; a plug-in ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        names = tuple(name for name in registry.parameters(on_demand=True) if name not in before)
        if not names:
            raise PluginError(
                f"{file} registers no parameter; decorate a function with @solquery.parameter(name, unit)"
            )
    except PluginError:
        registry.restore(before)
        raise
    except registry.DuplicateParameter as error:
        registry.restore(before)
        raise PluginError(f"{_where(error, file)}: {error}") from None
    except Exception as error:
        registry.restore(before)
        what = str(error).splitlines()[0] if str(error) else ""
        raise PluginError(f"{_where(error, file)}: {type(error).__name__}: {what}; mend the plug-in") from error
    finally:
        sys.modules.pop(spec.name, None)
    _LOADED[file] = names
    return names


def plugin_names() -> tuple[str, ...]:
    """Parameters that plug-ins have registered, in the order of loading."""
    known = registry.parameters(on_demand=True)
    return tuple(name for names in _LOADED.values() for name in names if name in known)


def load_from_environment() -> None:
    """Load the files that `ENVIRONMENT` names, separated as in PATH."""
    for path in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        load_plugin(path)
