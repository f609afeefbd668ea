"""A detector on waveforms, the paper's way: the encoder and BiLSTM of Demucs, a head a source.

Shapes: B batch, C channels, T samples, H hidden channels, F frames, S sources.

arXiv 1909.01174, section 4: the decoder's place is taken by a linear layer to a score a source
and step of the BiLSTM. Six blocks of stride 4 make a step 4096 samples, the frame of everything
here. Departures: every convolution is zero-padded by two samples on each side, so that a step is
centred on its frame and T samples give exactly ``T / 4096`` steps; and each is followed by batch
normalisation. In the separator, skips carry the audio past the inner blocks. Here nothing does, and
with the paper's initial weights alone the six gated blocks let so little of it through that the
loss stays at chance for hundreds of steps.
"""

from __future__ import annotations

from torch import Tensor, nn

from demucs_core.detector.config import DetectorConfig
from demucs_core.detector.log_mel_detector import pad_to_frames
from demucs_core.detector.recurrence import BLOCK_FRAMES, CONTEXT_FRAMES, in_blocks
from demucs_core.separators.demucs import BiLSTM

KERNEL = 8
"""Of the encoder's convolutions."""


class WaveformDetector(nn.Module):
    """Audio ``(B, C, T)`` to log-odds of silence ``(B, S, F)``, ``F = ceil(T / hop)``.

    In training the BiLSTM runs over the whole of what it is given, else in blocks.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        blocks: list[nn.Module] = []
        width_in, width = config.num_channels, config.encoder_channels
        for stride in config.encoder_strides:
            blocks += [
                nn.Conv1d(width_in, width, KERNEL, stride, padding=(KERNEL - stride) // 2),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Conv1d(width, 2 * width, 1),
                nn.BatchNorm1d(2 * width),
                nn.GLU(dim=1),
            ]
            width_in, width = width, 2 * width
        self.encoder = nn.Sequential(*blocks)
        self.lstm = BiLSTM(width_in, config.recurrent_layers)
        self.heads = nn.Conv1d(width_in, len(config.sources), 1)

    @property
    def block_frames(self) -> int:
        """Frames that a block of the BiLSTM has."""
        return BLOCK_FRAMES

    @property
    def context_frames(self) -> int:
        """Frames on each side of a block that its scores can depend on: an encoder's overhang."""
        return CONTEXT_FRAMES + 1

    def score_inputs(self, audio: Tensor) -> Tensor:
        """Audio ``(B, C, T)`` of whole frames to log-odds ``(B, S, F)``."""
        steps = self.encoder(audio)
        heard = self.lstm(steps) if self.training else in_blocks(self.lstm, steps)
        scores: Tensor = self.heads(heard)
        return scores

    def forward(self, audio: Tensor) -> Tensor:
        """Audio ``(B, C, T)`` to log-odds ``(B, S, F)`` that each source is silent."""
        return self.score_inputs(pad_to_frames(audio, self.config.hop_samples))
