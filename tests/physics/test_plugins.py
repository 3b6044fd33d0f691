"""Files with parameters of the user's own, and the page that documents all parameters."""

import importlib.util
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import solquery
from solquery import plugins
from solquery.config import GeneratorConfig
from solquery.errors import SolqueryError
from solquery.generator import registry as networks
from solquery.physics import PluginError, load_plugin, measure, parameters, plugin_names, registry

ROOT = Path(__file__).parents[2]
PEAK = '''
from solquery import parameter

@parameter("peak_of_mine", "G", title="Strongest field")
def peak_of_mine(fields, scale):
    """Largest unsigned field of the patch."""
    return fields.abs().amax((1, 2))
'''


GENERATOR = '''
import torch
from solquery import register_generator

class Flat(torch.nn.Module):
    """A patch of one value: the first latent number."""
    def __init__(self, config, shape):
        super().__init__()
        self.latent_dim, self.shape = config.latent_dim, shape
    def forward(self, z):
        return z[:, :1, None, None].expand(len(z), 1, *self.shape)

register_generator("flat", Flat)
'''


@pytest.fixture(autouse=True)
def scratch(monkeypatch):
    """A registry that forgets what the test adds."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(networks, "_ARCHITECTURES", dict(networks._ARCHITECTURES))


def _plugin_modules():
    return {name for name in sys.modules if name.startswith("solquery_plugin_")}


def written(tmp_path, text, name="mine.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_file_registers_its_parameters_once(tmp_path):
    path = written(tmp_path, PEAK)
    assert load_plugin(path) == ("peak_of_mine",) == load_plugin(path)
    assert plugin_names() == ("peak_of_mine",)
    assert measure(torch.tensor([[1.0, -4.0], [2.0, 0.0]]))["peak_of_mine"].item() == 4.0


def test_a_file_registers_a_generator_or_both_kinds(tmp_path):
    path = written(tmp_path, GENERATOR)
    assert load_plugin(path) == ("flat",) == load_plugin(path)
    assert plugin_names() == ()  # no parameter: nothing to fit a direction for
    both = written(tmp_path, PEAK + GENERATOR.replace('"flat"', '"level"'), "both.py")
    assert load_plugin(both) == ("peak_of_mine", "level")
    assert {"flat", "level"} <= set(networks.architectures())


def test_a_generator_named_in_the_environment_is_found_and_its_objects_can_be_sent(tmp_path, monkeypatch):
    """As the processes do that a cluster starts: there the class is known by the file alone."""
    path = written(tmp_path, GENERATOR)
    load_plugin(path)
    network = networks.build_generator(GeneratorConfig(arch="flat", latent_dim=3), (4, 6))
    (tmp_path / "packed").write_bytes(pickle.dumps(network))
    code = (
        "import pickle, pathlib, torch\n"
        "from solquery.config import GeneratorConfig\n"
        "from solquery.generator.registry import build_generator\n"
        "build_generator(GeneratorConfig(arch='flat', latent_dim=3), (4, 6))\n"
        "print(pickle.loads(pathlib.Path('packed').read_bytes())(torch.full((2, 3), 7.0)).sum().item())"
    )
    there = os.pathsep.join([str(Path(solquery.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": there, plugins.ENVIRONMENT: str(path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "336.0", done.stderr[-2000:]


def test_files_named_in_the_environment_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("SOLQUERY_PLUGINS", str(written(tmp_path, PEAK)))
    plugins.load_from_environment()
    assert "peak_of_mine" in parameters()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "registers no parameter, no generator and no encoder"),
        (PEAK + GENERATOR.replace('"flat"', '"paper"'), "the package has a generator 'paper' itself"),
        (GENERATOR + "\n1 / 0\n", "ZeroDivisionError"),
        ("x = 1\nraise RuntimeError('no luck')\n", r"line 2: RuntimeError: no luck"),
        ("def broken(:\n", r"line 1: SyntaxError"),
        (PEAK.replace("peak_of_mine", "tuf"), r"'tuf' is already defined in solquery\.physics\.integral"),
        (PEAK + "\nimport nothing_of_that_name\n", "ModuleNotFoundError"),
        (PEAK.replace('"peak_of_mine"', '"Two Words"'), "lower-case identifier"),
    ],
)
def test_a_bad_file_is_refused_and_leaves_nothing_behind(tmp_path, text, message):
    before, built, modules = parameters(on_demand=True), networks.architectures(), _plugin_modules()
    with pytest.raises(PluginError, match=message) as caught:
        load_plugin(written(tmp_path, text))
    assert isinstance(caught.value, SolqueryError)
    assert "mine.py" in str(caught.value)
    assert parameters(on_demand=True) == before
    assert networks.architectures() == built
    assert _plugin_modules() == modules


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
