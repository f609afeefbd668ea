"""The science of silentmix on arrays and tensors: no files, no orchestration.

Needs torch, numpy and scipy alone. Audio is float32 and channels-first: a mixture is ``(C, T)``,
stems are ``(S, C, T)`` in the order of :data:`SOURCES`. A *sample* is one instant of audio; a
*frame* is one analysis frame of :data:`HOP_SAMPLES` samples.
"""

SOURCES = ("drums", "bass", "other", "vocals")
"""The sources of MUSDB18, in the order every array and every weight uses."""

SAMPLE_RATE = 44_100
"""Samples a second of canonical audio."""

NUM_CHANNELS = 2
"""Channels of canonical audio."""

HOP_SAMPLES = 4096
"""Samples in an analysis frame (92.9 ms): the time grid of activity, scores and segments."""
