"""Files with parameters of the user's own, and the page that documents all parameters."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from solquery.errors import SolqueryError
from solquery.physics import PluginError, load_plugin, measure, parameters, plugin_names, plugins, registry

ROOT = Path(__file__).parents[2]
PEAK = '''
from solquery import parameter

@parameter("peak_of_mine", "G", title="Strongest field")
def peak_of_mine(fields, scale):
    """Largest unsigned field of the patch."""
    return fields.abs().amax((1, 2))
'''


@pytest.fixture(autouse=True)
def scratch(monkeypatch):
    """A registry that forgets what the test adds."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.setattr(plugins, "_LOADED", {})


def written(tmp_path, text, name="mine.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_file_registers_its_parameters_once(tmp_path):
    path = written(tmp_path, PEAK)
    assert load_plugin(path) == ("peak_of_mine",) == load_plugin(path)
    assert plugin_names() == ("peak_of_mine",)
    assert measure(torch.tensor([[1.0, -4.0], [2.0, 0.0]]))["peak_of_mine"].item() == 4.0


def test_files_named_in_the_environment_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("SOLQUERY_PLUGINS", str(written(tmp_path, PEAK)))
    plugins.load_from_environment()
    assert "peak_of_mine" in parameters()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "registers no parameter"),
        ("x = 1\nraise RuntimeError('no luck')\n", r"line 2: RuntimeError: no luck"),
        ("def broken(:\n", r"line 1: SyntaxError"),
        (PEAK.replace("peak_of_mine", "tuf"), r"'tuf' is already defined in solquery\.physics\.integral"),
        (PEAK + "\nimport nothing_of_that_name\n", "ModuleNotFoundError"),
        (PEAK.replace('"peak_of_mine"', '"Two Words"'), "lower-case identifier"),
    ],
)
def test_a_bad_file_is_refused_and_leaves_nothing_behind(tmp_path, text, message):
    before = parameters(on_demand=True)
    with pytest.raises(PluginError, match=message) as caught:
        load_plugin(written(tmp_path, text))
    assert isinstance(caught.value, SolqueryError)
    assert "mine.py" in str(caught.value)
    assert parameters(on_demand=True) == before


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PluginError, match="no plug-in file"):
        load_plugin(tmp_path / "nothing.py")
    with pytest.raises(PluginError, match=r"ends in \.py"):
        load_plugin(written(tmp_path, PEAK, "mine.txt"))


def test_the_page_documents_every_parameter_of_today():
    spec = importlib.util.spec_from_file_location("make_parameter_docs", ROOT / "scripts" / "make_parameter_docs.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert script.updated(page) == page, "run scripts/make_parameter_docs.py"
    assert all(f"`{name}`" in page for name in parameters(on_demand=True))
    assert all(about.formula and about.source for about in parameters(on_demand=True).values())


def test_the_plug_in_of_the_page_works(tmp_path):
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# my_params\.py.*?)```", page, re.S)
    assert load_plugin(written(tmp_path, code)) == ("peak_field",)
    assert measure(torch.full((1, 3, 3), -1900.0), (1.0, 1.0), "peak_field")["peak_field"].item() == 1900.0
