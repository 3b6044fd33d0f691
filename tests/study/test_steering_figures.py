"""The paper's figures of steering for any parameter: the numbers behind them."""

import numpy as np
import pytest

from solquery.steering import SteeringError
from solquery.study.steering_figures import parameters_figure, plane_figure, strips_figure


@pytest.mark.parametrize("name", ["psep", "polarity"])
def test_the_boundary_has_the_patches_on_the_side_that_their_values_say(model, name):
    figure, numbers = plane_figure(model, name, 300, seed=2)
    # the same share as a support vector machine has right on latents that it was not fitted on
    accuracy = float(model.directions.accuracies[model.directions.index(name)])
    assert numbers["right_side"] == pytest.approx(accuracy, abs=0.08)
    assert sum(bool(axes.images) for axes in figure.axes) == 9  # the plane and four patches at either end


def test_strips_alone_and_held_begin_at_the_same_patch(model):
    figure, numbers = strips_figure(model, "psep", ("tuf", "polarity"), seed=1)
    alone, held = numbers["strips"]
    assert alone["hold"] == [] and held["hold"] == ["tuf", "polarity"]
    middle = alone["eps"].index(0.0)
    assert alone["values"]["psep"][middle] == held["values"]["psep"][middle]
    assert alone["values"]["psep"][-1] > alone["values"]["psep"][0]
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == ["PSEP changed, nothing held", "PSEP changed, TUF and polarity held"]
    with pytest.raises(SteeringError, match="psep"):
        strips_figure(model, "psep", ("psep",))


def test_the_patch_taken_apart_is_one_with_much_of_everything(model):
    figure, numbers = parameters_figure(model, 30, seed=3)
    assert numbers["values"]["tuf"] > model.directions.quantile("tuf", 50)
    assert np.isfinite(numbers["values"]["psep"])
    assert len(figure.axes) == 4


def test_the_papers_networks_are_laid_on_its_first_two_axes_unless_others_are_asked_for(model):
    from solquery.steering.projection import best_axes

    normal = model.directions.normals[model.directions.index("tuf")]
    best = list(best_axes(normal))
    assert model.preset.papers_method
    shown = [plane_figure(model, "tuf", 60, 0, axes)[1]["axes"] for axes in (None, (2, 5), "best")]
    assert shown == [[0, 1], [2, 5], best]
    with pytest.raises(SteeringError, match="choose two of them"):
        plane_figure(model, "tuf", 60, 0, (0, 10_000))
