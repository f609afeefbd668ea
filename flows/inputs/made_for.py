"""Which music a detector is for, told by its description: no network is built for the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demucs_core.detector.registry import DETECTORS, as_told_now
from flows.inputs import registry
from storage.errors import UserError
from storage.music_format import in_words
from storage.workspace import Workspace

_MAKING = {"detectors": ("fitted", "fit a detector"), "models": ("trained", "train a model")}


def require_hears(workspace: Workspace, detector: str) -> Mapping[str, Any]:
    """Refuse a detector whose scores mean nothing in this workspace.

    Returns:
        What is told of it.

    Raises:
        UserError: unknown, of a schema this version does not know, or made for other sources,
            another sample rate, other channels or another frame than the workspace's.
    """
    try:
        told = as_told_now(registry.describe(workspace, "detectors", detector)["detector"])
        if told["architecture"] not in DETECTORS:
            raise ValueError(f"no detector is called {told['architecture']!r}")
        sources = tuple(told["sources"])
        numbers = told["sample_rate"], told["num_channels"], told["hop_samples"]
        if not all(isinstance(source, str) for source in sources):
            raise ValueError("a source has a name")
        if not all(isinstance(number, int) for number in numbers):
            raise ValueError("a rate, a number of channels or a frame is no number")
    except (KeyError, TypeError, ValueError) as error:
        raise foreign("detectors", detector, error) from error
    music = workspace.music
    here = music.sources, music.sample_rate, music.num_channels, music.hop_samples
    if (sources, *numbers) != here:
        sample_rate, num_channels, hop_samples = numbers
        heard = in_words(sources, sample_rate, num_channels)
        raise UserError(
            f"detector {detector!r} hears {heard} in frames of {hop_samples} samples; this "
            f"workspace holds {music} in frames of {music.hop_samples}: fit a detector here"
        )
    return told


def foreign(kind: str, name: str, error: Exception) -> UserError:
    """What is said of a description that this version can't make anything of."""
    made, anew = _MAKING[kind]
    return UserError(
        f"{kind[:-1]} {name!r} is of a schema that this silentmix does not know ({error}): use the "
        f"version that {made} it, or {anew} here"
    )


def make_anew(kind: str) -> str:
    """What to do where one is of no use: ``fit a detector``."""
    return _MAKING[kind][1]
