"""What is in the repository: no large file but those that are named here, with the reason."""

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
