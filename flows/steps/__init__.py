"""Parts of the stages beside the flows: how each reads, decides, and keeps what it found."""
