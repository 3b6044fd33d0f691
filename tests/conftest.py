"""For all tests: one thread, since they run side by side, and no display."""

from __future__ import annotations

import os

os.environ["MPLBACKEND"] = "Agg"

import torch

torch.set_num_threads(1)
