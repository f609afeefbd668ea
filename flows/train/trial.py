"""How long a step of a training takes on this machine, tried on a moment of noise."""

from __future__ import annotations

import time

import torch

from demucs_core.training.memory import is_out_of_memory
from flows.running import devices
from flows.train.model import first_model
from flows.train.options import TrainOptions
from storage.music_format import MusicFormat

TRIED_S, TRIED_EXAMPLES = 0.5, 2
"""Noise that a CPU is given: more than one example, since they share the reading of weights."""

PATIENCE_S, MOST = 4.0, 3
"""Tries begin for so long, and are not more: the first one also chooses how to compute."""


def step_seconds(options: TrainOptions, music: MusicFormat) -> float | None:
    """About how many seconds a step takes, the work of the optimizer and of the data left out.

    On a CPU it is measured on a second of noise, and grows with batch and crop; a GPU, which is not
    filled by that, is given a whole batch.

    Args:
        options: of the training.
        music: of the workspace.

    Returns:
        None for anybody's class, which may want another length, and where memory does not suffice.
    """
    if options.is_imported:
        return None
    device = devices.pick_device(options.device)
    model = first_model(options, music).model.to(device).train()
    size, crop_s = options.batch_size, options.crop_s
    if device == "cpu":
        size, crop_s = min(TRIED_EXAMPLES, size), min(TRIED_S, crop_s)
    num_samples = max(1, round(crop_s * music.sample_rate))
    tries: list[float] = []
    try:
        noise = torch.randn(size, music.num_channels, num_samples, device=device)
        while len(tries) < MOST and sum(tries) < PATIENCE_S:
            began = time.perf_counter()
            model(noise).abs().mean().backward()
            if device != "cpu":
                torch.cuda.synchronize()
            tries.append(time.perf_counter() - began)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return min(tries) * (options.batch_size * options.crop_s) / (size * crop_s)
