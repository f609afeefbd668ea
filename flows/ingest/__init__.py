"""Stage 1: music to canonical audio and manifests."""
