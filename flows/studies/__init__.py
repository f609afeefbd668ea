"""Studies: what the detector and the masks are worth, measured where the truth is known."""
