"""The registry of detectors: for each source and frame, the log-odds that it is silent.

The paper (arXiv 1909.01174, section 4) detects silences with the encoder and BiLSTM of Demucs
and a head a source: ``demucs-blstm``. The others hear log-mel bands. Which is the default, and
why: ``docs/design.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from demucs_core.architectures import Architecture, Registry, as_object

if TYPE_CHECKING:
    from demucs_core.detector.config import DetectorConfig, SilenceDetector

_LOG_MEL = "demucs_core.detector.log_mel_detector"
DETECTORS: Final[Registry[DetectorConfig, SilenceDetector]] = Registry(
    "detector",
    Architecture(
        name="logmel-tcn", module=_LOG_MEL, config_name="TcnConfig", network_name="LogMelDetector"
    ),
    Architecture(
        name="logmel-crnn", module=_LOG_MEL, config_name="CrnnConfig", network_name="LogMelDetector"
    ),
    Architecture(
        name="demucs-blstm",
        module="demucs_core.detector.waveform_detector",
        config_name="WaveformDetectorConfig",
        network_name="WaveformDetector",
    ),
    Architecture(
        name="separator",
        module="demucs_core.detector.separator_detector",
        config_name="SeparatorDetectorConfig",
        network_name="SeparatorDetector",
    ),
)
SEPARATOR: Final = "separator"
"""The one that is made of a separator that there is, and not trained."""
TRAINED: Final = tuple(name for name in DETECTORS if name != SEPARATOR)
"""Those that are trained."""

DEFAULT_DETECTOR: Final = "logmel-crnn"


def new_detector_config(architecture: str, **fields: Any) -> DetectorConfig:
    """The configuration of a new detector.

    Args:
        architecture: its name.
        fields: ``sources``, ``sample_rate``, ``num_channels``, ``hop_samples``, and fields of that
            architecture whose default is not wanted.

    Raises:
        ValueError: an unknown architecture, or a value that a field can't have, by name.
    """
    return DETECTORS[architecture].config.of(**fields)


def build_detector(config: DetectorConfig, *, seed: int | None = None) -> SilenceDetector:
    """A fresh detector of the architecture that ``config`` is of; ``seed`` decides its weights.

    >>> import torch
    >>> config = new_detector_config(
    ...     "logmel-crnn", sources=("vocals", "other"), sample_rate=16_000, num_channels=1,
    ...     hop_samples=2048, hidden_channels=8,
    ... )
    >>> build_detector(config, seed=0).eval()(torch.zeros(1, 1, 3 * 2048 + 1)).shape
    torch.Size([1, 2, 4])
    """
    return DETECTORS.build(config, seed=seed)


def detector_config(detector: SilenceDetector) -> dict[str, Any]:
    """The configuration of a detector as JSON-able values, as ``parse_detector_config`` reads."""
    return detector_to_json(detector.config)


def detector_to_json(config: DetectorConfig) -> dict[str, Any]:
    """A configuration as JSON-able values, as ``parse_detector_config`` reads."""
    return DETECTORS.to_json(config)


def parse_detector_config(values: Mapping[str, Any]) -> DetectorConfig:
    """Read a detector's configuration back.

    Raises:
        ValueError: it is no JSON object; an unknown architecture or field, one that is missing, or
            a value that a field can't have, by name.
    """
    return DETECTORS.parse(as_told_now(values))


def as_told_now(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a description says of a detector, as this version says it.

    Silentmix 0.1.0 knew stereo alone, and told the fields of all architectures: those that this
    one has not are left out.

    Raises:
        ValueError: it is no JSON object, or of an architecture that is unknown.
    """
    values = as_object(values)
    if "num_channels" not in values and {"hop_samples", "encoder_channels"} <= values.keys():
        others = _FIELDS_OF_0_1_0 - set(DETECTORS[values["architecture"]].options)
        kept = {name: value for name, value in values.items() if name not in others}
        values = {**kept, "num_channels": 2}
    return values


_FIELDS_OF_0_1_0 = {
    "features", "conv_channels", "hidden_channels", "dilations", "encoder_channels",
    "recurrent_layers",
}  # fmt: skip
