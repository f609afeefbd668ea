"""A trained model on anybody's files."""
