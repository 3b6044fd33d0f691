"""Every code block of docs/how-to/plug-in-generator.md is run, in its order, in an empty folder."""

import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from started import Started

from solquery.generator import registry as networks
from solquery.model import Model, ModelError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "plug-in-generator.md"


def _blocks():
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plug-in")


@pytest.fixture(scope="module")
def told(folder):
    """What the page's Python leaves behind."""
    (first, module), *rest = _blocks()
    assert first == "python" and module.startswith("# my_generator.py\n")
    (folder / "my_generator.py").write_text(module)
    space, before = {}, Path.cwd()
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    try:
        for language, code in rest:
            if language == "python":
                exec(compile(code, str(PAGE), "exec"), space)  # the page is the program
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        sys.modules.pop("my_generator", None)
    yield space
    networks._ARCHITECTURES.pop("pca", None)


def test_the_generator_takes_about_thirty_lines():
    code = [line for line in _blocks()[0][1].splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(code) <= 30


def test_everything_downstream_works_with_it(told, folder, monkeypatch):
    monkeypatch.chdir(folder)  # the page's archive has a relative path
    model, answer, found = told["model"], told["answer"], told["found"]
    assert type(model.generator).__name__ == "PcaDecoder" and model.directions is not None
    # the tensors came back as they went in
    assert np.array_equal(model.generator.components.numpy(), told["decoder"].components.numpy())
    assert answer.measured["tuf"] == pytest.approx(told["middle"], rel=0.25)
    # inverted: better than the mean patch, which is what a latent of zeros gives
    x = np.asarray(told["archive"].prepared(model.preset)[1][0], np.float32)
    assert found.mse < 0.8 * np.square(x - model.generator.mean.view(128, 128).numpy()).mean()
    assert len({match.region for match in told["search"](told["archive"], model, answer.x, k=3)}) == 3


def test_without_the_import_the_model_says_what_is_missing(told, folder, monkeypatch):
    monkeypatch.delitem(networks._ARCHITECTURES, "pca")
    with pytest.raises(ModelError, match=r"no generator architecture named 'pca'.*registered first"):
        Model.load(folder / "models" / "pca")


def test_the_command_line_works_with_it(told, folder):
    lines = [line for language, code in _blocks() if language == "sh" for line in code.splitlines()]
    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "solquery" and "--plugin" in words
        done = Started(*words, cwd=folder)
        out, err = done.communicate()
        assert done.returncode == 0 and out.lstrip().startswith("{"), err[-2000:]


def test_no_block_is_left_out():
    assert {language for language, _ in _blocks()} == {"python", "sh"}
