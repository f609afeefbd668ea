"""The Prefect server: one of our own, what it is told, and its pages."""
