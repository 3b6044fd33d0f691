"""The blocks of docs/how-to/plug-in-encoder.md that need no file of the reader, in their order, in an empty folder."""

import os
import re
import shlex
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from command_line import call, failure

from solquery import plugins, sample_patches
from solquery.archive import Archive
from solquery.encoder import registry
from solquery.model import Model, ModelError
from solquery.model_files import ModelWarning

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "plug-in-encoder.md"
MARK = "<!-- test: parse only: tests/encoder/test_plug_in_page.py runs this page -->\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With an archive of the shipped observations, and registries that forget what the page adds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.ENVIRONMENT, "")
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(registry, "_ENCODERS", {})
    Archive.create("sharps").add(sample_patches()[:6])
    sample = files("solquery").joinpath("samples", "sharp-115-20100807T203600-magnetogram.fits")
    shutil.copy(str(sample), tmp_path / "observation.fits")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("solquery_plugin_my_encoder")]:
        del sys.modules[name]


def test_the_page_runs_from_the_module_to_the_saved_model(folder, monkeypatch):
    blocks = re.findall(re.escape(MARK) + r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [language for language, _ in blocks] == ["python", "sh", "python"]
    (folder / "my_encoder.py").write_text(blocks[0][1])
    for line in blocks[1][1].splitlines():
        program, *words = shlex.split(line)
        assert program == "solquery"
        call(*words)
    hashes = set(Archive.open("sharps").table(["embedding_model"])["embedding_model"].to_pylist())
    space = {}
    with pytest.warns(ModelWarning, match="saved without its sampler"):
        exec(compile(blocks[2][1], str(PAGE), "exec"), space)  # the page is the program
    # the command line and Python mean the same encoder, and nothing was embedded twice
    assert hashes == {space["model"].encoder_hash}
    assert Model.load("models/with-power").encoder_hash == space["model"].encoder_hash

    own = space["archive"].ids()[0]
    # the shipped encoder does not take these embeddings for its own, nor does one that was edited
    assert "embedded by another encoder" in failure("search", own, "--archive", "sharps")
    (folder / "my_encoder.py").write_text(blocks[0][1].replace("/ 10", "/ 20"))
    monkeypatch.setattr(plugins, "_LOADED", {})
    said = failure("--plugin", "my_encoder.py", "search", own, "--archive", "sharps", "--encoder", "power")
    assert re.search(r"embedded by another encoder.*--encoder power", said)
    with pytest.raises(ModelError, match="saved with another encoder 'power'"):
        Model.load("models/with-power")
    assert os.environ[plugins.ENVIRONMENT].endswith("my_encoder.py")


def test_an_encoder_that_is_not_there_is_told_before_anything_is_done(folder):
    command = ("archive", "embed", "sharps", "--encoder")
    assert "no encoder named 'pwoer'; there is none" in failure(*command, "pwoer")
    assert "no ONNX file" in failure(*command, "nowhere.onnx") or "needs onnxruntime" in failure(
        *command, "nowhere.onnx"
    )
    assert "embedding" not in Archive.open("sharps").columns
