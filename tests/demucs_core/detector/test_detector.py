from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from demucs_core.detector.config import ARCHITECTURES, DetectorConfig, parse_detector_config
from demucs_core.detector.log_mel import LogMelConfig
from demucs_core.detector.registry import build_detector, detector_config
from demucs_core.detector.waveform_detector import WaveformDetector

SMALL = DetectorConfig(
    architecture="logmel-tcn",
    conv_channels=(4, 6, 8),
    hidden_channels=12,
    dilations=(1, 2, 3),
    features=LogMelConfig(num_mels=16),
)


@pytest.fixture(scope="module")
def detector():
    generator = torch.Generator().manual_seed(0)
    built = build_detector(SMALL).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return built


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("samples", [1, 4096, 4097, 20_000])
def test_there_is_a_score_for_every_frame_begun(architecture, samples):
    config = replace(SMALL, architecture=architecture, encoder_channels=2)
    frames = -(-samples // 4096)
    scores = build_detector(config).eval()(torch.zeros(2, 2, samples))
    assert scores.shape == (2, 4, frames)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_detector_of_mono_hears_mono(architecture):
    config = replace(SMALL, architecture=architecture, encoder_channels=2, num_channels=1)
    built = build_detector(config).eval()
    assert built(torch.zeros(2, 1, 20_000)).shape == (2, 4, 5)
    with pytest.raises((ValueError, RuntimeError)):
        built(torch.zeros(2, 2, 20_000))


@pytest.mark.parametrize("hop_samples", [1024, 2048, 8192])
def test_the_waveform_detector_has_frames_of_any_power_of_two(hop_samples):
    config = replace(
        SMALL, architecture="demucs-blstm", encoder_channels=2, hop_samples=hop_samples
    )
    scores = build_detector(config).eval()(torch.zeros(1, 2, 3 * hop_samples + 1))
    assert scores.shape == (1, 4, 4)


def test_the_encoder_of_the_waveform_detector_is_centred_on_each_frame():
    torch.manual_seed(0)
    config = replace(SMALL, architecture="demucs-blstm", encoder_channels=2)
    detector = WaveformDetector(config).eval()
    audio = (0.1 * torch.randn(1, 2, 9 * 4096)).requires_grad_()
    detector.encoder(audio)[0, :, 4].sum().backward()
    heard = torch.nonzero(audio.grad.abs().sum(dim=(0, 1)))
    first, last = int(heard.min()), int(heard.max())
    # its middle is that of the audio, but for samples that a ReLU kept out
    assert first + last + 1 == pytest.approx(9 * 4096, abs=512)
    assert 4096 < last - first < 3 * 4096


def test_audio_reaches_the_end_of_the_waveform_detectors_encoder_before_any_training():
    torch.manual_seed(0)
    detector = WaveformDetector(replace(SMALL, architecture="demucs-blstm")).train()
    steps = detector.encoder(0.1 * torch.randn(4, 2, 32 * 4096))
    # each feature differs between frames about as much as features differ from each other
    assert steps.std(dim=(0, 2)).mean() > 0.3 * steps.std()


def test_no_audio_is_refused(detector):
    with pytest.raises(ValueError, match="no samples"):
        detector(torch.zeros(1, 2, 0))


def test_a_score_depends_on_its_context_and_no_further(detector):
    frames, frame = 40, 20
    audio = 0.1 * torch.randn(1, 2, frames * 4096, generator=torch.Generator().manual_seed(1))
    audio.requires_grad_()
    detector(audio)[0, :, frame].sum().backward()
    heard = audio.grad.abs().sum(dim=(0, 1)).reshape(frames, 4096).sum(dim=1) > 0
    reach = detector.context_frames
    assert not heard[: frame - reach].any()
    assert not heard[frame + reach + 1 :].any()
    # And the property is not generous by more than the frame it is rounded up to.
    assert heard[frame - reach + 1 : frame + reach].all()


def test_configuration_survives_json(detector):
    values = json.loads(json.dumps(detector_config(detector)))
    assert parse_detector_config(values) == SMALL


def test_unknown_fields_are_refused_by_name():
    with pytest.raises(ValueError, match="num_layers"):
        parse_detector_config({"num_layers": 3})
    with pytest.raises(ValueError, match="mels"):
        parse_detector_config({"features": {"mels": 3}})


@pytest.mark.parametrize(
    "field",
    [
        {"architecture": "oracle"},
        {"sources": ("drums", "drums")},
        {"hop_samples": 1000},
        {"dilations": (0,)},
        {"hidden_channels": 0},
        {"hidden_channels": 7},
        {"encoder_channels": 0},
        {"recurrent_layers": 0},
        {"architecture": "demucs-blstm", "hop_samples": 3000},
    ],
)
def test_what_cannot_be_built_is_refused_by_name(field):
    with pytest.raises(ValueError, match=list(field)[-1]):
        DetectorConfig(**field)
