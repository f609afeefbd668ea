from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from demucs_core.detector.config import SilenceDetector
from demucs_core.detector.log_mel_detector import LogMelDetector
from demucs_core.detector.registry import TRAINED, build_detector
from demucs_core.detector.scoring import score_chunks
from tests.demucs_core.detector.test_detector import SMALL, small

Audio = NDArray[np.float32]


class Crowded(LogMelDetector):
    """Has memory for so many pieces at a time."""

    room = 2

    def forward(self, audio: Tensor) -> Tensor:
        if len(audio) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(audio)


@pytest.fixture(scope="module", params=TRAINED)
def detector(request: pytest.FixtureRequest) -> SilenceDetector:
    torch.manual_seed(0)
    built = build_detector(small(request.param)).eval()
    with torch.no_grad():
        assert isinstance(built.heads, nn.Conv1d)
        built.heads.weight.normal_(generator=torch.Generator().manual_seed(0))
    return built


def reader(audio: Audio) -> Callable[[int, int], Audio]:
    return lambda start, count: audio[:, start : start + count]


def track(samples: int) -> tuple[Audio, Callable[[int, int], Audio]]:
    audio = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32) * 0.1
    return audio, reader(audio)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 150 * 4096), chunk_frames=st.integers(1, 90), batch=st.integers(1, 4))
def test_any_chunks_give_the_scores_of_one_piece(
    detector: SilenceDetector, samples: int, chunk_frames: int, batch: int
) -> None:
    audio, read = track(samples)
    with torch.inference_mode():
        whole = torch.sigmoid(detector(torch.from_numpy(audio)[None]))[0].numpy()
    scores = score_chunks(detector, read, samples, chunk_frames=chunk_frames, batch_size=batch)
    assert scores.dtype == np.float32
    assert scores.shape == (4, -(-samples // 4096))
    assert scores == pytest.approx(whole, abs=1e-5)


def test_reads_go_forward_and_stay_small(detector: SilenceDetector) -> None:
    audio, read = track(100 * 4096 + 5)
    asked = []

    def recording(start: int, count: int) -> Audio:
        asked.append((start, count))
        return read(start, count)

    score_chunks(detector, recording, audio.shape[1], chunk_frames=10)
    assert asked == sorted(asked)
    assert len(asked) == 11
    around = detector.context_frames + detector.block_frames
    assert max(count for _, count in asked) <= (10 + 2 * around + detector.block_frames) * 4096


def test_a_batch_too_large_is_halved_and_the_scores_stay() -> None:
    torch.manual_seed(0)
    crowded = Crowded(SMALL).eval()
    audio, read = track(90 * 4096)
    expected = score_chunks(crowded, read, audio.shape[1], chunk_frames=5, batch_size=1)
    halved = score_chunks(crowded, read, audio.shape[1], chunk_frames=5, batch_size=16)
    assert halved == pytest.approx(expected, abs=1e-5)


def test_a_single_piece_that_does_not_fit_is_an_error() -> None:
    crowded = Crowded(SMALL).eval()
    crowded.room = 0
    audio, read = track(30 * 4096)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        score_chunks(crowded, read, audio.shape[1], chunk_frames=5, batch_size=4)


def test_a_reader_that_gives_less_is_refused(detector: SilenceDetector) -> None:
    audio, read = track(10 * 4096)
    with pytest.raises(ValueError, match="shorter than declared"):
        score_chunks(detector, read, audio.shape[1] + 4096)


def test_an_empty_track_is_refused(detector: SilenceDetector) -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        score_chunks(detector, track(1)[1], 0)


def test_silence_and_full_scale_noise_have_finite_scores(detector: SilenceDetector) -> None:
    for audio in (np.zeros((2, 9000), np.float32), np.ones((2, 9000), np.float32)):
        scores = score_chunks(detector, reader(audio), 9000)
        assert np.isfinite(scores).all()
