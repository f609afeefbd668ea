"""A detector on waveforms, the paper's way: the encoder and BiLSTM of Demucs, a head a source.

Shapes: B batch, C channels, T samples, H hidden channels, F frames, S sources.

arXiv 1909.01174, section 4: the decoder's place is taken by a linear layer to a score a source
and step of the BiLSTM. Six blocks of stride 4 make a step 4096 samples, the frame of everything
at 44.1 kHz; frames of other rates have more or fewer blocks, the last of stride 2 where they are no
power of four. Departures: every convolution is zero-padded on both sides, so that a step is
centred on its frame and T samples give exactly ``T / hop`` steps; and each is followed by batch
normalisation. In the separator, skips carry the audio past the inner blocks. Here nothing does, and
with the paper's initial weights alone the six gated blocks let so little of it through that the
loss stays at chance for hundreds of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from demucs_core.configuration import check_at_least
from demucs_core.detector.config import DetectorConfig, TrainedDetector
from demucs_core.detector.log_mel_detector import pad_to_frames
from demucs_core.detector.recurrence import BLOCK_FRAMES, CONTEXT_FRAMES, in_blocks
from demucs_core.separators.demucs import BiLSTM

KERNEL, STRIDE = 8, 4
"""Of the encoder's convolutions."""


@dataclass(frozen=True, kw_only=True)
class WaveformDetectorConfig(DetectorConfig):
    """The encoder's width and the BiLSTM's depth; how many blocks there are, the frame says.

    Attributes:
        encoder_channels: channels after the first block, doubled by each further one. The separator
            of the paper has 64, which a CPU cannot train.
        recurrent_layers: layers of the BiLSTM.

    Raises:
        ValueError: a field out of range, by name.
    """

    encoder_channels: int = 16
    recurrent_layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "encoder_channels", "recurrent_layers")
        if self.hop_samples & (self.hop_samples - 1) or self.hop_samples < STRIDE:
            raise ValueError(
                f"hop_samples must be a power of two, at least {STRIDE}, not {self.hop_samples}"
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the encoder's blocks: their product is the frame."""
        octaves = self.hop_samples.bit_length() - 1
        return (STRIDE,) * (octaves // 2) + (2,) * (octaves % 2)


class WaveformDetector(TrainedDetector):
    """Audio ``(B, C, T)`` to log-odds of silence ``(B, S, F)``, ``F = ceil(T / hop)``.

    In training the BiLSTM runs over the whole of what it is given, else in blocks.
    """

    config: WaveformDetectorConfig

    def __init__(self, config: WaveformDetectorConfig) -> None:
        super().__init__()
        self.config = config
        blocks: list[nn.Module] = []
        width_in, width = config.num_channels, config.encoder_channels
        for stride in config.strides:
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
