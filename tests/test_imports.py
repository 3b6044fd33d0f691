"""What is heavy is loaded when it is used: `import solquery` and `solquery --help` load none of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import solquery

HEAVY = {
    "torch", "scipy", "sklearn", "lancedb", "lance", "pyarrow", "pandas", "astropy", "sunpy", "reproject", "drms",
    "matplotlib", "PIL", "pydantic", "fastapi", "uvicorn", "starlette", "h5py", "dask", "distributed", "safetensors",
}  # fmt: skip

TELL = "import json, sys; print('MODULES', json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_by(code: str) -> set[str]:
    """Top-level modules that an interpreter of its own has loaded after `code`."""
    path = os.pathsep.join([str(Path(solquery.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{TELL}"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout.rsplit("MODULES ", 1)[1]))


HELP = """
import sys
from solquery.cli import main
sys.argv = ["solquery", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def test_importing_the_package_needs_the_standard_library_alone():
    assert not loaded_by("import solquery") & (HEAVY | {"numpy", "typer", "rich"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "generator", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    # typer itself reads options with pydantic
    assert not loaded_by(HELP.format(arguments=arguments)) & (HEAVY - {"pydantic"})


def test_patches_presets_and_parameters_need_torch_and_nothing_else_that_is_heavy():
    found = loaded_by("import solquery; solquery.Patch, solquery.get_preset('paper'), solquery.measure")
    assert found & HEAVY == {"torch"}


def test_what_opens_no_archive_does_not_wait_for_lance(tmp_path):
    arguments = ["generate", "--describe", "strong", "--seed", "1", "--out", str(tmp_path)]
    found = loaded_by(HELP.format(arguments=arguments))
    assert "torch" in found and not found & {"lancedb", "sklearn", "sunpy", "reproject", "drms", "fastapi"}


def test_the_measure_works():
    assert "torch" in loaded_by("import solquery; solquery.measure")


def test_every_public_name_is_there_and_has_a_docstring():
    for name in solquery.__all__:
        assert (getattr(solquery, name).__doc__ or "").strip(), name
    assert set(solquery.__all__) <= set(dir(solquery))


@pytest.mark.parametrize(
    "code",
    [
        "import solquery.search, solquery",
        "import solquery; solquery.search; import solquery.search.index",
        "import solquery; solquery.embed_archive; solquery.search_hybrid",
    ],
)
def test_the_verb_search_can_be_called_whichever_of_verb_and_package_comes_first(code):
    assert loaded_by(f"{code}; assert callable(solquery.search); from solquery.search import Match, search")
