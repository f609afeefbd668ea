"""What a lossy codec makes of a stem."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

CODECS = {"mp3": ("libmp3lame", "mp3"), "aac": ("aac", "adts")}
"""Encoder and container by what people call them."""

BIT_RATE = 128_000


def through_codec(stem: NDArray[np.float32], codec: str, sample_rate: int) -> NDArray[np.float32]:
    """Encode and decode a stereo stem ``(2, T)``; padded or cut to the length it had."""
    encoder, container = CODECS[codec]
    encoded = io.BytesIO()
    with av.open(encoded, "w", format=container) as file:
        stream = file.add_stream(encoder, rate=sample_rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "stereo"
        stream.bit_rate = BIT_RATE
        whole = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(stem), format="fltp", layout="stereo"
        )
        whole.sample_rate, whole.pts, whole.time_base = sample_rate, 0, Fraction(1, sample_rate)
        cut = av.AudioResampler("fltp", "stereo", sample_rate, stream.frame_size or 1024)
        for frame in (*cut.resample(whole), *cut.resample(None), None):
            file.mux(stream.encode(frame))
    encoded.seek(0)
    with av.open(encoded, "r") as coded:
        decoded = np.concatenate([frame.to_ndarray() for frame in coded.decode(audio=0)], axis=1)
    num_samples = stem.shape[1]
    padded = np.pad(decoded, [(0, 0), (0, max(num_samples - decoded.shape[1], 0))])
    return np.asarray(padded[:, :num_samples], dtype=np.float32)
