"""A detector on waveforms, the paper's way: the encoder and BiLSTM of Demucs, a head a source.

Shapes: B batch, C channels, T samples, H hidden channels, F frames, S sources.

arXiv 1909.01174, section 4: the decoder's place is taken by a linear layer to a score a source
and step of the BiLSTM. Six blocks of stride 4 make a step 4096 samples, the frame of everything
here. Departure: every convolution is zero-padded by two samples on each side, so that a step is
centred on its frame and T samples give exactly ``T / 4096`` steps.
"""

from __future__ import annotations

from torch import Tensor, nn

from demucs_core import NUM_CHANNELS
from demucs_core.demucs import BiLSTM, rescale_weights
from demucs_core.detector_config import RECURRENT_CONTEXT_FRAMES, DetectorConfig
from demucs_core.log_mel_detector import pad_to_frames

KERNEL, STRIDE, RESCALE = 8, 4, 0.1
"""Of the encoder's convolutions, and the reference deviation of its initial weights."""


class WaveformDetector(nn.Module):
    """Stereo audio ``(B, 2, T)`` to log-odds of silence ``(B, S, F)``, ``F = ceil(T / hop)``.

    Its BiLSTM hears the whole of what it is given: scores of a chunk equal those of one piece
    but for what the piece beyond `context_frames` would have told it.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        blocks: list[nn.Module] = []
        width_in, width = NUM_CHANNELS, config.encoder_channels
        for _ in range(config.encoder_depth):
            blocks += [
                nn.Conv1d(width_in, width, KERNEL, STRIDE, padding=(KERNEL - STRIDE) // 2),
                nn.ReLU(),
                nn.Conv1d(width, 2 * width, 1),
                nn.GLU(dim=1),
            ]
            width_in, width = width, 2 * width
        self.encoder = nn.Sequential(*blocks)
        rescale_weights(self.encoder, RESCALE)
        self.lstm = BiLSTM(width_in, config.recurrent_layers)
        self.heads = nn.Conv1d(width_in, len(config.sources), 1)

    @property
    def context_frames(self) -> int:
        """Frames on each side of a frame to give it, beyond which its score hardly changes."""
        return RECURRENT_CONTEXT_FRAMES

    def score_inputs(self, audio: Tensor) -> Tensor:
        """Audio ``(B, 2, T)`` of whole frames to log-odds ``(B, S, F)``."""
        scores: Tensor = self.heads(self.lstm(self.encoder(audio)))
        return scores

    def forward(self, audio: Tensor) -> Tensor:
        """Audio ``(B, 2, T)`` to log-odds ``(B, S, F)`` that each source is silent."""
        return self.score_inputs(pad_to_frames(audio, self.config.hop_samples))
