"""Weights of other projects → a model's folder of ours, once, and in a process of its own."""
