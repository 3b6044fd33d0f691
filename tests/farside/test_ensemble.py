"""Far-side maps and their ensembles, where the posterior is known."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from solquery import Patch, get_preset
from solquery.farside import FarsideError, FarsideMap, degraded, farside_ensemble, read_map
from solquery.farside.ensemble import _chi2, parse_constraints
from solquery.farside.maps import coarse, map_scale
from solquery.farside.refine import Asked, moved
from solquery.physics import measure_on_grid
from solquery.steering import SteeringWarning

PHYSICAL = get_preset("physical")


def gaussian(sigma_mm, peak=1000.0):
    """(H, W) in gauss."""
    y, x = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(PHYSICAL.shape, PHYSICAL.scale_mm, strict=True))
    return peak * np.exp(-0.5 * (y[:, None] ** 2 + x[None] ** 2) / sigma_mm**2)


def test_a_map_is_the_unsigned_field_smoothed_to_its_resolution():
    # a Gaussian smoothed by a Gaussian is one whose variances add up, of either sign
    field = gaussian(10.0)
    fine = coarse(np.stack([field, -field]), PHYSICAL, 20.0)
    np.testing.assert_allclose(fine[0], fine[1])
    variance = 10.0**2 + (20.0 / math.sqrt(8 * math.log(2))) ** 2
    wanted = gaussian(math.sqrt(variance), 1000.0 * 10.0**2 / variance)[2::4, 2::4]
    # what is weaker than 30 G is left out, so that it is a little less
    np.testing.assert_allclose(fine[0], wanted, atol=12.0)
    area = math.prod(map_scale(PHYSICAL)) / math.prod(PHYSICAL.scale_mm)
    counted = np.where(field > 30.0, field, 0.0)
    assert fine[0].sum() * area == pytest.approx(counted.sum(), rel=0.01)


def test_the_noise_of_a_map_is_as_strong_and_as_smooth_as_it_says():
    maps = [degraded(np.zeros(PHYSICAL.shape), PHYSICAL, noise_gauss=15.0, seed=k) for k in range(40)]
    noise = np.stack([one.field for one in maps])
    assert noise.std() == pytest.approx(15.0, rel=0.05)
    # the mean over a map scatters as that of so many independent numbers
    scatter = noise.mean((1, 2)).std()
    assert scatter == pytest.approx(15.0 / math.sqrt(noise[0].size / maps[0].independent), rel=0.35)


def test_chi2_by_transforms_is_that_of_a_plain_sum(spots, prior):
    rng = np.random.default_rng(0)
    field = 40.0 * rng.standard_normal(prior.maps.shape[1:])
    found = FarsideMap(field, map_scale(PHYSICAL))
    weight = rng.uniform(0.5, 1.5, field.shape) / 400.0
    chi2, best = _chi2(found, weight, prior.maps[:3])
    for k, drawn in enumerate(prior.maps[:3].astype(float)):
        reach = range(-6, 7)
        plain = np.array(
            [[(weight * (field - moved(drawn, np.array([dy, dx]))) ** 2).sum() for dx in reach] for dy in reach]
        )
        assert chi2[k] == pytest.approx(plain.min() - 2 * np.log(np.exp(-0.5 * (plain - plain.min())).mean()), rel=1e-5)
        dy, dx = np.unravel_index(plain.argmin(), plain.shape)
        assert tuple(best[k]) == (reach[dy], reach[dx])


def test_ensembles_hold_the_truth_as_often_as_they_say(spots, prior, truths):
    _, x = truths
    ranks = {"tuf": [], "area": []}
    errors = []
    truth = measure_on_grid(x, PHYSICAL, list(ranks))
    for k, image in enumerate(x):
        found = degraded(image, PHYSICAL, noise_gauss=12.0, seed=k)
        ensemble = farside_ensemble(found, prior, members=16, seed=k, evaluations=12)
        for name, values in ranks.items():
            values.append((ensemble.parameters[name] < float(truth[name][k])).mean())
        errors.append(np.log(np.median(ensemble.parameters["tuf"]) / float(truth["tuf"][k])))
    for name, values in ranks.items():
        counts = np.histogram(values, 4, (0, 1.0001))[0]
        # each of four: 12 of 48 expected
        assert counts.min() >= 3 and counts.max() <= 26, (name, counts)
    # and the map says something: fluxes of the prior differ by a factor of 1.7
    assert np.std(errors) < 0.3 and np.std(np.log(truth["tuf"].numpy())) > 0.45


def test_members_that_are_led_are_nearer_to_the_map(spots, prior, truths):
    found = degraded(truths[1][truths[0][:, 0].argmax()], PHYSICAL, noise_gauss=3.0, seed=1)
    left = farside_ensemble(found, prior, members=8, evaluations=0)
    led = farside_ensemble(found, prior, members=8, evaluations=20)
    assert left.temperature == led.temperature > 1
    assert np.median(led.chi2) < np.median(left.chi2)
    # the same draw comes up more than once, and each time it is led to the map with other noise
    assert len({one.z.tobytes() for one in left.members}) < len({one.z.tobytes() for one in led.members}) == 8


def test_a_region_is_found_where_it_lies(spots, prior):
    with torch.no_grad():
        image = spots.generator(torch.zeros(1, 3))[0, 0].numpy()
    found = degraded(np.roll(image, (8, -12), (0, 1)), PHYSICAL, noise_gauss=5.0)
    ensemble = farside_ensemble(found, prior, members=8, evaluations=0)
    north, west = 8 * PHYSICAL.scale_mm[0], -12 * PHYSICAL.scale_mm[1]
    np.testing.assert_allclose(np.median(ensemble.offsets_mm, axis=0), [north, west], atol=map_scale(PHYSICAL)[0])


def test_constraints_hold(spots, prior, truths):
    found = degraded(truths[1][np.abs(truths[0]).sum(1).argmin()], PHYSICAL, noise_gauss=60.0, seed=1)
    free = farside_ensemble(found, prior, members=16, evaluations=8)
    middle = np.median(free.parameters["tuf"])
    for factor in (0.8, 1.2):
        held = farside_ensemble(
            found, prior, members=16, constraints={"tuf": (f"{factor * middle} Mx", 0.02)}, evaluations=8
        )
        assert np.median(held.parameters["tuf"]) == pytest.approx(factor * middle, rel=0.05)
        assert held.parameters["tuf"].std() < free.parameters["tuf"].std()
    one = farside_ensemble(found, prior, members=8, constraints={"polarity": 1}, evaluations=0)
    assert (one.parameters["polarity"] == 1).all()
    with pytest.raises(FarsideError, match="no draw meets"):
        farside_ensemble(found, prior, constraints={"polarity": -1})


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        ({"flux_of_all": 1}, "no constraint 'flux_of_all'"),
        ({"tuf": (1e22, 0)}, "tolerance of tuf"),
        ({"tuf": -1e22}, "a finite number above zero"),
        ({"polarity": 0.5}, "polarity is 1 or -1"),
        ({"tuf": "3 Mm"}, "tuf of a generated patch is in Mx"),
    ],
)
def test_constraints_that_make_no_sense(prior, constraints, words):
    found = FarsideMap(np.zeros(prior.maps.shape[1:]), map_scale(PHYSICAL))
    with pytest.raises(Exception, match=words) as caught:
        farside_ensemble(found, prior, constraints=constraints)
    assert "\n" not in str(caught.value)


def test_a_tilt_has_no_ends():
    asked = Asked(85.0, 5.0, angle=True)
    np.testing.assert_allclose(asked.off(np.array([-85.0, 80.0, -5.0])), [2.0, -1.0, -18.0])


def test_constraints_as_texts():
    told = parse_constraints(["tuf=2e22Mx±20%", "tilt=8±10", "psep = 60 Mm", "r=1e21Mx+-0.3"])
    assert told == {"tuf": ("2e22Mx", 0.2), "tilt": ("8", 10.0), "psep": "60 Mm", "r": ("1e21Mx", 0.3)}
    for text in ("tuf", "=3", "tuf="):
        with pytest.raises(FarsideError, match="is no constraint"):
            parse_constraints([text])
    with pytest.raises(FarsideError, match="tolerance of tuf"):
        parse_constraints(["tuf=2e22Mx±much"])


def test_a_map_unlike_all_draws_is_told(prior):
    rng = np.random.default_rng(1)
    found = FarsideMap(500.0 * rng.random(prior.maps.shape[1:]), map_scale(PHYSICAL), noise_gauss=5.0)
    with pytest.warns(SteeringWarning, match="no region that the model draws is like the map"):
        farside_ensemble(found, prior, members=4, evaluations=2)


def test_a_map_of_a_file_lies_where_the_model_has_it(spots):
    # the map of a spot, at another scale: what `read_map` makes of it is what `coarse` makes of the spot
    mm = 5.0
    y, x = ((np.arange(n) - (n - 1) / 2) * mm for n in (41, 61))
    smooth = 20.0 / math.sqrt(8 * math.log(2))
    variance = 15.0**2 + smooth**2
    peak = 400.0 * 15.0**2 / variance
    field = peak * np.exp(-0.5 * ((y[:, None] - 12) ** 2 + (x[None] + 20) ** 2) / variance)
    patch = Patch(field.astype(np.float32), (mm, mm), "map", "MAP", "real")
    found = read_map(patch, PHYSICAL)
    places = np.indices(found.field.shape).reshape(2, -1)
    centre = (places * found.field.ravel()).sum(1) / found.field.sum()
    at = [(c * s) for c, s in zip(centre, found.scale_mm, strict=True)]
    # pixel k of a map is pixel 4 k + 2 of the model's grid
    middle = [((n - 1) / 2 - 2) / 4 * s for n, s in zip(PHYSICAL.shape, found.scale_mm, strict=True)]
    np.testing.assert_allclose([at[0] - middle[0], at[1] - middle[1]], [12.0, -20.0], atol=0.3)


def test_files_that_are_no_maps():
    plain = Patch(np.zeros((40, 40), np.float32), None, "map", "MAP", "real")
    with pytest.raises(FarsideError, match="has no scale"):
        read_map(plain, PHYSICAL)
    with pytest.raises(FarsideError, match="larger than the resolution"):
        read_map(dataclasses.replace(plain, scale_mm=(30.0, 30.0)), PHYSICAL)
    both = np.zeros((40, 40), np.float32)
    both[5:15, 5:15], both[20:30, 20:30] = 500.0, -500.0
    with pytest.raises(FarsideError, match="has both polarities"):
        read_map(dataclasses.replace(plain, field=both, scale_mm=(5.0, 5.0)), PHYSICAL)
    with pytest.raises(FarsideError, match="has no scale"):
        degraded(np.zeros((128, 128)), get_preset("paper"))
    with pytest.raises(FarsideError, match="without missing pixels"):
        FarsideMap(np.full((4, 4), np.nan), (7.0, 7.0))
    with pytest.raises(FarsideError, match="above zero"):
        FarsideMap(np.zeros((4, 4)), (7.0, 7.0), noise_gauss=0.0)


def test_maps_and_priors_of_another_resolution_are_refused(prior):
    found = FarsideMap(np.zeros(prior.maps.shape[1:]), map_scale(PHYSICAL), resolution_mm=30.0)
    with pytest.raises(FarsideError, match="30 Mm and the prior 20 Mm"):
        farside_ensemble(found, prior)
    with pytest.raises(FarsideError, match="has \\(4, 4\\) pixels"):
        farside_ensemble(FarsideMap(np.zeros((4, 4)), (7.0, 7.0)), prior)
