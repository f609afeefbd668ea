"""The detector of silent sources: which there are, how they are fitted, how they score."""
