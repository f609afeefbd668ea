from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from demucs_core.detector.config import DetectorConfig, SilenceDetector
from demucs_core.detector.log_mel import LogMelConfig
from demucs_core.detector.log_mel_detector import LogMelDetectorConfig, TcnConfig
from demucs_core.detector.registry import (
    DETECTORS,
    SEPARATOR,
    TRAINED,
    build_detector,
    detector_config,
    new_detector_config,
    parse_detector_config,
)
from demucs_core.detector.waveform_detector import WaveformDetector, WaveformDetectorConfig
from tests.demucs_core.music import FRAMES

BANDS: dict[str, Any] = {
    "features": LogMelConfig.at(44_100, 4096, num_mels=16),
    "conv_channels": (4, 6, 8),
    "hidden_channels": 12,
}
LAYERS: dict[str, dict[str, Any]] = {
    "logmel-tcn": {**BANDS, "dilations": (1, 2, 3)},
    "logmel-crnn": BANDS,
    "demucs-blstm": {"encoder_channels": 2},
    "separator": {},
}


def small(architecture: str, **fields: Any) -> DetectorConfig:
    """The configuration of a small detector."""
    if architecture == SEPARATOR:
        music = {"sources": list(FRAMES["sources"]), "sample_rate": FRAMES["sample_rate"]}
        channels = {"num_channels": fields.get("num_channels", FRAMES["num_channels"])}
        sized = {"architecture": "demucs", "channels": 2, "depth": 2}
        fields["separator"] = {**sized, **music, **channels}
    return new_detector_config(architecture, **{**FRAMES, **LAYERS[architecture], **fields})


SMALL = TcnConfig.of(**FRAMES, **LAYERS["logmel-tcn"])


@pytest.fixture(scope="module")
def detector() -> SilenceDetector:
    generator = torch.Generator().manual_seed(0)
    built = build_detector(SMALL).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return built


@pytest.mark.parametrize("architecture", DETECTORS)
@pytest.mark.parametrize("samples", [1, 4096, 4097, 20_000])
def test_there_is_a_score_for_every_frame_begun(architecture: str, samples: int) -> None:
    frames = -(-samples // 4096)
    scores = build_detector(small(architecture)).eval()(torch.zeros(2, 2, samples))
    assert scores.shape == (2, 4, frames)


@pytest.mark.parametrize("architecture", DETECTORS)
def test_a_detector_of_mono_hears_mono(architecture: str) -> None:
    built = build_detector(small(architecture, num_channels=1)).eval()
    assert built(torch.zeros(2, 1, 20_000)).shape == (2, 4, 5)
    with pytest.raises((ValueError, RuntimeError)):
        built(torch.zeros(2, 2, 20_000))


@pytest.mark.parametrize("hop_samples", [1024, 2048, 8192])
def test_the_waveform_detector_has_frames_of_any_power_of_two(hop_samples: int) -> None:
    built = build_detector(small("demucs-blstm", hop_samples=hop_samples)).eval()
    scores = built(torch.zeros(1, 2, 3 * hop_samples + 1))
    assert scores.shape == (1, 4, 4)


def waveform_detector(encoder_channels: int) -> WaveformDetector:
    """Small, but for its encoder; always the same."""
    config = small("demucs-blstm", encoder_channels=encoder_channels)
    assert isinstance(config, WaveformDetectorConfig)
    torch.manual_seed(0)
    return WaveformDetector(config)


def test_the_encoder_of_the_waveform_detector_is_centred_on_each_frame() -> None:
    detector = waveform_detector(2).eval()
    audio = (0.1 * torch.randn(1, 2, 9 * 4096)).requires_grad_()
    detector.encoder(audio)[0, :, 4].sum().backward()
    assert audio.grad is not None
    heard = torch.nonzero(audio.grad.abs().sum(dim=(0, 1)))
    first, last = int(heard.min()), int(heard.max())
    # its middle is that of the audio, but for samples that a ReLU kept out
    assert first + last + 1 == pytest.approx(9 * 4096, abs=512)
    assert 4096 < last - first < 3 * 4096


def test_audio_reaches_the_end_of_the_waveform_detectors_encoder_before_any_training() -> None:
    detector = waveform_detector(16).train()
    steps = detector.encoder(0.1 * torch.randn(4, 2, 32 * 4096))
    # each feature differs between frames about as much as features differ from each other
    assert steps.std(dim=(0, 2)).mean() > 0.3 * steps.std()


def test_no_audio_is_refused(detector: SilenceDetector) -> None:
    with pytest.raises(ValueError, match="no samples"):
        detector(torch.zeros(1, 2, 0))


def test_a_score_depends_on_its_context_and_no_further(detector: SilenceDetector) -> None:
    frames, frame = 40, 20
    audio = 0.1 * torch.randn(1, 2, frames * 4096, generator=torch.Generator().manual_seed(1))
    audio.requires_grad_()
    detector(audio)[0, :, frame].sum().backward()
    assert audio.grad is not None
    heard = audio.grad.abs().sum(dim=(0, 1)).reshape(frames, 4096).sum(dim=1) > 0
    reach = detector.context_frames
    assert not heard[: frame - reach].any()
    assert not heard[frame + reach + 1 :].any()
    # And the property is not generous by more than the frame it is rounded up to.
    assert heard[frame - reach + 1 : frame + reach].all()


@pytest.mark.parametrize("architecture", DETECTORS)
def test_configuration_survives_json(architecture: str) -> None:
    detector = build_detector(small(architecture))
    values = json.loads(json.dumps(detector_config(detector)))
    assert parse_detector_config(values) == small(architecture)


OF_0_1_0 = {
    "sources": ["drums", "bass", "other", "vocals"],
    "sample_rate": 44100,
    "hop_samples": 4096,
    "features": {
        "fft_samples": 4096, "hop_samples": 1024, "num_mels": 16, "low_hz": 30.0, "high_hz": 16000.0
    },
    "conv_channels": [4, 6, 8],
    "hidden_channels": 12,
    "dilations": [1, 2, 3],
    "encoder_channels": 2,
    "recurrent_layers": 2,
}  # fmt: skip
"""The fields of all architectures, and no channels: it knew stereo alone."""


@pytest.mark.parametrize("architecture", TRAINED)
def test_configurations_of_0_1_0_are_read(architecture: str) -> None:
    values = {"architecture": architecture, **OF_0_1_0}
    assert parse_detector_config(values) == small(architecture)


def test_the_features_follow_rate_and_frame() -> None:
    config = new_detector_config(
        "logmel-crnn", **{**FRAMES, "sample_rate": 16_000, "hop_samples": 2048}
    )
    assert isinstance(config, LogMelDetectorConfig)
    features = config.features
    assert (features.fft_samples, features.hop_samples, features.high_hz) == (2048, 512, 8000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_layers": 3}, "no field 'num_layers'"),
        ({"dilations": [1]}, "logmel-crnn has no field 'dilations'"),
        ({"features": {"mels": 3}}, "features has no field 'mels'"),
        ({"features": 3}, "features must be an object"),
        ({"conv_channels": [1, 2]}, "conv_channels must be a list of 3"),
        ({"hidden_channels": 8.5}, "hidden_channels must be an integer"),
        ({"architecture": "oracle"}, "detector architecture 'oracle' is unknown; known are logmel"),
    ],
)
def test_what_is_unknown_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    good = DETECTORS.to_json(small("logmel-crnn"))
    with pytest.raises(ValueError, match=message):
        parse_detector_config({**good, **values})


@pytest.mark.parametrize(
    ("architecture", "field"),
    [
        ("logmel-tcn", {"sources": ("drums", "drums")}),
        ("logmel-tcn", {"num_channels": 3}),
        ("logmel-tcn", {"hop_samples": 1000}),
        ("logmel-tcn", {"dilations": (0,)}),
        ("logmel-tcn", {"conv_channels": (0, 1, 1)}),
        ("logmel-tcn", {"hidden_channels": 0}),
        ("logmel-crnn", {"hidden_channels": 7}),
        ("logmel-crnn", {"recurrent_layers": 0}),
        ("demucs-blstm", {"encoder_channels": 0}),
        ("demucs-blstm", {"recurrent_layers": 0}),
        ("demucs-blstm", {"hop_samples": 3000}),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(architecture: str, field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        replace(small(architecture), **field)
