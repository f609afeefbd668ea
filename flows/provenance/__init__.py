"""Where things come from and what came of them, and how music is forgotten."""
