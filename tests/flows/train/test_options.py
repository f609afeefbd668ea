"""What an architecture does not have is refused, and its own defaults change no name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from demucs_core.architectures import Architecture, Registry
from demucs_core.separators import registry
from demucs_core.separators.demucs import DemucsConfig
from demucs_core.separators.registry import SEPARATORS
from demucs_core.separators.separator import SeparationModel, SeparatorConfig
from demucs_core.training.crops import Augmentation
from demucs_core.training.lossy_codec import LossyCodec
from demucs_core.training.stretching import Stretching
from flows.running.wrong_values import describe
from flows.train import augmentation_options
from flows.train.options import TrainOptions, TrainParameters
from flows.train.preset import load_preset, preset_names
from storage.errors import UserError
from storage.music_format import MusicFormat

SPEECH = MusicFormat(sources=("vocals", "accompaniment"), sample_rate=16_000, num_channels=1)


@dataclass(frozen=True, kw_only=True)
class Flat(SeparatorConfig):
    """Of an architecture that has no depth."""

    channels: int = 3


@pytest.fixture
def _wave_unet_is_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    flat: Architecture[SeparatorConfig, SeparationModel] = Architecture(
        name="wave_unet", module=__name__, config_name="Flat", network_name="SeparationModel"
    )
    known = Registry("separator", SEPARATORS["demucs"], flat)
    monkeypatch.setattr(registry, "SEPARATORS", known)


@pytest.mark.usefixtures("_wave_unet_is_flat")
def test_an_option_that_the_architecture_has_not_is_refused_by_name() -> None:
    assert TrainOptions(architecture="wave_unet", channels=4).architecture_options() == {
        "channels": 4
    }
    with pytest.raises(ValidationError) as refused:
        TrainOptions(architecture="wave_unet", depth=4)
    [line] = describe(refused.value).splitlines()
    assert "depth" in line
    assert "wave_unet has no such option; it has channels" in line


@pytest.mark.parametrize(
    ("options", "channels", "depth"),
    [
        ({}, 64, 6),
        ({"channels": 8}, 8, 6),
        ({"architecture": "wave_unet"}, 24, 12),
        ({"architecture": "wave_unet", "channels": 8, "depth": 3}, 8, 3),
    ],
)
def test_options_reach_the_model_whatever_it_is(
    options: dict[str, Any], channels: int, depth: int
) -> None:
    config = SEPARATORS.parse(TrainOptions(**options).describe_model(SPEECH, crop_s=10))
    assert (config.channels, config.depth) == (channels, depth)  # type: ignore[attr-defined]
    assert config.sources == SPEECH.sources
    assert (config.sample_rate, config.num_channels) == (16_000, 1)


OF_0_1_0: dict[str, Any] = {
    "architecture": "demucs", "channels": 64, "depth": 6, "steps": 100_000, "batch_size": 16,
    "crop_s": 10.0, "learning_rate": 3e-4, "weak_share": 0.25, "weak_weight": 1.0,
    "confidence_weighting": 0.0, "ramp_steps": 0, "weight_ramp_steps": 0, "masked": True,
    "remix_probability": 0.5, "validate_every": 1000, "validation_crops": 4,
    "precision": "float32", "seed": 0,
}  # fmt: skip
"""What silentmix 0.1.0 put into a fingerprint when it was told nothing."""


def test_names_of_0_1_0_are_kept() -> None:
    assert TrainOptions().content() == OF_0_1_0
    wave_unet = TrainOptions(architecture="wave_unet")
    # which is another network since
    assert wave_unet.content() == {
        **OF_0_1_0, "architecture": "wave_unet", "architecture_version": 2
    }  # fmt: skip


def test_a_default_that_is_told_changes_no_name_and_another_value_does() -> None:
    told = TrainOptions(channels=DemucsConfig.channels, depth=DemucsConfig.depth)
    assert told.content() == TrainOptions().content()
    assert TrainOptions(depth=5).content() != TrainOptions().content()
    # 0.1.0 built its own 24 channels, whatever it was told
    wave_unet = [TrainOptions(architecture="wave_unet", channels=n).content() for n in (0, 64, 65)]
    assert wave_unet[0] != wave_unet[1] != wave_unet[2]


def test_remixes_are_chosen_one_a_corpus() -> None:
    asked = TrainParameters(corpora=["a", "b"], remixes=["f1", "f2"])
    assert asked.chosen_remixes == [("a", "f1"), ("b", "f2")]
    assert TrainParameters(corpora=["a", "b"]).chosen_remixes == [("a", None), ("b", None)]
    assert TrainParameters(corpora=["a"], remixes=["f1"], weak_share=0).chosen_remixes == []
    with pytest.raises(UserError, match="1 fingerprints for 2 corpora"):
        _ = TrainParameters(corpora=["a", "b"], remixes=["f1"]).chosen_remixes
    assert asked.content() == TrainParameters().content()


def test_a_preset_gives_other_defaults_and_no_other_name() -> None:
    preset = TrainOptions.model_validate({"preset": "demo"})
    told = TrainOptions.model_validate(load_preset("demo"))
    assert preset.content() == told.content() != TrainOptions().content()
    assert TrainOptions(preset="demo", steps=7).content() == {**told.content(), "steps": 7}
    # As the chain hands it on: every field told.
    fields = {name: getattr(preset, name) for name in TrainOptions.model_fields}
    assert TrainOptions(**{**fields, "steps": 7}).steps == 7


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid(name: str) -> None:
    options = TrainOptions(preset=name)
    assert options.content() != TrainOptions().content()
    assert options.model_dump(include=set(load_preset(name))).keys() == load_preset(name).keys()


@pytest.mark.parametrize("name", [name for name in preset_names() if name != "demo"])
def test_presets_after_publications_leave_levels_alone(name: str) -> None:
    audio = TrainOptions(preset=name).configure(Augmentation)
    assert audio.draw(np.random.default_rng(0)).factor in {-1.0, 1.0}
    assert audio.swap_channels
    assert audio.flip_sign


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("paper")])
def test_the_paper_knows_no_tempos_no_codecs_and_no_changes_to_batches(name: str) -> None:
    options = TrainOptions(preset=name)
    assert options.batch_augmentation(44_100).is_off
    assert not options.stretching(44_100).probability
    assert not options.lossy_codec(44_100).probability


def test_tempos_and_codecs_reach_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    options = TrainOptions(
        preset="htdemucs-finetune", codec_probability=0.5, codecs="mp3,opus", codec_max_kbps=128
    )
    assert options.stretching(8_000) == Stretching(
        probability=0.2, tempo=0.12, semitones=2, sample_rate=8_000
    )
    assert options.lossy_codec(8_000) == LossyCodec(
        probability=0.5, codecs=("mp3", "opus"), max_kbps=128, sample_rate=8_000
    )
    monkeypatch.setattr(augmentation_options, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'silentmix\[stretch\]', or set it to 0"):
        options.stretching(8_000)
    assert TrainOptions().stretching(8_000) == Stretching()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gain_min": 1.5}, "gain_min must be at most gain_max (1.25), not 1.5"),
        ({"codec_min_kbps": 400}, "codec_min_kbps must be at most codec_max_kbps (320), not 400"),
        ({"codec_probability": 0.1, "batch_shift_s": 0.1}, "codec_probability must be 0 where"),
        ({"codecs": ["mp4"]}, "codecs"),
        ({"codecs": []}, "codecs"),
        ({"gain_max": math.inf}, "gain_max must be finite, not inf"),
        ({"batch_shift_s": math.inf}, "batch_shift_s must be finite, not inf"),
        ({"objective": "mixit", "batch_remix": 0.1}, "batch_remix must be 0 where the objective"),
        ({"crop_s": math.nan}, "crop_s must be finite, not nan"),
        ({"crop_s": -1.0}, "crop_s must be at least 0.001, not -1.0"),
        ({"crop_s": 1e-9}, "crop_s must be at least 0.001, not 1e-09"),
        ({"ema_decays": [1.0]}, "ema_decays.0 must be below 1, not 1.0"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"patience": -1}, "patience must be at least 0, not -1"),
        ({"processes": 65}, "processes must be at most 64, not 65"),
        ({"seed": 2**63}, "seed must be below 9.22337e+18"),
        ({"preset": "../options"}, "there is no preset '../options'; there are demo"),
        ({"epochs": 3}, "unknown field 'epochs'"),
    ],
)
def test_values_that_can_not_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TrainOptions(**fields)
    assert message in describe(refused.value)


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(ValidationError) as refused:
        TrainOptions(preset="papers")
    assert "there is no preset 'papers'; there are demo, htdemucs-finetune" in describe(
        refused.value
    )
