"""What is heavy is loaded when it is used: `import solquery` and `solquery --help` load none of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import solquery
from solquery import Archive

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


def test_patches_presets_and_parameters_load_nothing_heavy():
    found = loaded_by(
        "import solquery; from solquery.physics import parameters; parameters()\n"
        "solquery.Patch, solquery.get_preset('paper'), solquery.measure, solquery.Model.list()"
    )
    assert not found & HEAVY


SAMPLE = Path(solquery.__file__).parent / "samples" / "sharp-856-20110915T052400-magnetogram.fits"


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["params", str(SAMPLE)],
        ["params", str(SAMPLE), "--param", "r_value", "--noise", "10", "--json"],
        ["ingest", str(SAMPLE), "--archive", "ARCHIVE", "--any-quality"],
        ["info", "--archive", "ARCHIVE"],
    ],
)
def test_verbs_without_a_network_do_not_load_torch(arguments, tmp_path):
    pytest.importorskip("numba")
    archive = str(tmp_path / "archive")
    if arguments[:2] == ["info", "--archive"]:
        Archive.create(archive)
    found = loaded_by(HELP.format(arguments=[archive if part == "ARCHIVE" else part for part in arguments]))
    assert "torch" not in found
    assert arguments[0] == "ingest" or "pandas" not in found


def test_a_package_is_spared_only_while_it_is_said_and_can_be_had_afterwards():
    code = (
        "from solquery.lazy import spare, without_spared\nspare('html')\n"
        "with without_spared():\n    try:\n        import html\n    except ImportError:\n        pass\n"
        "    else:\n        raise SystemExit(1)\n"
        "import html, sys\nassert not [f for f in sys.meta_path if type(f).__module__ == 'solquery.lazy']"
    )
    assert "html" in loaded_by(code)


def test_an_archive_opened_by_a_program_leaves_pandas_as_it_is(tmp_path):
    pytest.importorskip("pandas")
    code = (
        f"from solquery import Archive\nArchive.create({str(tmp_path / 'archive')!r})\n"
        "import pandas as pd, pyarrow as pa\n"
        "assert pa.array(pd.Series(pd.to_datetime(['2012-01-01', None]))).null_count == 1"
    )
    assert "pandas" in loaded_by(code)


def test_a_parameter_of_a_plugin_is_measured_in_torch_where_a_verb_does_without(tmp_path):
    plugin = tmp_path / "own.py"
    plugin.write_text(
        "from solquery.physics import parameter\n\n\n@parameter('peak', 'G')\n"
        "def peak(fields, scale):\n    return fields.abs().amax((1, 2))\n"
    )
    code = HELP.format(arguments=["params", str(SAMPLE), "--param", "peak", "--plugin", str(plugin)])
    assert "torch" in loaded_by(code)


def test_what_opens_no_archive_does_not_wait_for_lance(tmp_path):
    arguments = ["generate", "--describe", "strong", "--seed", "1", "--out", str(tmp_path)]
    found = loaded_by(HELP.format(arguments=arguments))
    assert "torch" in found and not found & {"lancedb", "sklearn", "sunpy", "reproject", "drms", "fastapi"}


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
