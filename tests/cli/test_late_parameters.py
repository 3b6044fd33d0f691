"""A parameter that was registered after a model was made can be asked for all the same."""

from __future__ import annotations

import warnings

from solquery.cli.inputs import asked_of
from solquery.model import Model
from solquery.physics import parameter, registry
from solquery.steering import SteeringWarning


def test_a_direction_is_fitted_for_what_the_model_was_made_without(room, monkeypatch, capsys):
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    @parameter("late_peak", "G")
    def late_peak(fields, scale):
        """Largest unsigned field."""
        return fields.abs().amax((1, 2))

    models = Model.load(room / "model")
    before = models.directions.names
    with warnings.catch_warnings():
        # a generator trained for seconds
        warnings.simplefilter("ignore", SteeringWarning)
        asked = asked_of(None, ["late_peak>=1", "tuf>=1"], models)
    assert set(asked) == {"late_peak", "tuf"}
    assert models.directions.names == (*before, "late_peak")
    assert "fitting the direction of late_peak" in capsys.readouterr().err
    # nothing is fitted twice
    asked_of(None, ["late_peak>=1"], models)
    assert capsys.readouterr().err == ""
