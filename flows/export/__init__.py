"""A model, or the data that it is trained on, for other programs."""
