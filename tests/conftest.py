"""What holds for every test and for the processes that tests start."""

from __future__ import annotations

import os

# Threads beyond the cores wait for each other and burn what the tests beside them need; and another
# number of threads rounds otherwise. torch reads this when it is imported.
os.environ["OMP_NUM_THREADS"] = "1"
