"""The limb study on patches that the generator itself made: what is left over is what was added to them."""

import itertools

import numpy as np
import pytest
import torch

from solquery import Archive, Patch, SolqueryError
from solquery.study.limb import figure_limb, run_limb


def archive_of(folder, model, noise, mu):
    """Generated patches, two a region, with `noise` (gauss) at each cosine of the heliocentric angle."""
    rng = np.random.default_rng(3)
    z = torch.from_numpy(rng.standard_normal((len(mu), 16)).astype(np.float32))
    fields = model.preset.to_gauss(model.generator(z)[:, 0].detach()).numpy()
    archive = Archive.create(str(folder))
    archive.add(
        Patch(
            field + rng.normal(0, 1, field.shape).astype(np.float32) * gauss, (1.0, 1.0), f"made-{k}", f"MADE {k // 2}",
            "simulated", mu=None if cosine is None else float(cosine),
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
