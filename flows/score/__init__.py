"""Stage 3: how likely each source is silent, frame by frame."""
