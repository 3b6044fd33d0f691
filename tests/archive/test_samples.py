"""The real patches that come with the package."""

import numpy as np
import pytest

from solquery.archive.samples import sample_patches


@pytest.fixture(scope="module")
def patches():
    return sample_patches()


def test_there_are_a_dozen_regions_each_once(patches):
    assert len(patches) == 12
    assert len({p.region for p in patches}) == len({p.id for p in patches}) == 12
    assert {115, 856, 4781} == {p.harpnum for p in patches if p.harpnum}


def test_they_are_real_and_credited_and_line_of_sight(patches):
    for patch in patches:
        assert patch.source == "real" and patch.quantity == "line-of-sight"
        assert patch.credit == "Courtesy of NASA/SDO and the HMI science team"
        assert patch.scale_mm == pytest.approx((0.364425, 0.364425), abs=1e-6)
        assert patch.time is not None and 0.5 < patch.mu < 1
        assert patch.region.startswith(("HARP ", "HMI 20"))
        assert "/" not in patch.file


def test_each_holds_a_bipolar_region(patches):
    for patch in patches:
        field = patch.field
        assert np.isfinite(field).all()
        strong = field[np.abs(field) > 100]
        assert strong.size > 0.01 * field.size
        assert 0.1 < (strong > 0).mean() < 0.9
        assert np.abs(field).max() < 3000
        assert np.median(np.abs(field)) < 15


def test_the_quality_rule_can_be_asked_for(patches):
    strict = sample_patches(strict_quality=True)
    assert {p.id for p in strict} == {p.id for p in patches if p.quality == 0}
    assert 0 < len(strict) < len(patches)
