"""For all tests: one thread, since they run side by side, and no display."""

from __future__ import annotations

import os

os.environ["MPLBACKEND"] = "Agg"
# of the programs that tests start, and of numpy's own threads
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hypothesis import settings

torch.set_num_threads(1)

# the same examples in every run: a failure is a change of the code, not of the dice
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
