"""What the inversion study tells, on patches of which it is known what can come back."""

import numpy as np
import pytest
import torch

from solquery import Patch
from solquery.physics import get_parameter
from solquery.study.inversion import BLOCKS, edit_inverted, power_by_scale, run_inversion, unexplained_by_scale
from solquery.study.inversion_figures import figure_edits, figure_inversions, figure_scales


def test_grain_averages_out_and_structure_does_not():
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.normal(size=(3, 4, 4)), np.ones((16, 16))).astype(np.float32)
    grain = np.tile(np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32), (32, 32))
    left = unexplained_by_scale(smooth + grain, smooth)
    power = np.square(smooth).mean((1, 2))
    np.testing.assert_allclose(left[:, 0], 1.0 / (power + 1.0), rtol=1e-5)
    np.testing.assert_allclose(left[:, 1:], 0.0, atol=1e-6)
    np.testing.assert_allclose(power_by_scale(smooth + grain)[:, 1:], (power / (power + 1.0))[:, None] * np.ones(4),
                               rtol=1e-5)  # fmt: skip
    # an empty field explains nothing, at any scale
    np.testing.assert_allclose(unexplained_by_scale(smooth, 0 * smooth), 1.0)


@pytest.fixture(scope="module")
def study(model):
    """Generated patches as they are ("simulated"), and with grain of 100 G ("real")."""
    rng = np.random.default_rng(4)
    z = torch.from_numpy(rng.standard_normal((12, 16)).astype(np.float32))
    z[:, 2] = z[:, 2].sign() * (0.5 + z[:, 2].abs())
    fields = model.preset.to_gauss(model.generator(z)[:, 0].detach()).numpy()
    grain = rng.normal(0, 100, (6, 32, 32)).astype(np.float32)
    groups = {
        kind: [Patch(f, (1.0, 1.0), f"{kind}-{k}", f"{kind} {k // 2}", kind) for k, f in enumerate(some)]
        for kind, some in (("real", fields[:6] + grain), ("simulated", fields[6:]))
    }
    return run_inversion(model, groups, starts=4, steps=100)


def test_what_a_hundred_numbers_cannot_know_is_lost_and_nothing_else(study):
    found = study.summary()
    real, simulated = found["real"], found["simulated"]
    assert real["patches"] == simulated["patches"] == 6 and real["regions"] == 3
    assert simulated["unexplained"]["1"] < 0.02
    power = np.square(study.x[study.rows("real")]).mean((1, 2))
    np.testing.assert_allclose(study.unexplained[study.rows("real"), 0], 0.01 / power, rtol=0.3)
    assert real["unexplained"]["8"] < 0.2 * real["unexplained"]["1"]
    assert simulated["relative_error"]["tuf"] < 0.03
    # beyond 150 G the grain stands in the whole frame: a separation measured on the observation is not the spots'
    assert real["relative_error"]["psep"] > simulated["relative_error"]["psep"]
    # thirds from weak to strong; grain of one size weighs less where there is more field
    thirds = [third["unexplained"]["1"] for third in real["by_flux"]]
    assert thirds[0] > thirds[-1]


def test_an_inverted_patch_is_led_where_it_is_asked_with_the_held_one_in_place(model, study):
    edits = edit_inverted(model, study, study.rows("real")[:2], "r", 0.5)
    assert {edit.name for edit in edits} == {"tuf", "psep"}
    for edit in edits:
        assert edit.after == pytest.approx(edit.requested, rel=0.05)
        assert edit.requested >= edit.before * 0.99
        assert abs(edit.held_change) < 0.1
    assert max(edit.after / edit.before for edit in edits) > 1.05
    figure = figure_edits(model, study, edits)
    assert "R held" in "".join(axes.get_title() for axes in figure.axes)
    # where the separation is undefined its place stays empty, and every other picture stays in its column
    first = next(edit for edit in edits if edit.name == "tuf")
    figure = figure_edits(model, study, [edit for edit in edits if edit is not first])
    shown = [axes.get_visible() for axes in figure.axes]
    assert shown.count(False) == 1 and all(axes.images for axes in figure.axes if axes.get_visible())
    for column, name in enumerate(dict.fromkeys(edit.name for edit in edits if edit is not first)):
        symbols = {axes.get_title().split()[0] for axes in figure.axes[2 + column :: 4] if axes.get_visible()}
        assert symbols == {get_parameter(name).symbol}


def test_pictures_show_observed_ones_first_and_every_scale(model, study):
    figure = figure_inversions(model, study)
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert len(titles) == 24 and titles[0] == "real: real 0"
    curves = figure_scales(study, 2.0).axes[0]
    np.testing.assert_allclose(curves.get_lines()[0].get_xdata(), 2.0 * np.array(BLOCKS))
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["real, 6", "simulated, 6"]


def test_physics_is_led_to_what_was_observed_and_the_price_is_told(model):
    z = torch.from_numpy(np.random.default_rng(8).standard_normal((3, 16)).astype(np.float32))
    z[:, 2] = z[:, 2].sign() * (0.8 + z[:, 2].abs())
    fields = model.preset.to_gauss(model.generator(z)[:, 0].detach()).numpy()
    groups = {"simulated": [Patch(f, (1.0, 1.0), f"s-{k}", f"s {k}", "simulated") for k, f in enumerate(fields)]}
    study = run_inversion(model, groups, starts=2, steps=45, physics=True)
    assert study.before.shape == (3, len(BLOCKS)) and set(study.verdicts) <= {"drawn", "cannot draw"}
    told = study.summary()["simulated"]
    assert told["matched"]["tuf"]["within"] == 1.0 and told["matched"]["psep"]["within"] == 1.0
    assert told["matched"]["polarity"]["within"] == 1.0
    assert told["unexplained"]["1"] < 0.1 and set(told["unexplained_before"]) == {str(b) for b in BLOCKS}
    assert told["cannot_draw"] == sum(verdict == "cannot draw" for verdict in study.verdicts)
