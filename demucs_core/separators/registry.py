"""The registry of separators: the one place where an architecture's name means a class.

Beside those that are registered there are anybody's: ``package.module:Class`` names a class to
import (:mod:`demucs_core.separators.imported`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from demucs_core.architectures import Architecture, Registry, as_object
from demucs_core.separators.class_path import CLASS_PATH, EXAMPLE

if TYPE_CHECKING:
    from demucs_core.separators.imported import ImportedConfig
    from demucs_core.separators.separator import SeparationModel, SeparatorConfig


class Separators(Registry["SeparatorConfig", "SeparationModel"]):
    """The separators that are registered, and any class by its path."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or _is_path(name)

    def __getitem__(self, name: object) -> Architecture[SeparatorConfig, SeparationModel]:
        """The architecture of a name, or of a class.

        Raises:
            ValueError: there is none; the message lists those there are.
        """
        if _is_path(name):
            return Architecture(
                name=str(name),
                module="demucs_core.separators.imported",
                config_name="ImportedConfig",
                network_name="ImportedSeparator",
                extra=str(name),
            )
        try:
            return super().__getitem__(name)
        except ValueError as error:
            raise ValueError(f"{error}, and any class as {EXAMPLE}") from error

    def of(self, config: SeparatorConfig) -> Architecture[SeparatorConfig, SeparationModel]:
        """The architecture that a configuration is for."""
        return self[config.path] if _is_imported(config) else super().of(config)

    def parse(self, values: Mapping[str, object]) -> SeparatorConfig:
        """As :meth:`Registry.parse`; of a class, ``architecture`` is its path."""
        name = values.get("architecture")
        return super().parse({**values, "path": name} if _is_path(name) else values)

    def to_json(self, config: SeparatorConfig) -> dict[str, Any]:
        """Write what :meth:`parse` reads."""
        described = super().to_json(config)
        if _is_imported(config):
            del described["path"]
        return described


def _is_path(name: object) -> bool:
    return isinstance(name, str) and CLASS_PATH.fullmatch(name) is not None


def _is_imported(config: SeparatorConfig) -> TypeGuard[ImportedConfig]:
    from demucs_core.separators.imported import ImportedConfig

    return isinstance(config, ImportedConfig)


def _row(
    name: str, config_name: str, network_name: str, *, extra: str = "", version: int = 1
) -> Architecture[SeparatorConfig, SeparationModel]:
    """The row of an architecture, whose module has its name."""
    return Architecture(
        name=name,
        module=f"demucs_core.separators.{name}",
        config_name=config_name,
        network_name=network_name,
        extra=extra,
        version=version,
    )


SEPARATORS: Final = Separators(
    "separator",
    _row("demucs", "DemucsConfig", "Demucs"),
    _row("wave_unet", "WaveUNetConfig", "WaveUNet", version=2),
    _row("open_unmix", "OpenUnmixConfig", "OpenUnmixSeparator", extra="openunmix"),
    _row("htdemucs", "HTDemucsConfig", "HTDemucsSeparator", extra="htdemucs"),
    _row("bs_roformer", "BSRoFormerConfig", "BSRoFormerSeparator", extra="bs-roformer"),
)


def build_model(
    config: Mapping[str, object], *, seed: int | None = None, allow_import: Collection[str] = ()
) -> SeparationModel:
    """Build the model that a JSON object describes, with fresh weights.

    Args:
        config: ``architecture`` and the fields of that architecture's configuration; what is left
            out has its default. Sources, sample rate and channels have none.
        seed: decides the initial weights, and leaves torch's global generator as it was. Without
            one, the weights come from the global generator.
        allow_import: classes, as ``package.module:Class``, that may be imported for it.

    Raises:
        ValueError: an unknown architecture or field, one that is missing, or a value that a field
            can't have, by name; a class that is not among those allowed, or can't be imported.

    >>> music = {"sources": ["vocals", "other"], "sample_rate": 16_000, "num_channels": 1}
    >>> model = build_model({"architecture": "demucs", "channels": 4, "depth": 2, **music}, seed=0)
    >>> config_of(model)["stride"]
    4
    """
    parsed = SEPARATORS.parse(config)
    if _is_imported(parsed):
        from demucs_core.separators.imported import require_allowed

        require_allowed(parsed, allow_import)
    return SEPARATORS.build(parsed, seed=seed)


def stored_config(description: Mapping[str, object]) -> Mapping[str, object]:
    """A stored model's description, of any version, as one of now.

    Wave-U-Nets of silentmix 0.1.0 were padded in every layer, and had no tanh.

    Raises:
        ValueError: it is no JSON object.

    >>> stored_config({"architecture": "wave_unet", "depth": 3})
    {'context': False, 'tanh': False, 'architecture': 'wave_unet', 'depth': 3}
    """
    told = as_object(description)
    if told.get("architecture") == "wave_unet":
        return {"context": False, "tanh": False, **told}
    return told


def config_of(model: SeparationModel) -> dict[str, Any]:
    """Describe a model as the JSON object that :func:`build_model` builds it from."""
    return SEPARATORS.to_json(model.config)
