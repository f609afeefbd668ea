"""The parts of the fuzzer, :mod:`benchmarks.fuzz`."""
