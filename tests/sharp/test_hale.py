"""Hale's law in simulated regions: which polarity leads, by hemisphere and cycle."""

from __future__ import annotations

from solquery.simulator import simulate_region


def test_the_leading_polarity_follows_hemisphere_and_cycle_but_for_a_few():
    followed = []
    seen = set()
    for index in range(36):
        (patch,) = simulate_region(seed=17, index=index, frames=1)
        # cycle 25 begins with 2020; the few regions of both cycles at once are not simulated
        cycle = 24 if patch.time.year + patch.time.timetuple().tm_yday / 365.25 < 2019.9 else 25
        north = patch.latitude_deg > 0
        # the north of an even cycle is led by negative polarity
        law = (-1 if cycle == 24 else 1) * (1 if north else -1)
        followed.append(patch.truth["leading_sign"] == law)
        seen.add((cycle, north))
    assert len(seen) == 4
    assert sum(followed) / len(followed) > 0.85
