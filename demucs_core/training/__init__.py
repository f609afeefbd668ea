"""Training a separator: examples, the weak loss, the loop, validation."""
