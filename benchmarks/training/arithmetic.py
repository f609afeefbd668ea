"""What a step computes, and what a device computes at its best."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from demucs_core.separators.demucs import Demucs, DemucsConfig

FORWARD_AND_BACK = 3
"""Times the operations of the forward pass: back, there are gradients of inputs and of weights."""
NUM_PRODUCTS = 5


def step_flop(config: DemucsConfig, batch_size: int, num_samples: int) -> float:
    """Operations of a forward and a backward pass in convolutions, LSTM and its linear layer."""
    with torch.device("meta"):  # where nothing is computed
        convolutions = Demucs(replace(config, lstm_layers=0))
        mixture = torch.empty(batch_size, config.num_channels, num_samples)
        with FlopCounterMode(display=False) as counter:
            estimates = convolutions(mixture)
    assert estimates.shape[-1] == num_samples
    num_steps = convolutions.valid_length(num_samples)
    for _ in range(config.depth):
        num_steps = (num_steps - config.kernel_size) // config.stride + 1
    width = int(config.channels * config.growth ** (config.depth - 1))
    # a layer hears the input, or both directions of the one before; and itself
    inputs = [width, *[2 * width] * (config.lstm_layers - 1)][: config.lstm_layers]
    weights = sum(2 * 4 * width * (each + width) for each in inputs)
    if config.lstm_layers:
        weights += 2 * width * width
    forward: float = counter.get_total_flops() + 2 * batch_size * num_steps * weights
    return FORWARD_AND_BACK * forward


def most_flop_s(device: str) -> float:
    """Operations a second of a product of two large matrices in float32, on a GPU in TF32."""
    size = 2048 if device == "cpu" else 8192
    one, other = torch.randn(2, size, size, device=device)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True  # as convolutions and LSTMs have it
    best = float("inf")
    for _ in range(NUM_PRODUCTS):
        began = time.perf_counter()
        one @ other
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * size**3 / best
