"""Hale's law in simulated regions: which polarity leads, by hemisphere and cycle."""

from __future__ import annotations

import numpy as np

from solquery.simulator import simulate_region
from solquery.simulator.population import draw_region


def test_the_leading_polarity_follows_hemisphere_and_cycle_but_for_a_few():
    followed = []
    seen = set()
    for index in range(36):
        plan = draw_region(np.random.default_rng([17, index, 20100501]))
        # cycle 25 begins with 2020; the few regions of both cycles at once are not simulated
        cycle = 24 if plan.start.year + plan.start.timetuple().tm_yday / 365.25 < 2019.9 else 25
        north = plan.latitude_deg > 0
        # the north of an even cycle is led by negative polarity
        law = (-1 if cycle == 24 else 1) * (1 if north else -1)
        followed.append(plan.record["leading_sign"] == law)
        seen.add((cycle, north))
        if index < 3:
            (patch,) = simulate_region(seed=17, index=index, frames=1)
            told = patch.truth["leading_sign"], patch.latitude_deg, patch.time.year
            assert told == (plan.record["leading_sign"], plan.latitude_deg, plan.start.year)
    assert len(seen) == 4
    assert sum(followed) / len(followed) > 0.85
