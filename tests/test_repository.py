"""What is in the repository: no large file but those that are named here, and a true table of where things live."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST_BYTES = 1_000_000
#: larger files that belong here
ALLOWED = {
    "src/solquery/models/*/*.safetensors": "weights that ship with the package",
    "docs/reproduce/*.html": "reports with their pictures inside",
}


def too_large(sizes):
    """Names of files over the limit that nothing allows."""
    return sorted(
        name
        for name, size in sizes.items()
        if size > LARGEST_BYTES and not any(fnmatch(name, pattern) for pattern in ALLOWED)
    )


def test_no_large_file_is_committed():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a checkout of git")
    names = [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(names) > 300
    assert too_large({name: (ROOT / name).stat().st_size for name in names}) == []


def test_a_large_file_is_noticed_and_weights_that_ship_are_not():
    sizes = {
        "docs/movie.mp4": 2_000_000,
        "src/solquery/models/paper/encoder.safetensors": 9_000_000,
        "README.md": 9_000,
    }
    assert too_large(sizes) == ["docs/movie.mp4"]


def things(contributing):
    """Names in the first column of the table of where things live."""
    table = contributing.split("## Where things live")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name.removeprefix("src/solquery/").rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_the_table_of_where_things_live_has_every_module_and_package_and_nothing_else():
    told = things((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    package = ROOT / "src" / "solquery"
    folders = [
        path
        for path in package.iterdir()
        if path.is_dir() and {inner.name for inner in path.iterdir()} - {"__pycache__"}
    ]
    there = {path.name for path in [*package.glob("*.py"), *folders]}
    assert there - {"__init__.py", "__pycache__"} - told == set()
    assert [name for name in told if not ((package / name).exists() or (ROOT / name).exists())] == []


def test_a_module_that_the_table_lacks_is_noticed():
    assert things("## Where things live\n\n| | |\n|---|---|\n| `src/solquery/io.py`, `app/` | what |\n\n## Rules") == {
        "io.py",
        "app",
    }
