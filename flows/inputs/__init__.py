"""What several stages read: songs, recipes, detectors, models; manifests in, core types out."""
