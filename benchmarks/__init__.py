"""Measurements: ``python -m benchmarks.NAME`` prints its figures, then one JSON object."""
