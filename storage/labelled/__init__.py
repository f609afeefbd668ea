"""Labelled music as people have it: sets of songs in splits, and libraries of single stems."""
