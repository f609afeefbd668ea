"""The parts of the soak, :mod:`benchmarks.soak`."""
