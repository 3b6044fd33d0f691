"""Where compiled code is kept when neither the package nor the home of the user can be written to.

Numba refuses to compile a function whose result is to be kept when it finds no place for it. A folder in the temporary
directory will do; it is the user's alone, since what lies there is run.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

__all__ = ["cache_folder", "ensure_cache"]

#: packages with compiled functions
_COMPILED = ("encoder", "generator", "physics", "search", "sharp", "simulator")


def _writable(folder: Path) -> bool:
    """Whether a folder can be written to; it is made if need be, as numba would."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _user_folder() -> Path:
    """Where numba keeps what a user compiles."""
    if sys.platform == "darwin":
        return Path("~/Library/Caches").expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def cache_folder(package: Path | None = None) -> Path | None:
    """The folder that numba must be told to use; None where it finds one by itself.

    Parameters
    ----------
    package
        Folder of the package; where it is installed by default.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return None
    import tempfile  # which every start of the package would wait for

    package = Path(__file__).parent if package is None else package
    homes = [
        package / name / "__pycache__" for name in ("encoder", "generator", "physics", "search", "sharp", "simulator")
    ]
    try:
        if all(map(_writable, homes)) or _writable(_user_folder()):
            return None
    except (OSError, RuntimeError):  # no home at all
        pass
    who = os.getuid() if hasattr(os, "getuid") else "user"
    for place in (tempfile.gettempdir(), "/dev/shm"):
        folder = Path(place, f"solquery-numba-{who}")
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
        except OSError:
            continue
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o022
        if private and (not hasattr(os, "getuid") or found.st_uid == os.getuid()) and os.access(folder, os.W_OK):
            return folder
    try:
        return Path(tempfile.mkdtemp(prefix="solquery-numba-"))
    except OSError:
        return None


def ensure_cache() -> None:
    """Give numba a folder that can be written to, before anything is compiled."""
    folder = cache_folder()
    if folder is None:
        return
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.config.CACHE_DIR = str(folder)
