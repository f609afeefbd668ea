"""Stage 6: train a separation model."""
