"""What every separator is: a module from mixtures to sources, with a configuration.

Shape legend: B batch, S sources, C audio channels, T samples.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from demucs_core.configuration import (
    MAX_SAMPLE_RATE,
    check_at_least,
    check_range,
    check_sources,
)


@dataclass(frozen=True, kw_only=True)
class SeparatorConfig:
    """What the configuration of every separator says; each adds fields of its own.

    Attributes:
        sources: names of the sources, in the order of the output.
        sample_rate: samples a second of the audio the model is for.
        num_channels: audio channels of the mixture and of every source.

    Raises:
        ValueError: a field out of range, by name.
    """

    sources: tuple[str, ...]
    sample_rate: int
    num_channels: int

    def __post_init__(self) -> None:
        check_sources(self.sources)
        check_at_least(self, 1, "num_channels")
        check_range(self, 1, MAX_SAMPLE_RATE, "sample_rate")


class SeparationModel(nn.Module):
    """Maps mixtures ``(B, C, T)`` to estimates ``(B, S, C, T)``, for any T of at least 1."""

    config: SeparatorConfig

    def valid_length(self, num_samples: int) -> int:
        """Return the shortest length, not under ``num_samples``, that suits the layers best.

        Separation gives a model real audio up to there as context. By default every length does.
        """
        return num_samples

    def longest_segment(self) -> int | None:
        """Return the length of the longest piece that separation should give it; None for any."""
        return None

    def alone(self, sources: Collection[str]) -> SeparationModel | None:
        """Return a model of some sources alone, in their order here, which computes less.

        Its weights are these, and its estimates what these are. None where there is no such model:
        most compute all sources at once.
        """
        del sources
        return None

    def own_name(self, name: str) -> str:
        """Return what a weight is called here that its authors' code calls ``name``."""
        return name

    def source_axes(self) -> dict[str, int]:
        """Return the weights that have a part for each source, and the axis that they have it on.

        The parts lie in the order of :meth:`estimated_sources`. By default no weight is known to.
        """
        return {}

    def estimated_sources(self) -> tuple[str, ...]:
        """Return the sources that have weights of their own, in order."""
        return self.config.sources

    def source_prefix(self, index: int) -> str | None:
        """Return how the names of a source's own layers begin, where they are counted."""
        del index
        return None


class WrappedSeparator(SeparationModel):
    """A separator whose network is other authors' module, ``net`` here."""

    def own_name(self, name: str) -> str:
        """Return the authors' name, with ``net`` before it."""
        return name if name.startswith("net.") else f"net.{name}"


def check_mono_or_stereo(config: SeparatorConfig, name: str) -> None:
    """Check the channels of an architecture, ``name``, whose code knows no more than two.

    Raises:
        ValueError: there are more.
    """
    if config.num_channels > 2:
        raise ValueError(
            f"num_channels: {name} takes mono or stereo, not {config.num_channels} channels"
        )
