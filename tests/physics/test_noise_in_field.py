"""Noise of radial fields where the field is strong, and the errors that follow from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from noisy_regions import SCALE_MM, level_of, polarised_noise, region

from solquery.physics import estimate_noise, parameter_errors
from solquery.physics.quiet import NoiseModel
from solquery.physics.responses import noise_in_field

torch.set_num_threads(1)


@pytest.mark.parametrize("mu", [0.9, 0.75, 0.6])
def test_noise_of_radial_fields_is_less_in_strong_field(mu):
    """Against noise of Q, U and V, smoothed in another way, on fields of known strength."""
    shape, level = (100, 150), level_of(mu)
    model = NoiseModel(np.full(shape, level, np.float32), transverse=True)
    stated = []
    for gauss in (0.0, 250.0, 500.0, 1200.0):
        field = np.full(shape, gauss, np.float32)
        stated.append(float(noise_in_field(field, model).mean()))
        assert 0.5 < float(polarised_noise(field, mu, 5, uneven=0.0).std()) / (level * stated[-1]) < 1.25, gauss
    assert stated[0] == 1.0 and stated[-1] < 0.35
    assert noise_in_field(field, replace(model, transverse=False)).min() == 1.0


def test_flux_of_strong_field_is_known_better_than_the_noise_of_quiet_pixels_tells():
    field = region(1) + polarised_noise(region(1), 0.7, 3)
    model = estimate_noise(field, SCALE_MM)
    errors = [
        parameter_errors(field, SCALE_MM, one, ["flux", "axis_angle"])
        for one in (model, replace(model, transverse=False))
    ]
    for name in ("flux", "axis_angle"):
        assert errors[0][name].error < 0.8 * errors[1][name].error
