"""Simulated active regions: magnetic flux carried by convection, seen as HMI sees it.

`population` draws what a region is made of, `evolution` lets it live, `observation` looks at it. Every patch carries
its ingredients as `Patch.truth`. The package needs numpy, scipy and numba alone.
"""

from .constants import PIXEL_MM, PIXEL_MX, RATES, Rates
from .evolution import Evolution
from .observation import INSTRUMENT, Instrument, observe
from .population import RegionPlan, draw_region
from .region import QUANTITIES, noise_free, region_ids, simulate_region
from .state import Snapshot
from .workers import simulate

__all__ = [
    "INSTRUMENT", "PIXEL_MM", "PIXEL_MX", "QUANTITIES", "RATES", "Evolution", "Instrument", "Rates", "RegionPlan",
    "Snapshot", "draw_region", "noise_free", "observe", "region_ids", "simulate",
    "simulate_region",
]  # fmt: skip
