"""The registry of separators: the one place where an architecture's name means a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from demucs_core.architectures import Architecture, Registry
from demucs_core.separators.bs_roformer import BSRoFormerConfig, BSRoFormerSeparator
from demucs_core.separators.demucs import Demucs, DemucsConfig
from demucs_core.separators.htdemucs import HTDemucsConfig, HTDemucsSeparator
from demucs_core.separators.open_unmix import OpenUnmixConfig, OpenUnmixSeparator
from demucs_core.separators.separator import SeparationModel, SeparatorConfig
from demucs_core.separators.wave_unet import WaveUNet, WaveUNetConfig

SEPARATORS: Final[Registry[SeparatorConfig, SeparationModel]] = Registry(
    "separator",
    Architecture(name="demucs", config=DemucsConfig, build=Demucs),
    Architecture(name="wave_unet", config=WaveUNetConfig, build=WaveUNet),
    Architecture(
        name="open_unmix", config=OpenUnmixConfig, build=OpenUnmixSeparator, extra="openunmix"
    ),
    Architecture(name="htdemucs", config=HTDemucsConfig, build=HTDemucsSeparator, extra="htdemucs"),
    Architecture(
        name="bs_roformer",
        config=BSRoFormerConfig,
        build=BSRoFormerSeparator,
        extra="bs-roformer",
    ),
)


def build_model(config: Mapping[str, object], *, seed: int | None = None) -> SeparationModel:
    """Build the model that a JSON object describes, with fresh weights.

    Args:
        config: ``architecture`` and the fields of that architecture's configuration; what is left
            out has its default. Sources, sample rate and channels have none.
        seed: decides the initial weights, and leaves torch's global generator as it was. Without
            one, the weights come from the global generator.

    Raises:
        ValueError: an unknown architecture or field, one that is missing, or a value that a field
            can't have, by name.

    >>> music = {"sources": ["vocals", "other"], "sample_rate": 16_000, "num_channels": 1}
    >>> model = build_model({"architecture": "demucs", "channels": 4, "depth": 2, **music}, seed=0)
    >>> config_of(model)["stride"]
    4
    """
    return SEPARATORS.build(SEPARATORS.parse(config), seed=seed)


def config_of(model: SeparationModel) -> dict[str, Any]:
    """Describe a model as the JSON object that :func:`build_model` builds it from."""
    return SEPARATORS.to_json(model.config)
