from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.detector.config import DetectorConfig
from demucs_core.detector.examples import ExampleSource, TrainingSong
from demucs_core.detector.fit_config import AugmentationConfig, ExampleConfig
from demucs_core.detector.log_mel import LogMel
from demucs_core.detector.log_mel_detector import LogMelDetectorConfig
from demucs_core.detector.registry import DEFAULT_DETECTOR, new_detector_config
from tests.demucs_core.detector.test_augmentation import PLAIN
from tests.demucs_core.detector.test_detector import SMALL, small
from tests.demucs_core.music import FRAMES

HOP = 4096


def make_song(name: str, frames: int = 60) -> TrainingSong:
    """Every source is a quiet hum; source s sounds in every second stretch of 10 + s frames."""
    active = np.stack([np.arange(frames) // (10 + source) % 2 == 0 for source in range(4)])
    return TrainingSong(
        track_id=name,
        paths=tuple(f"{name}/{source}" for source in range(4)),
        num_samples=frames * HOP,
        active=active,
    )


SONGS = [make_song(f"song {number}") for number in range(3)]


def read(path: str, start: int, count: int) -> NDArray[np.float32]:
    name, source = path.split("/")
    song = SONGS[int(name.split()[1])]
    time = np.arange(start, start + count)
    sounding = song.active[int(source), np.minimum(time // HOP, 59)]
    wave = 0.1 * np.sin(time * 0.01 * (1 + int(source))) * sounding
    return np.stack([wave, wave]).astype(np.float32)


def source_of(
    augmentation: AugmentationConfig,
    crop_frames: int = 20,
    songs: Sequence[TrainingSong] = SONGS,
    *,
    batch_size: int = 2,
    seed: int = 0,
    detector: DetectorConfig = SMALL,
) -> ExampleSource:
    config = ExampleConfig(
        batch_size=batch_size,
        crop_s=crop_frames * HOP / 44_100,
        seed=seed,
        augmentation=augmentation,
    )
    return ExampleSource(config, songs, read, detector)


def silence_of(examples: ExampleSource, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return examples.example(np.random.default_rng(seed), SMALL.input_maker())


def test_an_example_is_log_mel_and_silence_of_the_crop() -> None:
    features, silent, _ = source_of(AugmentationConfig(), batch_size=3).batch(0)
    assert features.shape == (3, 2, 16, 80)
    assert silent.shape == (3, 4, 20)
    assert silent.dtype == torch.bool
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("architecture", ["logmel-crnn", "demucs-blstm"])
def test_examples_of_mono_are_mono(architecture: str) -> None:
    mono = small(architecture, num_channels=1)
    examples = replace(
        source_of(AugmentationConfig(), batch_size=3, detector=mono),
        read=lambda path, start, count: read(path, start, count)[:1],
    )
    heard, silent, _ = examples.batch(0)
    assert heard.shape == ((3, 1, 16, 80) if architecture == "logmel-crnn" else (3, 1, 20 * HOP))
    assert silent.shape == (3, 4, 20)
    assert torch.isfinite(heard).all()


def test_an_example_for_a_waveform_detector_is_the_audio_itself() -> None:
    """Disturbed through its spectrum and back, which changes nothing where nothing is disturbed."""
    wave = small("demucs-blstm")
    audio, silent, _ = source_of(PLAIN, detector=wave).batch(0)
    assert audio.shape == (2, 2, 20 * HOP)
    assert torch.equal(silent, source_of(PLAIN).batch(0)[1])
    log_mel = LogMel(SMALL.features, SMALL.sample_rate)
    features, _, _ = source_of(PLAIN).batch(0)
    assert log_mel(audio) == pytest.approx(features, abs=1e-3)
    loud = AugmentationConfig(**vars(PLAIN) | {"tone_probability": 1.0})
    disturbed, _, _ = source_of(loud, detector=wave).batch(0)
    assert torch.isfinite(disturbed).all()
    assert (disturbed - audio).abs().max() > 1e-3


def test_batches_depend_on_seed_and_step_alone() -> None:
    examples = source_of(AugmentationConfig(), seed=5)
    features, silent, known = examples.batch(7)
    again, silent_again, _ = source_of(AugmentationConfig(), seed=5, batch_size=3).batch(7)
    assert torch.equal(features, again[:2])
    assert torch.equal(silent, silent_again[:2])
    assert known.all()
    assert not torch.equal(features, examples.batch(8)[0])
    assert not torch.equal(features, source_of(AugmentationConfig(), seed=6).batch(7)[0])


def test_an_untouched_crop_is_silent_where_its_song_is() -> None:
    whole = source_of(PLAIN, crop_frames=60)
    for seed in range(5):
        _, silent, _ = silence_of(whole, seed)
        assert np.array_equal(~silent.numpy(), SONGS[0].active)


def test_a_source_left_out_is_silent_throughout_but_never_all_are() -> None:
    everything = vars(PLAIN) | {"drop_probability": 1.0}
    examples = source_of(AugmentationConfig(**everything), crop_frames=60)
    for seed in range(5):
        _, silent, _ = silence_of(examples, seed)
        assert silent.all(dim=1).sum() == 3


def test_a_source_muted_for_a_part_is_silent_there() -> None:
    muted = source_of(AugmentationConfig(**vars(PLAIN) | {"mute_probability": 1.0}), 60)
    shares = [float(silence_of(muted, seed)[1].float().mean()) for seed in range(10)]
    plain = 1 - SONGS[0].active.mean()
    assert min(shares) >= plain - 0.01
    assert max(shares) > plain + 0.1


def test_gains_change_what_is_silent() -> None:
    """A source 30 dB up makes the others silent: the label follows the mixture, not the song."""
    loud = source_of(AugmentationConfig(**vars(PLAIN) | {"remix_probability": 1, "gain_db": 60}))
    shares = [float(silence_of(loud, seed)[1].float().mean()) for seed in range(30)]
    plain = source_of(AugmentationConfig(**vars(PLAIN) | {"remix_probability": 1}))
    shares_plain = [float(silence_of(plain, seed)[1].float().mean()) for seed in range(30)]
    assert np.mean(shares) > np.mean(shares_plain) + 0.1


def test_a_song_shorter_than_the_crop_is_filled_with_silence() -> None:
    _, silent, _ = silence_of(source_of(PLAIN, crop_frames=80), 0)
    assert silent[:, 62:].all()


@pytest.mark.parametrize(
    "name", [name for name in vars(AugmentationConfig()) if name.endswith("_probability")]
)
def test_each_augmentation_alone_keeps_examples_finite(name: str) -> None:
    examples = source_of(AugmentationConfig(**vars(PLAIN) | {name: 1.0}))
    for seed in range(3):
        features, _, _ = silence_of(examples, seed)
        assert torch.isfinite(features).all()


def test_songs_that_do_not_fit_are_refused_by_name() -> None:
    wrong = TrainingSong(
        track_id="three stems", paths=("a", "b", "c"), num_samples=HOP, active=np.ones((3, 1), bool)
    )
    with pytest.raises(ValueError, match="three stems"):
        source_of(PLAIN, songs=[wrong])
    with pytest.raises(ValueError, match="no stem has source 3 by itself"):
        source_of(PLAIN, songs=[replace(wrong, active=np.ones((4, 1), bool))])
    with pytest.raises(ValueError, match="no labelled song"):
        source_of(PLAIN, songs=[])


def test_the_default_detector_fits_the_examples() -> None:
    usual = new_detector_config(DEFAULT_DETECTOR, **FRAMES)
    assert isinstance(usual, LogMelDetectorConfig)
    examples = ExampleSource(ExampleConfig(batch_size=1, crop_s=0.4), SONGS, read, usual)
    assert examples.batch(0)[0].shape == (1, 2, usual.features.num_mels, 16)


KARAOKE = TrainingSong(
    track_id="song 0",
    paths=("song 0/3", "song 0/0"),
    groups=((3,), (0, 1, 2)),
    num_samples=60 * HOP,
    active=SONGS[0].active & np.array([False, False, False, True])[:, None],
)


def test_what_sounds_in_a_sum_is_not_known() -> None:
    examples = source_of(PLAIN, crop_frames=60, songs=[KARAOKE])
    _, silent, known = silence_of(examples, 0)
    assert known.tolist() == [False, False, False, True]
    assert np.array_equal(~silent[3].numpy(), SONGS[0].active[3])


def test_a_sum_left_out_is_known_to_be_silent() -> None:
    often = AugmentationConfig(**vars(PLAIN) | {"drop_probability": 0.8})
    examples = source_of(often, crop_frames=60, songs=[KARAOKE])
    seen = set()
    for seed in range(40):
        _, silent, known = silence_of(examples, seed)
        seen.add(bool(known[0]))
        assert known[3]
        assert known[:3].all() == known[:3].any()
        assert silent[:3].all() == known[0]
    assert seen == {True, False}


def test_remixes_take_each_source_from_who_has_it_by_itself() -> None:
    read_paths: list[str] = []

    def noting(path: str, start: int, count: int) -> NDArray[np.float32]:
        read_paths.append(path)
        return read(path, start, count)

    remixed = AugmentationConfig(**vars(PLAIN) | {"remix_probability": 1.0})
    single = replace(SONGS[1], paths=("song 1/0",), groups=((0,),), active=SONGS[1].active)
    examples = replace(source_of(remixed, songs=[SONGS[2], KARAOKE, single]), read=noting)
    for seed in range(30):
        assert silence_of(examples, seed)[2].all()
    assert set(read_paths) == {
        "song 2/0", "song 1/0", "song 2/1", "song 2/2", "song 2/3", "song 0/3",
    }  # fmt: skip
