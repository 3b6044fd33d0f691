"""The simulated Sun against its own ingredients and the laws it is meant to follow."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from solquery.archive.render import PIXEL_MM, PIXEL_MX, Spot, concentrations, noise, pull_to_network, spots
from solquery.archive.simulate import simulate, simulate_region


def _population(count=60):
    return [simulate_region(11, index, 1)[0] for index in range(count)]


@pytest.fixture(scope="module")
def population():
    return _population()


def test_is_a_function_of_seed_and_index():
    first, second = simulate_region(3, 5, 2), simulate_region(3, 5, 2)
    assert all(np.array_equal(a.field, b.field) and a.truth == b.truth for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0].field, simulate_region(4, 5, 2)[0].field[: first[0].field.shape[0]])


def test_workers_do_not_change_the_result():
    alone = [(p.id, float(p.field.sum())) for p in simulate(3, 1, seed=2, workers=1)]
    together = [(p.id, float(p.field.sum())) for p in simulate(3, 1, seed=2, workers=2)]
    assert alone == together


def test_frames_share_region_box_and_scale():
    frames = simulate_region(1, 0, 4)
    assert len({p.region for p in frames}) == 1 and len({p.field.shape for p in frames}) == 1
    assert len({p.id for p in frames}) == 4
    assert frames[0].scale_mm == (PIXEL_MM, PIXEL_MM) == pytest.approx((0.364425, 0.364425), rel=1e-6)
    times = [p.t_rec for p in frames]
    assert times == sorted(times) and all(p.source == "simulated" for p in frames)


def test_concentrations_keep_their_flux():
    flux = np.array([3e19, -1e19, 2e18])
    field = concentrations((120, 120), np.full(3, 22.0), np.array([12.0, 22.0, 30.0]), flux, np.array([0, 1, 2]))
    assert field.sum(dtype=np.float64) * PIXEL_MX == pytest.approx(flux.sum(), rel=2e-3)
    row, column = np.unravel_index(field.argmax(), field.shape)
    assert (row + 0.5) * PIXEL_MM == pytest.approx(22.0, abs=0.4)
    assert (column + 0.5) * PIXEL_MM == pytest.approx(12.0, abs=0.4)


@pytest.mark.parametrize("flux_mx", [5e20, 5e21])
def test_round_spot_holds_its_flux_and_peak(flux_mx):
    still = np.zeros((4, 2))
    spot = Spot(36.0, 36.0, flux_mx, -1, 2600.0, 2.5, still, np.zeros((10, 3)), 1.0, 0.0)
    field = spots((200, 200), [spot])
    assert field.min() == pytest.approx(-2600.0, rel=0.02)
    # the sharp penumbral edge cuts the wings, an eighth of a small spot
    assert -field.sum(dtype=np.float64) * PIXEL_MX == pytest.approx(flux_mx, rel=0.14)


def test_network_pull_reaches_the_border():
    centres = cKDTree(np.array([[0.0, 0.0], [0.0, 10.0]]))
    moved = pull_to_network(np.array([[1.0, 2.0], [0.0, 9.0]]), centres, 1.0)
    assert moved[:, 1] == pytest.approx([5.0, 5.0]) and moved[:, 0] == pytest.approx([1.0, 0.0])


def test_noise_grows_to_the_limb_as_measured():
    """Quietest windows of real Br: 9 G at mu 0.99, 26 G at 0.86, 54 G at 0.58 (to a third)."""
    for mu, gauss in ((0.99, 9.0), (0.86, 26.0), (0.58, 54.0)):
        level = noise((200, 300), mu, np.random.default_rng(0)).std()
        assert level == pytest.approx(gauss, rel=0.35)


def test_noise_hangs_together_over_pixels_as_observed():
    field = noise((300, 300), 0.95, np.random.default_rng(1))
    neighbour = np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1]
    third = np.corrcoef(field[:, :-3].ravel(), field[:, 3:].ravel())[0, 1]
    assert 0.45 < neighbour < 0.8 and 0.1 < third < 0.4


def test_truth_matches_the_image(population):
    """The noiseless unsigned flux is a lower bound of the image's, and dominates it where the region is strong."""
    strong = [p for p in population if p.truth["clean_unsigned_mx"] > 8e21 and p.mu > 0.8]
    assert len(strong) >= 3
    for patch in strong:
        measured = np.abs(patch.field).sum(dtype=np.float64) * PIXEL_MX
        assert patch.truth["clean_unsigned_mx"] < measured * 1.001
        assert measured < 1.9 * patch.truth["clean_unsigned_mx"]


def test_leading_sign_and_hale(population):
    """The true leading sign is the sign of the image west of its flux centre, and few regions break Hale's law."""
    agree = []
    for patch in population:
        truth = patch.truth
        if truth["bipoles"] > 1 or truth["clean_unsigned_mx"] < 4e21:
            continue
        field = gaussian_filter(np.where(np.abs(patch.field) > 150, patch.field, 0), 2)
        column = np.arange(field.shape[1])
        west = {
            s: (np.clip(s * field, 0, None).sum(0) * column).sum() / np.clip(s * field, 0, None).sum() for s in (1, -1)
        }
        agree.append(np.sign(west[1] - west[-1]) == truth["leading_sign"])
    assert len(agree) >= 5 and np.mean(agree) >= 0.8
    anti = [simulate_region(21, index, 1)[0].truth["anti_hale"] for index in range(60)]
    assert sum(anti) <= 9


def test_joy_tilts_point_to_the_equator(population):
    tilts = np.array([p.truth["tilt_deg"] * -np.sign(p.latitude_deg) for p in population])
    assert 2.0 < np.median(tilts) < 20.0 and tilts.std() > 8.0


def test_umbrae_exceed_two_kilogauss_and_fluxes_span_two_decades(population):
    assert max(np.abs(p.field).max() for p in population) > 2000
    logs = np.array([p.truth["log10_flux_mx"] for p in population])
    assert logs.min() < 21.2 and logs.max() > 22.6


def test_a_kept_frame_is_what_it_is_among_all():
    every = {p.id: p for p in simulate_region(1, 3, 4)}
    kept = simulate_region(1, 3, 4, keep=2)
    assert len(kept) == 2
    for patch in kept:
        whole = every[patch.id]
        assert np.array_equal(patch.field, whole.field)
        assert (patch.t_rec, patch.mu, patch.truth) == (whole.t_rec, whole.mu, whole.truth)
    # not the same places in the sequence in every region
    assert len({simulate_region(1, index, 3, keep=1)[0].id.rsplit("-", 1)[1] for index in range(8)}) == 3
    for keep in (0, 5):
        with pytest.raises(ValueError, match="of 4 frames 1 to 4 can be kept"):
            simulate_region(1, 3, 4, keep=keep)


def test_zero_frames_is_refused():
    with pytest.raises(ValueError, match="at least 1 frame"):
        simulate_region(0, 0, 0)
    with pytest.raises(ValueError, match="at least 1 region"):
        next(simulate(0, 1))


def test_regions_are_not_made_far_ahead_of_who_takes_them(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    handed = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers, mp_context):
            super().__init__(workers)

        def submit(self, task, job):
            handed.append(job)
            return super().submit(task, job)

    monkeypatch.setattr("solquery.archive.simulate.ProcessPoolExecutor", Pool)
    monkeypatch.setattr("solquery.archive.simulate._one", lambda job: [job])
    stream = simulate(100, 1, seed=9, workers=2)
    taken = [next(stream) for _ in range(10)]
    assert taken == [(9, k, 1, None) for k in range(10)] and len(handed) <= 20
    assert [*taken, *stream] == [(9, k, 1, None) for k in range(100)]
