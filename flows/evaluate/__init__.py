"""Stage 7: score models on the test songs, and compare them."""
