"""The registry, and what `measure` accepts and refuses."""

import numpy as np
import pytest
import torch

from solquery.errors import SolqueryError
from solquery.physics import (
    DuplicateParameter,
    UnknownParameter,
    get_parameter,
    measure,
    parameter,
    parameters,
    registry,
    unit_of,
)

torch.set_num_threads(1)
NAMES = ["tuf", "tpf", "tnf", "net_flux", "psep", "tilt", "polarity", "area", "r", "sigma", "alpha", "grad"]


@pytest.fixture
def scratch(monkeypatch):
    """A registry that forgets what the test adds."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def patches(n=5, shape=(128, 128), seed=0):
    coarse = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 300
    return torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[:, 0]


def test_every_parameter_is_defined_with_unit_and_source():
    known = parameters()
    assert set(NAMES) <= set(known)
    for name in NAMES:
        assert known[name].title and known[name].symbol and known[name].source
        assert len(known[name].definition) > 40


def test_units_are_read_by_astropy():
    from astropy.units import Unit

    for name in NAMES:
        for physical in (True, False):
            Unit(unit_of(name, physical))
    assert unit_of("tuf", True) == "Mx"
    assert unit_of("tuf", False) == "G pix"
    assert unit_of("psep", True) == "Mm"
    assert Unit(unit_of("grad", True)) == Unit("G / Mm")
    assert unit_of("alpha", True) == unit_of("polarity", False) == ""


def test_batch_equals_one_by_one():
    # more pixels than one chunk holds
    fields = patches(40)
    scale = torch.rand(40, 2, generator=torch.Generator().manual_seed(2)) + 0.3
    together = measure(fields, scale)
    for name in NAMES:
        alone = torch.cat([measure(fields[k], scale[k], name)[name] for k in range(0, 40, 7)])
        torch.testing.assert_close(together[name][::7], alone, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_all_kinds_of_arrays_give_the_same():
    field = patches(1).round()[0]
    expected = measure(field)
    for other in (
        field.numpy(),
        field.numpy().astype(">f4"),
        field.double(),
        field.numpy().astype(np.int16),
        field[None],
        field.numpy()[::-1].copy()[::-1],
        field.clone().requires_grad_(),
    ):
        for name, got in measure(other).items():
            assert got.dtype == torch.float64
            torch.testing.assert_close(got, expected[name], equal_nan=True)


def test_the_input_is_left_as_it_was():
    field = patches(1).numpy()
    field[0, 3, 4] = np.nan
    before = field.copy()
    measure(field, (1.0, 2.0))
    np.testing.assert_array_equal(field, before)


def test_no_patches_give_empty_results():
    assert all(v.shape == (0,) for v in measure(np.zeros((0, 16, 16))).values())


def test_names_choose_what_is_measured():
    field = patches(2)
    assert list(measure(field, names=["r", "tuf"])) == ["r", "tuf"]
    assert list(measure(field, names="psep")) == ["psep"]
    torch.testing.assert_close(get_parameter("tuf")(field), measure(field)["tuf"])


def test_unknown_name_lists_those_that_exist():
    with pytest.raises(UnknownParameter, match=r"no parameter named 'fluxx'.*there are: tuf|there are:.*tuf") as caught:
        measure(np.zeros((4, 4)), names=["fluxx"])
    assert isinstance(caught.value, SolqueryError)
    for name in NAMES:
        assert name in str(caught.value)
    with pytest.raises(UnknownParameter, match="did you mean 'psep'"):
        get_parameter("PSEPP")
    with pytest.raises(UnknownParameter):
        unit_of("nothing", True)


@pytest.mark.parametrize(
    ("fields", "scale", "message"),
    [
        (np.zeros(5), None, r"shape \(H, W\) or \(N, H, W\), got \(5,\)"),
        (np.zeros((1, 1, 4, 4)), None, r"got \(1, 1, 4, 4\)"),
        (np.zeros((1, 9)), None, "at least 2 x 2 pixels, got 1 x 9"),
        (np.array([["a", "b"]]), None, "real numbers in gauss"),
        (np.zeros((4, 4), complex), None, "real numbers in gauss"),
        (np.zeros((3, 4, 4)), np.ones((2, 2)), r"\(3, 2\), got shape \(2, 2\)"),
        (np.zeros((3, 4, 4)), 0.5, "scale_mm must be"),
        (np.zeros((3, 4, 4)), (0.5, np.nan), "positive and finite"),
        (np.zeros((3, 4, 4)), (0.5, -1.0), "positive and finite"),
    ],
)
def test_wrong_input_is_refused_with_a_reason(fields, scale, message):
    with pytest.raises(ValueError, match=message):
        measure(fields, scale)


@pytest.mark.usefixtures("scratch")
def test_a_new_parameter_is_measured_like_the_others():
    @parameter("peak_field", "G", title="Strongest field", missing="keep")
    def peak_field(fields, scale):
        """Largest absolute field of the patch."""
        return fields.abs().nan_to_num(nan=-1.0).amax((1, 2))

    field = np.array([[1.0, np.nan], [-7.0, 2.0]])
    assert measure(field)["peak_field"].item() == 7.0
    assert measure(np.full((2, 2), np.nan), names="peak_field")["peak_field"].item() == -1.0
    assert get_parameter("peak_field").definition == "Largest absolute field of the patch."
    assert unit_of("peak_field", False) == "G"
    with pytest.raises(DuplicateParameter, match="'peak_field' is already defined in"):
        parameter("peak_field", "G")(peak_field)
    parameter("peak_field", "kG", replace=True)(peak_field)
    assert unit_of("peak_field", True) == "kG"


@pytest.mark.usefixtures("scratch")
def test_a_parameter_of_the_wrong_shape_is_reported():
    parameter("broken", "G")(lambda fields, scale: fields.sum())
    with pytest.raises(ValueError, match=r"'broken' returned shape \(\) for 1 patches"):
        measure(np.zeros((4, 4)), names="broken")


@pytest.mark.parametrize("name", ["Flux", "two words", "2d"])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ValueError, match="lower-case identifier"):
        parameter(name, "G")


def test_missing_takes_two_values():
    with pytest.raises(ValueError, match="'zero' or 'keep', got 'skip'"):
        parameter("anything", "G", missing="skip")
