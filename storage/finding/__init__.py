"""Music where people keep it: folders, buckets, lists and playlists, and what in them is none."""
