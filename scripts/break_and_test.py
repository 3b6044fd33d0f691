"""Break the package in one place after another, and see whether the tests notice.

python scripts/break_and_test.py            # all breakages: some minutes
python scripts/break_and_test.py --list
python scripts/break_and_test.py --only tuf split

Each breakage is a small change of one file, made on a copy of the checkout, for which a test file must then fail. One
that survives is a hole in the tests; one whose text is not found any more is out of date. Exit code 0: every breakage
was noticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from breakages import BREAKAGES, Breakage

ROOT = Path(__file__).parents[1]


def apply(breakage: Breakage, copy: Path) -> tuple[Path, str] | None:
    """Make the change in the copy; the file and its text before, or None where the old text is not there once."""
    path = copy / "src" / "solquery" / breakage.file
    before = path.read_text()
    if before.count(breakage.old) != 1:
        return None
    path.write_text(before.replace(breakage.old, breakage.new))
    return path, before


def fails(test: str, copy: Path) -> bool:
    """Whether a test file fails on the copy; it stops at the first failure."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{test}"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    # 1: tests failed; anything else but 0 says that they could not be run
    if done.returncode not in (0, 1, 2):
        sys.exit(f"{test} cannot be run: {done.stdout.strip().splitlines()[-1:]}")
    return done.returncode != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of breakages; all without it")
    parser.add_argument("--list", action="store_true", help="list them and stop")
    options = parser.parse_args()
    chosen = [b for b in BREAKAGES if not options.only or b.name in options.only]
    unknown = set(options.only or ()) - {b.name for b in BREAKAGES}
    if unknown:
        sys.exit(f"no breakage named {', '.join(sorted(unknown))}; --list names them")
    if options.list:
        for b in chosen:
            print(f"{b.name:20} {b.file:28} {b.test}")
        return
    survived, stale = [], []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        skipped = shutil.ignore_patterns(".git", ".venv", "_build", "dist", "runs", "archives", "demo", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=skipped)
        sound: set[str] = set()
        for b in chosen:
            # a test that fails anyway would notice everything
            if b.test not in sound and fails(b.test, copy):
                sys.exit(f"tests/{b.test} fails with nothing broken; mend that first")
            sound.add(b.test)
            changed = apply(b, copy)
            if changed is None:
                stale.append(b.name)
                print(f"{b.name:20} out of date: its text is not in {b.file} once", flush=True)
                continue
            path, before = changed
            try:
                found = fails(b.test, copy)
            finally:
                path.write_text(before)
            print(f"{b.name:20} {'noticed' if found else 'SURVIVED'} ({b.test})", flush=True)
            if not found:
                survived.append(b.name)
    print(f"{len(chosen)} breakages: {len(chosen) - len(survived) - len(stale)} noticed, {len(survived)} survived, "
          f"{len(stale)} out of date")  # fmt: skip
    sys.exit(1 if survived or stale else 0)


if __name__ == "__main__":
    main()
