"""The extraction policy and its calibrated thresholds, as several stages use them."""
