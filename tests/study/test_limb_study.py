"""The limb study on patches that the generator itself made: what is left over is what was added to them."""

import itertools

import numpy as np
import pytest
import torch

from solquery import Archive, Patch, SolqueryError
from solquery.study.limb import crossing_rows, figure_limb, run_limb, within_regions


def archive_of(folder, model, noise, mu, frames=2):
    """Generated patches, `frames` a region, with `noise` (gauss) at each cosine of the heliocentric angle."""
    rng = np.random.default_rng(3)
    z = torch.from_numpy(rng.standard_normal((len(mu), 16)).astype(np.float32))
    fields = model.preset.to_gauss(model.generator(z)[:, 0].detach()).numpy()
    archive = Archive.create(str(folder))
    archive.add(
        Patch(
            field + rng.normal(0, 1, field.shape).astype(np.float32) * gauss, (1.0, 1.0), f"made-{k}",
            f"MADE {k // frames}", "simulated", mu=None if cosine is None else float(cosine),
        )
        for k, (field, gauss, cosine) in enumerate(zip(fields, noise, mu, strict=True))
    )  # fmt: skip
    return archive


@pytest.fixture(scope="module")
def mu():
    return np.cos(np.radians(np.linspace(2, 80, 24)))


@pytest.fixture(scope="module")
def study(model, mu, tmp_path_factory):
    noise = 150 * (1 - mu)
    return run_limb(archive_of(tmp_path_factory.mktemp("limb") / "a", model, noise, mu), model, steps=60)


def test_error_that_grows_towards_the_limb_is_found(study, mu):
    found = study.summary()
    np.testing.assert_allclose(np.sort(study.angle_deg), np.degrees(np.arccos(mu)), atol=1e-3)
    assert found["mse"]["spearman"] > 0.9 and found["mse"]["p"] < 1e-6
    assert found["mse_by_region"]["n"] == 12 and found["mse_by_region"]["spearman"] > 0.9
    # what cannot be reconstructed is the noise: its variance, in preset units
    order = np.argsort(study.angle_deg)[-6:]
    expected = (0.15 * (1 - np.cos(np.radians(study.angle_deg[order])))) ** 2
    np.testing.assert_allclose(study.mse[order], expected, rtol=0.25)


def test_no_trend_is_made_where_there_is_none(model, mu, tmp_path):
    found = run_limb(archive_of(tmp_path / "a", model, np.full(24, 40.0), mu), model, steps=60).summary()
    assert abs(found["mse"]["spearman"]) < 0.6


def test_medians_and_picture_tell_the_same(study):
    bins = study.summary()["bins"]
    assert sum(row["patches"] for row in bins) == 24
    assert all(a["mse"] < b["mse"] for a, b in itertools.pairwise(bins[1:]))
    left, right = figure_limb(study).axes
    assert left.get_xlabel() == "heliocentric angle (deg)" and "rank correlation 0.9" in left.get_title()
    assert right.get_yscale() == "log"


def test_patches_of_unknown_angle_are_left_out_and_too_few_are_refused(model, mu, tmp_path):
    some = [*mu[:7], *[None] * 5]
    archive = archive_of(tmp_path / "a", model, [0.0] * 12, some)
    with pytest.raises(SolqueryError, match=r"7 patches of .* have a known heliocentric angle, 8 are needed"):
        run_limb(archive, model)


def test_the_trend_within_regions_is_told_apart_from_that_between_them():
    rng = np.random.default_rng(0)
    regions = np.repeat([f"R {k}" for k in range(12)], 8)
    angle = np.tile(np.linspace(5, 70, 8), 12) + rng.uniform(-1, 1, 96)
    strength = np.repeat(10.0 ** rng.uniform(0, 4, 12), 8)
    found = within_regions(angle, strength * (1 + angle / 100), regions)
    assert found["spearman"] == pytest.approx(1.0) and found["regions"] == 12 and found["p"] < 0.001
    assert found["low"] == found["high"] == pytest.approx(1.0)
    assert within_regions(angle, -strength * angle, regions)["spearman"] == pytest.approx(-1.0)
    # what differs from one region to the next alone is no trend
    noise = within_regions(angle, strength * rng.uniform(1, 1.01, 96), regions)
    assert abs(noise["spearman"]) < 0.4 and noise["low"] < noise["spearman"] < noise["high"]
    # a region that stays where it is, or was seen four times, says nothing
    still = np.where(regions == "R 0", 30 + 0.1 * angle, angle)
    few = np.delete(np.arange(96), [8, 9, 10, 11])
    assert within_regions(still[few], (strength * angle)[few], regions[few])["regions"] == 10
    assert within_regions(angle[:8], angle[:8], regions[:8])["spearman"] is None


def test_regions_that_cross_the_disk_are_chosen_whole():
    regions = np.repeat(["A", "B", "C"], 10)
    angle = np.concatenate([np.linspace(0, 60, 10), np.linspace(40, 45, 10), np.linspace(70, 10, 10)])
    rows = crossing_rows(angle, regions, 5, 6)
    assert sorted(set(regions[rows])) == ["A", "C"] and len(rows) == 12
    assert {0, 9, 20, 29} <= set(rows)  # both ends of the way
    assert len(set(regions[crossing_rows(angle, regions, 1, 6)])) == 1
    assert len(crossing_rows(angle[:3], regions[:3], 5, 6)) == 0


def test_whole_regions_are_followed_and_too_few_are_refused(model, tmp_path):
    mu = np.cos(np.radians(np.tile(np.linspace(5, 75, 6), 4)))
    archive = archive_of(tmp_path / "a", model, 200 * (1 - mu), mu, 6)
    study = run_limb(archive, model, 12, steps=60, whole_regions=True)
    assert len(study.ids) == 12 and len(set(study.regions)) == 2
    found = study.summary()["mse_within_regions"]
    assert found["spearman"] > 0.8 and found["regions"] == 2 and found["p"] is None
    still = archive_of(tmp_path / "b", model, np.full(24, 10.0), np.full(24, 0.9), 6)
    with pytest.raises(SolqueryError, match="20 degrees or more apart; 8 are needed"):
        run_limb(still, model, whole_regions=True)
