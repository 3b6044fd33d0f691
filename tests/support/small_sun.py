"""A small Sun for the stand-in to serve, and clients that do not wait long."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from jsoc_frames import Frame, frame

from solquery.archive.prepare import resize
from solquery.jsoc.retry import RetryPolicy
from solquery.simulator import simulate_region

DAY = datetime(2012, 3, 6)
QUICK = RetryPolicy(tries=5, first_s=0.001, most_s=0.01, timeout_s=5.0, poll_s=0.001, poll_most_s=0.01, export_s=20.0)
PATIENT = replace(QUICK, tries=14)


def small_sun(regions: int, frames: int, first_harp: int = 1401, hours: int = 6) -> list[Frame]:
    """Simulated regions, made small, as JSOC would hold them."""
    out = []
    for k in range(regions):
        harp = first_harp + k
        shape = (24 + 3 * (k % 5), 40 + 4 * (k % 7))
        patches = simulate_region(seed=77, index=k, frames=min(frames, 5))
        fields = [resize(patch.field, shape) for patch in patches]
        if k % 3 == 0:
            fields[0][:4, -9:] = np.nan  # off the limb
        for n in range(frames):
            field = fields[n % len(fields)] * (1.0 - 0.003 * n)
            out.append(frame(harp, DAY + timedelta(hours=hours * n), field))
    return out
