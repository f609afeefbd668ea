"""What a corpus would give, from a sample of it."""
