"""Tempo and pitch change what is heard, and nothing of what is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from demucs_core.training.crops import Augmentation
from demucs_core.training.examples import Example
from demucs_core.training.lossy_codec import LossyCodec
from demucs_core.training.recipes import AddedStem, Recipe, RecipeList
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.stretching import Stretch, Stretching, stretch_audio
from demucs_core.training.weak_loss import grouped_l1
from tests.demucs_core.synthetic_audio import stem_track
from tests.demucs_core.training import tiny

RATE = 8_000
ALWAYS = Stretching(probability=1, sample_rate=RATE)
PLAIN = Augmentation(gain_min=1, gain_max=1, swap_channels=False, flip_sign=False)
SEGMENT = (12_000, 28_000)
RECIPE = Recipe(
    remix_id="r",
    track_path="track:64000",
    track_num_samples=64_000,
    segment_start_sample=SEGMENT[0],
    segment_stop_sample=SEGMENT[1],
    silent=(1, 2),
    added=(
        AddedStem(
            source=1, path="stem:32000", num_samples=32_000, start_sample=9_000,
            excerpt_samples=16_000, gain_db=0.0,
        ),
    ),
)  # fmt: skip


def read(path: str, start_sample: int, num_samples: int) -> NDArray[np.float32]:
    """A track that is loud outside its segment and a tone inside it; a stem likewise."""
    name, length = path.split(":")
    times = np.arange(start_sample, start_sample + num_samples)
    first, last = SEGMENT if name == "track" else (9_000, 25_000)
    hertz = 440 if name == "track" else 700
    audio = 0.1 * np.sin(2 * np.pi * hertz * times / RATE)
    outside = (times < first) | (times >= last)
    audio[outside] = np.random.default_rng(1).uniform(-1, 1, int(outside.sum()))
    audio[times >= int(length)] = 0
    return np.stack([audio, -audio]).astype(np.float32)


def stream(recipe: Recipe = RECIPE, **fields: object) -> ExampleStream:
    config = {
        "crop_samples": 40_000, "batch_size": 4, "weak_share": 0.5, "augmentation": PLAIN,
        "stretching": ALWAYS, **fields,
    }  # fmt: skip
    return ExampleStream(
        StreamConfig(**config),  # type: ignore[arg-type]
        tracks=[stem_track("a", 90_000)],
        remixes=RecipeList([recipe], 4),
        read=read,
        num_sources=4,
    )


def weak(examples: ExampleStream) -> Iterator[Example]:
    return (examples[4 * step + place] for step in range(3) for place in range(2))


def test_a_stretched_recipe_knows_its_segment_alone() -> None:
    plain = next(weak(stream(stretching=Stretching())))
    known = []
    for example in weak(stream()):
        assert example.mixture.shape == plain.mixture.shape
        assert torch.equal(example.membership, plain.membership)
        torch.testing.assert_close(example.mixture, example.targets.sum(dim=0))
        assert all(torch.equal(row, example.mask[0]) for row in example.mask)
        places = example.mask[0].nonzero().flatten()
        assert len(places) == int(places[-1] - places[0]) + 1
        known.append(len(places))
        # What is loud is outside the segment, and hardly any of it comes over its ends.
        for target in example.targets[:2, :, example.mask[0]]:
            assert 0.05 < target.abs().amax() < 0.2
        assert not example.targets[2:].any()
        # Whatever way the rest is split, a perfect separation has no loss.
        truth = example.targets.clone()
        truth[3] = truth[0] / 3
        truth[0] -= truth[3]
        assert grouped_l1(truth[None], *(value[None] for value in example[1:])) < 1e-6
    lengths = np.array(known) + 2 * ALWAYS.guard_samples
    tempos = 16_000 / lengths
    assert 0.87 < tempos.min() < tempos.max() < 1.13
    assert tempos.std() > 0.01


def test_a_segment_of_which_nothing_would_be_left_is_not_stretched() -> None:
    short = replace(
        RECIPE, segment_stop_sample=SEGMENT[0] + 1800,
        added=(replace(RECIPE.added[0], excerpt_samples=1800),),
    )  # fmt: skip
    for plain, example in zip(
        weak(stream(short, stretching=Stretching())), weak(stream(short)), strict=True
    ):
        assert torch.equal(example.targets, plain.targets)
        assert torch.equal(example.mask, plain.mask)


def test_unmasked_recipes_and_labelled_songs_are_known_everywhere() -> None:
    examples = stream(masked=False)
    for index in range(4):
        assert examples[index].mask.all()
        torch.testing.assert_close(examples[index].mixture, examples[index].targets.sum(dim=0))


@pytest.mark.parametrize(("tempo", "semitones"), [(1.12, 0), (0.88, 0), (1.0, 2), (1.05, -2)])
def test_tempo_and_pitch_are_what_they_are_called(tempo: float, semitones: int) -> None:
    stretch = Stretch(tempo, semitones)
    times = np.arange(stretch.samples_for(16_000))
    tone = np.sin(2 * np.pi * 440 * times / RATE)
    tone[(times > 8_000 * tempo) | (times < 4_000 * tempo)] = 0
    made = stretch_audio(tone[None].astype(np.float32), stretch, RATE)
    assert made.shape[1] >= 16_000
    loud = np.flatnonzero(np.abs(made[0]) > 0.3)
    assert loud[0] == pytest.approx(4_000, abs=0.03 * RATE)
    assert loud[-1] == pytest.approx(8_000, abs=0.03 * RATE)
    spectrum = np.abs(np.fft.rfft(made[0, 4_500:7_500], 2**16))
    heard = np.argmax(spectrum) * RATE / 2**16
    assert heard == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)


def test_draws_are_as_often_and_as_far_as_asked() -> None:
    rng = np.random.default_rng(0)
    config = replace(ALWAYS, probability=0.2)
    drawn = [config.draw(rng) for _ in range(2000)]
    found = [stretch for stretch in drawn if stretch is not None]
    assert 300 < len(found) < 500
    assert {stretch.semitones for stretch in found} == {-2, -1, 0, 1, 2}
    tempos = np.array([stretch.tempo for stretch in found])
    assert 0.88 <= tempos.min() < 0.9
    assert 1.1 < tempos.max() <= 1.12
    assert np.std(tempos) == pytest.approx(0.05, abs=0.01)
    assert replace(ALWAYS, tempo=0, semitones=0).draw(rng) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"probability": 1.1}, "probability must be from 0 to 1"),
        ({"tempo": 1.0}, "tempo must be below 1"),
        ({"semitones": -1}, "semitones must be at least 0"),
        ({"sample_rate": 0}, "sample_rate must be at least 1"),
    ],
)
def test_values_out_of_range_are_named(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ALWAYS, **fields)  # type: ignore[arg-type]


def test_a_resumed_training_hears_what_an_undisturbed_one_does() -> None:
    config = replace(
        tiny.STREAM,
        stretching=replace(ALWAYS, probability=0.7, sample_rate=1_000),
        lossy_codec=LossyCodec(probability=0.5, sample_rate=8_000),
    )
    straight, broken_off, resumed = (tiny.trainer(examples=tiny.stream(config)) for _ in range(3))
    assert straight.run()
    assert not broken_off.run(stop=lambda: broken_off.step == 3)
    resumed.load_state(*broken_off.state())
    assert resumed.run()
    tiny.assert_same(resumed, straight)
    plain = tiny.trainer()
    assert plain.run()
    assert plain.history != straight.history
