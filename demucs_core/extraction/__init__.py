"""From scores to segments: the policy, its calibration, and what it yields."""
