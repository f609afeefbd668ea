"""What a training step is measured against, beside its peer."""
