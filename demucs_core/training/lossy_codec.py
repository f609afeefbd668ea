"""Mixtures as people have them: through MP3, AAC or Opus at some bit rate.

Shape legend: C audio channels, T samples.

The mixture alone is degraded, and the targets stay clean, as in ZFTurbo's
Music-Source-Separation-Training (``mp3_compression_on_mixture``): the model learns to give back
what the codec took. What a group knows of the sum is true of the music, not of the copy.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import gcd
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from demucs_core.configuration import check_at_least, check_range, check_share
from demucs_core.training.crops import Audio


class Codec(NamedTuple):
    """How FFmpeg calls a codec and a container that says how long its encoder's delay is."""

    encoder: str
    container: str
    sample_format: str
    rates: tuple[int, ...]
    most_kbps_a_channel: int


CodecName = Literal["mp3", "aac", "opus"]
_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
CODECS: dict[CodecName, Codec] = {
    "mp3": Codec("libmp3lame", "mp3", "fltp", _MPEG_RATES, 160),
    "aac": Codec("aac", "matroska", "fltp", (*_MPEG_RATES, 64_000, 88_200, 96_000), 256),
    "opus": Codec("libopus", "ogg", "flt", (48_000,), 256),
}


class Coding(NamedTuple):
    """What a mixture goes through."""

    codec: CodecName
    kbps: int


@dataclass(frozen=True, kw_only=True)
class LossyCodec:
    """How often mixtures go through a codec, and which: off, unless asked for.

    Attributes:
        probability: how often.
        codecs: of which one is drawn, evenly.
        min_kbps: lowest bit rate, in thousands a second for all channels; drawn evenly.
        max_kbps: highest; a codec takes no more than it has, or the nearest that it has.
        sample_rate: of the audio; 0 where nothing is coded.

    Raises:
        ValueError: a field out of range, by name.
    """

    probability: float = 0.0
    codecs: tuple[CodecName, ...] = get_args(CodecName)
    min_kbps: int = 64
    max_kbps: int = 320
    sample_rate: int = 0

    def __post_init__(self) -> None:
        check_share(self, "probability")
        check_range(self, 8, 512, "min_kbps")
        check_at_least(self, self.min_kbps, "max_kbps")
        check_at_least(self, 1 if self.probability else 0, "sample_rate")
        unknown = [name for name in self.codecs if name not in CODECS]
        if unknown or not self.codecs:
            raise ValueError(
                f"codecs must be some of {', '.join(CODECS)}, not {', '.join(unknown) or 'none'}"
            )

    def draw(self, rng: np.random.Generator) -> Coding | None:
        """Draw what a mixture goes through; None where it stays as it is."""
        chance = rng.random()
        name = self.codecs[int(rng.integers(len(self.codecs)))]
        kbps = int(rng.integers(self.min_kbps, self.max_kbps + 1))
        return Coding(name, kbps) if chance < self.probability else None


def through_codec(audio: Audio, coding: Coding, sample_rate: int) -> Audio:
    """Encode and decode ``(C, T)``: as long, and nothing later or earlier.

    It is resampled on the way where the codec has not its rate, and quieter on the way where it
    goes beyond full scale: nothing is clipped.
    """
    peak = max(1.0, float(np.abs(audio).max(initial=0.0)))
    codec = CODECS[coding.codec]
    higher = [rate for rate in codec.rates if rate >= sample_rate]
    rate = min(higher) if higher else max(codec.rates)
    kbps = min(coding.kbps, codec.most_kbps_a_channel * len(audio))
    coded = _coded(_resampled(audio / np.float32(peak), sample_rate, rate), codec, kbps, rate)
    back = _resampled(coded, rate, sample_rate) * np.float32(peak)
    made = np.zeros_like(audio)
    num_samples = min(back.shape[1], audio.shape[1])
    made[:, :num_samples] = back[:, :num_samples]
    return made


def _coded(audio: Audio, codec: Codec, kbps: int, rate: int) -> Audio:
    """Through a file in memory, whose container tells the decoder what to leave out."""
    import av

    file = io.BytesIO()
    layout = "mono" if len(audio) == 1 else "stereo"
    with av.open(file, "w", format=codec.container) as container:
        stream: Any = container.add_stream(codec.encoder, rate=rate, layout=layout)
        stream.bit_rate = 1000 * kbps
        stream.codec_context.format = codec.sample_format
        samples = audio if codec.sample_format == "fltp" else audio.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format=codec.sample_format, layout=layout
        )
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as coded:
        frames = [frame.to_ndarray() for frame in coded.decode(audio=0)]
    return np.concatenate(frames, axis=1)


def _resampled(audio: Audio, rate: int, wanted: int) -> Audio:
    if rate == wanted:
        return audio
    common = gcd(rate, wanted)
    from scipy.signal import resample_poly  # whoever reads options does not wait for it

    made: Audio = resample_poly(audio, wanted // common, rate // common, axis=1)
    return made
