"""Prediction of parameters from latents, on tables whose law is known."""

import numpy as np
import pytest

from solquery.steering import LatentTable, SteeringError, compare_with_svm, fit_directions, fit_regression


def table(n=3000, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 12)).astype(np.float32)
    values = {
        "tuf": 10.0 ** (22 + 0.5 * z[:, 0] + 0.3 * z[:, 1] + noise * rng.standard_normal(n)),
        "tilt": 10.0 * z[:, 2] + 100 * noise * rng.standard_normal(n),
        # rises and falls: no plane tells it
        "psep": 40.0 + 5.0 * np.abs(z[:, 3]) ** 2,
        "polarity": np.where(z[:, 4] > 0, 1.0, -1.0),
    }
    values["tilt"][::7] = np.nan
    return LatentTable(z, values)


def test_the_law_is_found_with_its_scatter():
    found = fit_regression(table(), ["tuf", "tilt", "psep"])
    assert list(found.logarithmic) == [True, False, False]
    np.testing.assert_allclose(found.coefficients[0, :2], [0.5, 0.3], atol=0.01)
    np.testing.assert_allclose(found.coefficients[0, 2:], 0, atol=0.01)
    assert found.r2[0] == pytest.approx(0.34 / 0.35, abs=0.01)
    assert found.scatter[0] == pytest.approx(0.1, rel=0.1)
    assert found.r2[1] == pytest.approx(0.5, abs=0.07)
    assert abs(found.r2[2]) < 0.1
    assert found.normal("tuf") @ found.normal("tuf") == pytest.approx(1)


def test_predictions_are_in_the_units_of_the_table():
    found = fit_regression(table(noise=0.0), ["tuf", "tilt"])
    other = table(200, 0.0, seed=9)
    got = found.predict(other.z)
    np.testing.assert_allclose(got["tuf"], other.values["tuf"], rtol=0.02)
    known = np.isfinite(other.values["tilt"])
    np.testing.assert_allclose(got["tilt"][known], other.values["tilt"][known], atol=0.1)


def test_beside_the_svm_regression_wins_on_values_and_loses_nothing_on_sides():
    data = table()
    rows = compare_with_svm(data, fit_directions(data, ["tuf", "polarity"]), fit_regression(data))
    assert set(rows) == {"tuf", "polarity"}
    assert rows["tuf"]["r2"] > 0.95
    assert rows["tuf"]["r2"] >= rows["tuf"]["svm_r2"] - 0.01
    assert rows["tuf"]["cosine"] > 0.97
    # two values: a plane that splits them is what the SVM is for
    assert rows["polarity"]["svm_accuracy"] > 0.97
    assert rows["polarity"]["r2"] < 0.75


def test_what_cannot_be_predicted_is_one_line():
    data = table(80)
    with pytest.raises(SteeringError, match="no parameter 'r'"):
        fit_regression(data, ["r"])
    constant = LatentTable(data.z, {"tuf": np.ones(80)})
    with pytest.raises(SteeringError, match="sample more latents"):
        fit_regression(constant, ["tuf"])
    with pytest.raises(SteeringError, match="no parameter of the table"):
        fit_regression(constant)
    with pytest.raises(SteeringError, match="does not predict 'r'"):
        fit_regression(data).normal("r")
    with pytest.raises(SteeringError, match="12 numbers"):
        fit_regression(data).predict(np.zeros((2, 5)))
