"""Install the wheel of a folder into an empty environment and run the demo there: `make check-dist`.

python scripts/check_dist.py dist

Checks that wheel and sdist are there and not too large, hold what they must and nothing that they must not, that the
wheel installs with its core dependencies alone, that `import solquery` loads nothing heavy, and that `solquery demo`
ends with a report. Exits 1 with one line where something is off.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

LARGEST_MB = 60
NEEDED = (
    "solquery/py.typed",
    "solquery/models/physical/model.json",
    "solquery/models/paper/model.json",
    "solquery/app/page/index.html",
    "solquery/samples/sharp-856-20110915T052400-magnetogram.fits",
)
LIGHT = """
import sys
import solquery
heavy = {"torch", "numpy", "lancedb", "pyarrow", "matplotlib", "sunpy", "astropy"} & set(sys.modules)
assert not heavy, heavy
assert "site-packages" in solquery.__file__, solquery.__file__
print(solquery.__version__)
"""


def off(what: str) -> None:
    """End with one line."""
    sys.exit(f"check-dist: {what}")


def only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        off(f"{folder} has {len(found)} files {pattern}; run `make dist`")
    return found[0]


def look_inside(wheel: Path, sdist: Path) -> None:
    """Sizes and contents."""
    for file in (wheel, sdist):
        megabytes = file.stat().st_size / 1e6
        print(f"{file.name}: {megabytes:.1f} MB")
        if megabytes > LARGEST_MB:
            off(f"{file.name} has {megabytes:.1f} MB, more than {LARGEST_MB}")
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in NEEDED if name not in names]
    if missing:
        off(f"{wheel.name} lacks {', '.join(missing)}")
    strange = [name for name in names if not name.startswith(("solquery/", "solquery-"))]
    if strange:
        off(f"{wheel.name} holds {strange[0]}")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        off(f"{wheel.name} lacks its licence")
    with tarfile.open(sdist) as archive:
        if not any(name.endswith("/pyproject.toml") for name in archive.getnames()):
            off(f"{sdist.name} lacks pyproject.toml")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dist", type=Path)
    parser.add_argument("--torch", default="torch", help="requirement that is installed first")
    parser.add_argument("--pip-flags", default="", help="given to pip, e.g. an index of CPU builds")
    parser.add_argument("--queries", type=int, default=50, help="of the demo's study of retrieval")
    options = parser.parse_args()
    wheel, sdist = only(options.dist, "*.whl"), only(options.dist, "*.tar.gz")
    look_inside(wheel, sdist)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place / "env", with_pip=True)
        python = place / "env" / "bin" / "python"
        # nothing of this checkout may be found by accident
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

        def run(*words: str | Path) -> str:
            done = subprocess.run([*map(str, words)], cwd=place, env=clean, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                off(f"{words[0]} {words[1]} … failed: {last}")
            return done.stdout

        flags = ["--quiet", "--disable-pip-version-check", *shlex.split(options.pip_flags)]
        run(python, "-m", "pip", "install", *flags, options.torch, wheel.resolve())
        print("installed", run(python, "-c", LIGHT).strip())
        solquery = place / "env" / "bin" / "solquery"
        summary = json.loads(run(solquery, "demo", "--out", "demo", "--queries", str(options.queries), "--json"))
        report = place / "demo" / "report.html"
        if not report.is_file() or not summary["matches"]:
            off("the demo ended without a report")
        print(f"demo: {summary['archive']['patches']} patches, {len(summary['matches'])} matches, a report of "
              f"{report.stat().st_size / 1e6:.1f} MB, {summary['seconds']:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
