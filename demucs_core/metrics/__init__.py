"""How good a separation is: BSSEval v4, and comparisons song by song."""
