"""A detector made of a separator hears a silence where the separator leaves nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from demucs_core.detector.examples import ExampleSource
from demucs_core.detector.fit_config import DetectorTrainingConfig, ExampleConfig
from demucs_core.detector.registry import build_detector
from demucs_core.detector.scoring import score_chunks
from demucs_core.detector.separator_detector import SeparatorDetector, SeparatorDetectorConfig
from demucs_core.detector.training import DetectorTrainer
from tests.demucs_core.detector.test_detector import small
from tests.demucs_core.detector.test_examples import SONGS, read

HOP = 4096


class Oracle(nn.Module):
    """Gives half of what it hears to the first source, a thousandth to the second."""

    def forward(self, mixture: Tensor) -> Tensor:
        shares = torch.tensor([0.5, 0.001, 0.4, 0.099])[:, None, None]
        return shares * mixture[:, None]


def detector() -> SeparatorDetector:
    built = build_detector(small("separator"), seed=0).eval()
    assert isinstance(built, SeparatorDetector)
    return built


def test_what_hardly_anything_is_left_of_is_silent() -> None:
    built = detector()
    built.separator = Oracle()  # type: ignore[assignment]
    audio = 0.1 * torch.randn(1, 2, 30 * HOP, generator=torch.Generator().manual_seed(0))
    log_odds = built(audio)[0]
    assert (log_odds[0] < -3).all()
    assert (log_odds[1] > 10).all()
    # a straight line: 60 dB and 6 dB below, at 3 dB a step
    gap = (log_odds[1] - log_odds[0]).numpy()
    np.testing.assert_allclose(gap, 20 * np.log10(500) / 3, atol=0.05)


def test_any_chunks_give_the_scores_of_one_piece() -> None:
    built = detector()
    audio = np.random.default_rng(0).normal(0, 0.1, (2, 290 * HOP + 7)).astype(np.float32)
    whole = torch.sigmoid(built(torch.from_numpy(audio)[None]))[0].numpy()
    scores = score_chunks(
        built, lambda start, num: audio[:, start : start + num], audio.shape[1], chunk_frames=100
    )
    np.testing.assert_allclose(scores, whole, atol=1e-4)


def test_it_is_not_trained() -> None:
    built = detector()
    examples = ExampleSource(ExampleConfig(), SONGS, read, built.config)
    with pytest.raises(ValueError, match="made of a separator is not trained"):
        DetectorTrainer(built, DetectorTrainingConfig(), examples)


def test_a_separator_of_other_music_is_refused() -> None:
    config = small("separator")
    assert isinstance(config, SeparatorDetectorConfig)
    with pytest.raises(ValueError, match="the separator's num_channels is 2, and 1 is wanted"):
        SeparatorDetectorConfig(
            sources=config.sources,
            sample_rate=config.sample_rate,
            num_channels=1,
            hop_samples=config.hop_samples,
            separator=config.separator,
        )
