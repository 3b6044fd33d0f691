"""The laws that regions are drawn from, against their sources."""

from datetime import datetime

import numpy as np
import pytest

from solquery.simulator.population import draw_bipole, draw_region
from solquery.simulator.region import carrington_longitude


@pytest.fixture(scope="module")
def plans():
    return [draw_region(np.random.default_rng([5, k])) for k in range(1500)]


def test_hale_is_broken_as_often_as_observed(plans):
    """8.4 % (McClintock et al. 2014), within three standard errors; the sign follows hemisphere and cycle."""
    anti = np.array([p.record["anti_hale"] for p in plans])
    assert anti.mean() == pytest.approx(0.084, abs=3 * np.sqrt(0.084 * 0.916 / len(anti)))
    for plan in plans:
        year = plan.start.year + plan.start.timetuple().tm_yday / 365.25
        law = (-1 if year < 2019.95 else 1) * (1 if plan.latitude_deg > 0 else -1)
        assert plan.record["leading_sign"] == (-law if plan.record["anti_hale"] else law)


def test_joy_tilts_grow_with_latitude():
    rng = np.random.default_rng(0)
    mean = {}
    for latitude in (8.0, 28.0, -28.0):
        tilts = [draw_bipole(1e22, latitude, 1, np.zeros(2), 0.0, rng).tilt_deg for _ in range(1500)]
        mean[latitude] = np.mean(tilts)
        assert mean[latitude] == pytest.approx(-np.sign(latitude) * 30 * np.sin(np.radians(abs(latitude))), abs=1.6)
        assert 15.0 < np.std(tilts) < 22.0
    # the leading polarity of the north lies to the south of the following one
    assert mean[28.0] < mean[8.0] < 0 < mean[-28.0]


def test_separation_follows_flux():
    rng = np.random.default_rng(1)
    apart = {
        f: np.median([draw_bipole(f, 15.0, 1, np.zeros(2), 0.0, rng).separation_mm for _ in range(800)])
        for f in (1e21, 1e22)
    }
    assert np.log10(apart[1e22] / apart[1e21]) == pytest.approx(0.272, abs=0.03)


def test_latitudes_drift_to_the_equator(plans):
    early = [abs(p.latitude_deg) for p in plans if p.start < datetime(2013, 1, 1)]
    late = [abs(p.latitude_deg) for p in plans if datetime(2017, 1, 1) < p.start < datetime(2019, 6, 1)]
    assert np.median(early) > np.median(late) + 6.0
    assert np.percentile([abs(p.latitude_deg) for p in plans], 95) == pytest.approx(28.5, abs=2.5)


def test_fluxes_span_two_decades(plans):
    logs = np.array([p.record["log10_flux_mx"] for p in plans])
    assert np.percentile(logs, 2) < 21.0 and np.percentile(logs, 98) > 22.7


@pytest.mark.parametrize("day", ["2010-05-20T11:02", "2012-03-06T20:24", "2015-11-11T03:00", "2021-08-01T12:00"])
def test_carrington_longitude_belongs_to_the_date(day):
    """Against sunpy's ephemeris."""
    from sunpy.coordinates.sun import L0

    when = datetime.fromisoformat(day)
    off = (carrington_longitude(when, 0.0) - float(L0(day).deg) + 180.0) % 360.0 - 180.0
    assert abs(off) < 0.5
    assert carrington_longitude(when, 40.0) == pytest.approx((carrington_longitude(when, 0.0) + 40.0) % 360.0)
