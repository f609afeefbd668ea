"""What the metric is measured on."""
