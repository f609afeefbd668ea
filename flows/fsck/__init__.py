"""``silentmix fsck``: what is damaged in a workspace, what that touches, and what mends it."""
