"""Music-like audio, and files of it in every format that the installed libraries can write."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 44_100


def music(
    num_samples: int, rate: int = RATE, channels: int = 2, seed: int = 0
) -> NDArray[np.float32]:
    """Low-passed noise and a few partials, ``(C, T)``, other in each channel, peaks below 0.7."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / rate
    audio = np.zeros((channels, num_samples))
    for channel in range(channels):
        for partial in (220.0, 554.4, 1318.5):
            phase, pitch = rng.uniform(0, 2 * np.pi), partial * (1 + channel / 4)
            audio[channel] += np.sin(2 * np.pi * pitch * time_s + phase) / 6
        noise = rng.standard_normal(num_samples + 7)
        audio[channel] += 0.02 * np.convolve(noise, np.ones(8) / 8, "valid")
    return audio.astype(np.float32)


def write_sndfile(
    path: Path, audio: NDArray[np.floating], rate: int = RATE, *, subtype: str | None = None
) -> Path:
    """Encode with libsndfile, in the format that the name says."""
    with soundfile.SoundFile(path, "w", rate, len(audio), subtype) as file:
        # libsndfile crashes when it is to encode minutes of Vorbis at once
        for start in range(0, audio.shape[1], rate):
            file.write(audio.T[start : start + rate])
    return path


def write_ffmpeg(
    path: Path,
    *streams: NDArray[np.floating],
    codec: str,
    rate: int = RATE,
    layout: str = "stereo",
    container: str | None = None,
    **options: str,
) -> Path:
    """Encode one stream or more with FFmpeg."""
    with av.open(str(path), "w", format=container, options=options) as output:
        made = []
        for audio in streams:
            stream = output.add_stream(codec, rate=rate, layout=layout)
            assert isinstance(stream, av.AudioStream)
            stream.bit_rate = 256_000
            offered = {offer.name for offer in stream.codec_context.codec.audio_formats or ()}
            wanted = ("s16", "s16p", "fltp", "flt")
            stream.codec_context.format = next(name for name in wanted if name in offered)
            made.append((stream, audio))
        output.start_encoding()
        for stream, audio in made:
            for packet in _packets(stream, audio, rate, layout):
                output.mux(packet)
    return path


def _packets(
    stream: av.AudioStream, audio: NDArray[np.float32], rate: int, layout: str
) -> list[av.Packet[av.AudioStream]]:
    context = stream.codec_context
    resampler = av.AudioResampler(
        format=context.format, layout=layout, rate=rate, frame_size=context.frame_size or 1024
    )
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio), format="fltp", layout=layout)
    frame.sample_rate = rate
    frame.pts = 0
    packets: list[av.Packet[av.AudioStream]] = []
    for piece in (frame, None):
        for ready in resampler.resample(piece):
            packets += stream.encode(ready)
    return packets + stream.encode(None)


def snr_db(reference: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    """Signal-to-noise ratio over what both have, without any alignment."""
    num_samples = min(reference.shape[1], decoded.shape[1])
    want, got = reference[:, :num_samples], decoded[:, :num_samples]
    noise = float(np.square(got - want, dtype=np.float64).sum())
    return 10 * float(np.log10(np.square(want, dtype=np.float64).sum() / max(noise, 1e-20)))
