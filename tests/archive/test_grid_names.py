"""The grid of a row that was embedded when the name of its preset had another meaning."""

import numpy as np
import pytest

from solquery.archive import Archive
from solquery.archive.grid_names import GRID_COLUMNS, grid_names, where_on_grid
from solquery.config import PRESETS, get_preset, preset_of_run
from solquery.patch import Patch

IDS = [f"p{k}" for k in range(5)]


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "archive")
    field = np.zeros((8, 8), np.float32)
    made.add([Patch(field, (1.0, 1.0), name, f"SIM {name}", "simulated") for name in IDS])
    return made


def named(archive):
    columns = [name for name in GRID_COLUMNS if name in archive.columns]
    table = archive.table(["id", *columns])
    return dict(zip(table["id"].to_pylist(), grid_names(table).to_pylist(), strict=True))


def found(archive):
    """The same, by the conditions."""
    out = dict.fromkeys(IDS)
    for name in PRESETS:
        for patch_id in archive.ids(where_on_grid(archive.columns, get_preset(name))):
            assert out[patch_id] is None
            out[patch_id] = name
    return out


def test_before_shares_were_written_physical_was_square(archive):
    archive.set_columns(IDS[:3], {"grid_preset": ["physical", "physical", "quick"]})
    wanted = dict(zip(IDS, ["physical-square", "physical-square", "quick", None, None], strict=True))
    assert named(archive) == wanted
    assert found(archive) == wanted
    # embedded since: one on the wide grid, one again on the square one
    archive.set_columns(
        ["p1", "p3", "p4"],
        {"grid_preset": ["physical", "physical-square", "physical"], "flux_outside_view": [0.0, 0.1, 0.02]},
    )
    wanted = dict(zip(IDS, ["physical-square", "physical", "quick", "physical-square", "physical"], strict=True))
    assert named(archive) == wanted
    assert found(archive) == wanted


def test_a_run_is_of_what_its_preset_meant_then():
    assert preset_of_run("physical", [128, 128]) is PRESETS["physical-square"]
    assert preset_of_run("physical", (96, 192)) is PRESETS["physical"]
    assert preset_of_run("quick", (128, 128)) is PRESETS["quick"]
    assert preset_of_run("physical", (32, 32)) is PRESETS["physical"]  # of neither; whoever uses it says so
