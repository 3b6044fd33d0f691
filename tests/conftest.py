"""For all tests: one thread, since they run side by side, and no display."""

from __future__ import annotations

import os

os.environ["MPLBACKEND"] = "Agg"
# of torch, of numpy, and of the programs that tests start; read when they are imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
# the programs that tests start have the buffered streams that users' have, whatever a container asks for
os.environ.pop("PYTHONUNBUFFERED", None)

from hypothesis import settings

# the same examples in every run: a failure is a change of the code, not of the dice
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
