"""constraints.txt is what the lower bounds of pyproject.toml say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("oldest_versions", ROOT / "scripts" / "oldest_versions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_up_to_date(script):
    assert (ROOT / "constraints.txt").read_text() == script.text()
    assert "numpy==1.26.*" in script.text() and "solquery" not in script.text().split("\n", 1)[1]


def test_bounds_are_read_as_they_are_written(script):
    assert script.oldest(["torch>=2.8,<2.14", "sunpy[map]>=7.0", "Flask >= 3", "solquery[app]", "ruff>=0.6"]) == {
        "flask": "3", "sunpy": "7.0", "torch": "2.8",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no lower bound"):
        script.oldest(["numpy"])
    with pytest.raises(ValueError, match="two lower bounds"):
        script.oldest(["numpy>=1.26", "numpy>=2"])
