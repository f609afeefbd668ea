"""Manifests: Parquet parts addressed by what made them, their schemas, and SQL over them."""
