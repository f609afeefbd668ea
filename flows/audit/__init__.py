"""How precise an extraction is, by ear."""
