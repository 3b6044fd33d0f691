"""Whole regions: repeatable, consistent in time and place, and true to their ingredients."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from solquery.physics import measure
from solquery.simulator import PIXEL_MM, PIXEL_MX, region_ids, simulate, simulate_region
from solquery.simulator.population import draw_region


def strong(seed, count, least=21.8, bipoles=None):
    """Numbers of regions of this flux at least."""
    found, index = [], 0
    while len(found) < count:
        record = draw_region(np.random.default_rng([seed, index, 20100501])).record
        if record["log10_flux_mx"] > least and (bipoles is None or record["bipoles"] == bipoles):
            found.append(index)
        index += 1
    return found


@pytest.fixture(scope="module")
def clean():
    """Noise-free frames of strong regions with one bipole."""
    return [simulate_region(11, k, 3, keep=1, quantity="noise-free")[0] for k in strong(11, 10, bipoles=1)]


def test_is_a_function_of_seed_and_index():
    first, second = simulate_region(3, 5, 2), simulate_region(3, 5, 2)
    assert all(np.array_equal(a.field, b.field) and a.truth == b.truth for a, b in zip(first, second, strict=True))
    assert first[0].truth != simulate_region(4, 5, 2)[0].truth


@pytest.mark.parametrize("keep", [None, 2])
@pytest.mark.parametrize("quantity", ["radial", ("line-of-sight", "noise-free", "noise-free-observed")])
def test_the_ids_of_a_region_are_known_before_it_is_made(keep, quantity):
    made = [patch.id for patch in simulate_region(3, 5, 4, keep, quantity)]
    assert region_ids(3, 5, 4, keep, quantity) == made and len(set(made)) == len(made)


@pytest.mark.parametrize("workers", [1, 2])
def test_regions_that_are_there_are_not_made_again(workers):
    there = {*region_ids(2, 0, 2), *region_ids(2, 1, 2)[:1]}
    made = [patch.id for patch in simulate(3, 2, seed=2, workers=workers, without=there)]
    assert made == [*region_ids(2, 1, 2), *region_ids(2, 2, 2)]
    assert list(simulate(1, 2, seed=2, workers=workers, without=there)) == []


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
    assert times == sorted(times) and all(p.source == "simulated" and p.quantity == "radial" for p in frames)
    # the region stays where it is on the rotating Sun, to the difference of its rotation from Carrington's
    carrington = np.unwrap(np.radians([p.carrington_deg for p in frames]))
    days = frames[-1].truth["age_days"] - frames[0].truth["age_days"]
    assert np.degrees(np.ptp(carrington)) < 0.3 + 0.1 * days


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


def test_pairs_show_the_same_instant():
    (index,) = strong(9, 1, 22.2)
    radial, los, clean = simulate_region(9, index, 1, quantity=("radial", "line-of-sight", "noise-free"))
    assert [p.quantity for p in (radial, los, clean)] == ["radial", "line-of-sight", "radial"]
    assert len({p.id for p in (radial, los, clean)}) == 3 and len({(p.t_rec, p.mu) for p in (radial, los, clean)}) == 1
    big = np.abs(clean.field) > 400
    assert np.corrcoef(radial.field[big], clean.field[big])[0, 1] > 0.97
    # the same frame alone is the same patch
    assert np.array_equal(simulate_region(9, index, 1)[0].field, radial.field)
    with pytest.raises(ValueError, match="unknown quantity 'Bp': choose from radial, line-of-sight, noise-free"):
        simulate_region(9, index, 1, quantity="Bp")


def test_truth_gives_flux_separation_and_tilt(clean):
    """Of regions with one bipole: what is measured on the noise-free field agrees with the ingredients."""
    apart, tilts = [], []
    for patch in clean:
        assert np.abs(patch.field).sum(dtype=np.float64) * PIXEL_MX == pytest.approx(patch.truth["clean_unsigned_mx"])
        (state,) = patch.truth["states"]
        flux = sum(state["spot_mx"]) + sum(state["small_mx"])
        assert 0.4 * flux < patch.truth["clean_unsigned_mx"] < 2.5 * flux + 6e21
        lead, follow = (np.array(c) for c in state["centroids_mm"])
        found = measure(patch.field, patch.scale_mm, ("psep", "tilt"))
        apart.append((float(found["psep"][0]), float(np.hypot(*(lead - follow)))))
        tilts.append((float(found["tilt"][0]), float(np.degrees(np.arctan2(*(lead - follow))))))
    apart, tilts = np.array(apart), np.array(tilts)
    known = np.isfinite(apart[:, 0])
    assert known.sum() >= 7
    # network and remains of older regions lie in the box as well: the middle of the sample counts
    assert np.median(np.abs(apart[known, 0] / apart[known, 1] - 1)) < 0.3
    turned = (tilts[known, 0] - tilts[known, 1] + 90.0) % 180.0 - 90.0
    assert np.median(np.abs(turned)) < 15.0


def test_the_leading_sign_is_seen(clean):
    right = []
    for patch in clean:
        lead, follow = patch.truth["states"][0]["centroids_mm"]
        rows, columns = (int(v / PIXEL_MM) for v in lead)
        around = patch.field[max(rows - 20, 0) : rows + 20, max(columns - 20, 0) : columns + 20]
        right.append(np.sign(around.sum()) == patch.truth["leading_sign"])
        assert lead[1] > follow[1]  # west
    assert np.mean(right) >= 0.8


def test_umbrae_exceed_two_kilogauss(clean):
    assert max(np.abs(p.field).max() for p in clean) > 2000
    assert all(np.abs(p.field).max() < 3600 for p in clean)


def test_boxes_are_wide_and_hold_the_region(clean):
    aspect = [p.field.shape[1] / p.field.shape[0] for p in clean]
    assert 1.2 < np.median(aspect) < 3.0
    for patch in clean:
        for y, x in patch.truth["states"][0]["centroids_mm"]:
            assert 0 < y < patch.field.shape[0] * PIXEL_MM and 0 < x < patch.field.shape[1] * PIXEL_MM


def test_more_instrument_noise_leaves_the_truth():
    from solquery.simulator import INSTRUMENT

    loud = simulate_region(1, 0, 1, instrument=replace(INSTRUMENT, los_noise_gauss=80.0))[0]
    plain = simulate_region(1, 0, 1)[0]
    assert loud.truth == plain.truth and loud.field.std() > plain.field.std()


def test_zero_frames_is_refused():
    with pytest.raises(ValueError, match="at least 1 frame"):
        simulate_region(0, 0, 0)
    with pytest.raises(ValueError, match="at least 1 region"):
        next(simulate(0, 1))


def test_regions_are_not_made_far_ahead_of_who_takes_them(monkeypatch):
    handed = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers, mp_context):
            super().__init__(workers)

        def submit(self, task, job):
            handed.append(job)
            return super().submit(task, job)

    monkeypatch.setattr("solquery.simulator.workers.ProcessPoolExecutor", Pool)
    monkeypatch.setattr("solquery.simulator.workers._one", lambda job: [job])
    stream = simulate(100, 1, seed=9, workers=2)
    taken = [next(stream) for _ in range(10)]
    expected = [(9, k, 1, None, "radial") for k in range(100)]
    assert taken == expected[:10] and len(handed) <= 20
    assert [*taken, *stream] == expected
