"""The parts of the chaos, :mod:`benchmarks.chaos`."""
