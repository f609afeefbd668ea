"""Stage 4: the stretches in which a source is silent."""
