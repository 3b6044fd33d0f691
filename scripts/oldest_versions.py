"""Write constraints.txt: the oldest series of every dependency that pyproject.toml allows, to test against.

    python scripts/oldest_versions.py

Each lower bound becomes the series it names: ``numpy>=1.26`` is tested with the last numpy 1.26. `make test-oldest`
installs with them into an environment of its own and runs the tests there.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "constraints.txt"
_BOUND = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[[^\]]*\])?>=(?P<version>[0-9.]+)(?:,.*)?$")
#: tools that judge the code and take no part in it: any version does
_TOOLS = {"build", "furo", "mypy", "myst-parser", "pre-commit", "ruff", "sphinx", "sphinx-gallery", "towncrier"}


def oldest(requirements: Iterable[str]) -> dict[str, str]:
    """Name to the series that its lower bound names; ValueError for a requirement without one."""
    out: dict[str, str] = {}
    for text in requirements:
        requirement = text.split(";")[0].replace(" ", "")
        if requirement.startswith("solquery["):
            continue
        found = _BOUND.match(requirement)
        if found is None:
            raise ValueError(f"{text!r} has no lower bound; say from which version on it works")
        name = found["name"].lower()
        if name in out and out[name] != found["version"]:
            raise ValueError(f"{name} has two lower bounds, {out[name]} and {found['version']}; name one")
        out[name] = found["version"]
    return {name: version for name, version in sorted(out.items()) if name not in _TOOLS}


def text() -> str:
    """The constraints file of pyproject.toml as it stands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    lines = [f"{name}=={version}.*" for name, version in oldest(asked).items()]
    return "\n".join(["# Written by scripts/oldest_versions.py from the lower bounds in pyproject.toml.", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="Fail where the file is not up to date.")
    if parser.parse_args().check:
        if not OUT.is_file() or OUT.read_text() != text():
            raise SystemExit(f"{OUT.name} is not what pyproject.toml says; run python scripts/oldest_versions.py")
        return
    OUT.write_text(text())


if __name__ == "__main__":
    main()
