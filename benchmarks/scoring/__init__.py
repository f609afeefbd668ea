"""What the loader is measured beside, and what it is fed."""
