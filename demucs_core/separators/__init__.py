"""The models that separate, by name, and how music of any length goes through them."""
