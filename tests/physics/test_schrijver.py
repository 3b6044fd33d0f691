"""R of Schrijver (2007), against the definition written out with scipy."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter

from solquery.physics import measure
from solquery.simulator import simulate_region


def keyword_by_hand(field, pixel_mm, block):
    """As the pipeline of SHARPs: one pixel of each block, a Gaussian of 10 x 1.4577 Mm over 41 pixels."""
    sampled = field[::block, ::block][: field.shape[0] // block, : field.shape[1] // block]
    near = binary_dilation(sampled > 150, np.ones((3, 3))) & binary_dilation(sampled < -150, np.ones((3, 3)))
    sigma = 14.577 / 2.354820045 / (pixel_mm * block)
    reach = round(2 * 14.577 / (pixel_mm * block))
    weight = gaussian_filter(near.astype(float), sigma, mode="constant", truncate=(reach + 0.4) / sigma)
    return (weight * np.abs(sampled)).sum()


def by_hand(field, pixel_mm, block):
    ny, nx = (-(-n // block) * block for n in field.shape)
    padded = np.zeros((ny, nx))
    padded[: field.shape[0], : field.shape[1]] = field
    coarse = padded.reshape(ny // block, block, nx // block, block).mean((1, 3))
    near = binary_dilation(coarse > 150, np.ones((3, 3))) & binary_dilation(coarse < -150, np.ones((3, 3)))
    sigma = 15.0 / 2.354820045 / (pixel_mm * block)
    return (gaussian_filter(near.astype(float), sigma, mode="constant", truncate=8) * np.abs(coarse)).sum()


@pytest.mark.parametrize(("pixel", "block"), [(0.364425, 4), (0.75, 2), (1.45, 1), (2.0, 1)])
def test_r_agrees_with_the_definition_written_out(pixel, block):
    y, x = np.mgrid[:90, :120] * pixel
    y, x = y - y.mean(), x - x.mean()
    field = 2500 * (np.exp(-((x + 5) ** 2 + y**2) / 72) - np.exp(-((x - 5) ** 2 + y**2) / 72))
    got = {k: v.item() for k, v in measure(field, (pixel, pixel), ["r_schrijver", "r_value"]).items()}
    wanted = by_hand(field, pixel, block)
    assert wanted > 1000
    # the Gaussian is sampled, and on two pixels to the sigma that is exact to some 1e-4
    assert got["r_schrijver"] == pytest.approx(wanted * (pixel * block) ** 2 * 1e16, rel=2e-3)
    assert got["r_value"] == pytest.approx(np.log10(keyword_by_hand(field, pixel, block)), abs=1e-4)


def test_the_three_meanings_of_r_are_three_numbers():
    patches = [simulate_region(3, k, 1)[0] for k in range(6)]
    names = ["r", "r_schrijver", "r_value"]
    got = [[v.item() for v in measure(p.field, p.scale_mm, names).values()] for p in patches]
    strong = [row for row in got if row[1] > 0]
    assert strong
    for r, schrijver, keyword in strong:
        assert r != pytest.approx(schrijver, rel=0.01)
        # the keyword samples pixels of (4 x 0.364425 Mm)^2, where Schrijver averages over them
        of_samples = 10**keyword * (4 * 0.364425) ** 2 * 1e16
        assert of_samples != pytest.approx(schrijver, rel=1e-4)
        if schrijver > 1e20:
            assert 0.3 < of_samples / schrijver < 3


def test_without_a_scale_it_is_unknown():
    got = measure(np.ones((8, 8)), None, ["r_schrijver", "r_value"])
    assert all(np.isnan(v.item()) for v in got.values())
