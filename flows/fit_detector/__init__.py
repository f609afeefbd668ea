"""Stage 2: fit the detector of silent sources, and calibrate it."""
