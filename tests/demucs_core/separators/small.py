"""A small configuration of every registered separator, for the tests that go through all."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "demucs": {"channels": 4, "depth": 2},
    "wave_unet": {"channels": 4, "depth": 2},
    "open_unmix": {"hidden_size": 4, "nb_layers": 1, "n_fft": 64, "n_hop": 16},
    "htdemucs": {
        "channels": 8, "depth": 2, "nfft": 256, "bottom_channels": 0, "t_layers": 1, "t_heads": 2,
        "segment_s": 0.05,
    },
    "bs_roformer": {
        "dim": 8, "depth": 1, "heads": 2, "dim_head": 4, "stft_n_fft": 64, "stft_hop_length": 16,
        "freqs_per_bands": [3, 10, 20], "mask_estimator_depth": 1,
    },
}  # fmt: skip
