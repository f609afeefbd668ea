"""Training on mixtures of mixtures: each output goes where it fits, and the loss goes down."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from demucs_core.separators.registry import build_model
from demucs_core.training.crops import Audio
from demucs_core.training.lossy_codec import LossyCodec
from demucs_core.training.mixit import MixtureStream, MixtureTrack, assigned, output_names
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.stretching import Stretching
from demucs_core.training.trainer import StepReport, Trainer
from demucs_core.training.training_config import TrainingConfig
from demucs_core.training.weak_loss import check_partition

CROP = 400
CONFIG = StreamConfig(crop_samples=CROP, batch_size=2, seed=3)


def read(path: str, start: int, num: int) -> Audio:
    """A tone of the track's own, in stereo."""
    time = np.arange(start, start + num)
    return np.tile(0.3 * np.sin(time * float(path)), (2, 1)).astype(np.float32)


def stream(*tracks: float) -> MixtureStream:
    found = [MixtureTrack(path=str(hertz), num_samples=900) for hertz in tracks]
    return MixtureStream(CONFIG, mixtures=found, read=read, num_outputs=4)


def test_outputs_go_where_all_of_them_together_fit_best() -> None:
    generator = torch.Generator().manual_seed(0)
    estimates = torch.randn(3, 5, 2, 50, generator=generator)
    targets = torch.randn(3, 2, 2, 50, generator=generator)
    found = assigned(estimates, targets)
    check_partition(found)
    for example in range(3):

        def error(choice: tuple[int, ...], example: int = example) -> float:
            sums = torch.stack(
                [
                    estimates[example][torch.tensor(choice) == mixture].sum(dim=0)
                    for mixture in (0, 1)
                ]
            )
            return float((sums - targets[example]).square().sum())

        best = min(itertools.product((0, 1), repeat=5), key=error)
        assert found[example, 1].tolist() == list(best)


def test_an_example_is_the_sum_of_two_tracks_and_depends_on_its_number_alone() -> None:
    examples = stream(0.1, 0.2, 0.3)
    example = examples[7]
    assert torch.equal(example.mixture, example.targets.sum(dim=0))
    assert example.targets.shape == (2, 2, CROP)
    assert not torch.allclose(*example.targets)
    assert all(torch.equal(one, other) for one, other in zip(example, examples[7], strict=True))
    assert not torch.equal(example.mixture, examples[8].mixture)
    assert stream(0.1)[0].mixture.abs().sum() > 0, "one track is enough"
    with pytest.raises(ValueError, match="no unlabelled track"):
        stream()


def test_tempo_pitch_and_codec_are_those_of_any_example() -> None:
    plain = stream(0.1, 0.2)
    changed = stream(0.1, 0.2)
    changed.config = replace(
        CONFIG,
        stretching=Stretching(probability=1.0, sample_rate=8_000),
        lossy_codec=LossyCodec(probability=1.0, codecs=("mp3",), sample_rate=8_000),
    )
    example = changed[0]
    assert example.targets.shape == plain[0].targets.shape
    assert bool(example.mask.all())
    assert not torch.allclose(example.targets, plain[0].targets, atol=1e-3)
    assert not torch.allclose(example.mixture, example.targets.sum(dim=0), atol=1e-4), "coded"


def test_a_model_learns_from_mixtures() -> None:
    music = {"sources": list(output_names(2)), "sample_rate": 8_000, "num_channels": 2}
    model = build_model({"architecture": "demucs", "channels": 4, "depth": 2, **music}, seed=0)
    config = TrainingConfig(objective="mixit", steps=40, learning_rate=3e-3, validate_every=20)
    trainer = Trainer(model, config, stream(0.05, 0.9), [])
    reports: list[StepReport] = []
    trainer.run(on_step=reports.append)
    losses = [report.loss for report in reports]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert np.isnan(reports[0].figures.labelled_loss)
    assert not np.isnan(reports[0].figures.weak_loss)


def test_too_many_outputs_are_refused() -> None:
    assert len(output_names(6)) == 12
    with pytest.raises(ValueError, match="6 are the most"):
        output_names(7)
