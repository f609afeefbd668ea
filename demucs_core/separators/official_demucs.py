"""The official ``demucs`` package's models as ours, and ours as its: configurations and weights.

A package file holds a class, the arguments it is called with, and its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from torch import Tensor

from demucs_core.separators.demucs import DemucsConfig, from_official_state, to_official_state
from demucs_core.separators.htdemucs import OURS, HTDemucsConfig
from demucs_core.separators.separator import SeparatorConfig

HTDEMUCS: Final = "demucs.htdemucs.HTDemucs"
DEMUCS: Final = "demucs.demucs.Demucs"
CLASSES: Final = (HTDEMUCS, DEMUCS)
"""The classes that have an equal here."""
_PAPERS: Final[Mapping[str, Any]] = {
    "rewrite": True, "gelu": False, "glu": True, "dconv_mode": 0, "normalize": False,
    "resample": False,
}  # fmt: skip
"""Arguments with which their class is the paper's Demucs."""
_SAME: Final = ("channels", "growth", "depth", "lstm_layers", "kernel_size", "stride", "rescale")
"""Arguments of the paper's Demucs that are called alike here."""
_OF_TRAINING: Final = frozenset(
    {"t_lr", "t_weight_decay", "emb_smooth", "dconv_init", "use_train_segment", "segment"}
)
"""Arguments that change nothing in what a trained model computes."""
_OF_OTHER_CHOICES: Final = (
    "t_cape_",
    "t_mask_",
    "t_sparse_attn_",
    "t_global_",
    "t_sparsity",
    "t_auto_",
    "t_max_positions",
    "multi_freqs_depth",
    "wiener_residual",
)
"""Arguments that only count with others, which are looked at by themselves."""


_USUAL: Final[Mapping[str, Any]] = {
    "channels_time": None, "wiener_iters": 0, "end_iters": 0, "cac": True, "rewrite": True,
    "multi_freqs": None, "freq_emb": 0.2, "emb_scale": 10, "kernel_size": 8, "time_stride": 2,
    "stride": 4, "context": 1, "context_enc": 0, "norm_groups": 4, "t_emb": "sin",
    "t_norm_in": True, "t_norm_in_group": False, "t_group_norm": False, "t_norm_first": True,
    "t_norm_out": True, "t_max_period": 10000.0, "t_layer_scale": True, "t_gelu": True,
    "t_weight_pos_embed": 1.0, "t_sin_random_shift": 0, "t_sparse_self_attn": False,
    "t_sparse_cross_attn": False, "t_cross_first": False,
}  # fmt: skip
"""Arguments of HTDemucs that are what they are in all its published models."""


def config_from_official(kind: str, arguments: Mapping[str, Any]) -> SeparatorConfig:
    """The configuration of ours that is a model of the official package.

    Args:
        kind: the class, ``demucs.htdemucs.HTDemucs`` or ``demucs.demucs.Demucs``.
        arguments: all that it is called with, defaults among them, by name.

    Raises:
        ValueError: another class, or an argument for which there is no equal here; by name.
    """
    if kind == HTDEMUCS:
        return _htdemucs(arguments)
    if kind == DEMUCS:
        return _demucs(arguments)
    raise ValueError(f"{kind} has no equal here; {' and '.join(CLASSES)} have")


def _music(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sources": tuple(arguments["sources"]),
        "sample_rate": int(arguments["samplerate"]),
        "num_channels": int(arguments["audio_channels"]),
    }


def _htdemucs(arguments: Mapping[str, Any]) -> HTDemucsConfig:
    ours = {field.name for field in fields(HTDemucsConfig)} - set(OURS)
    known = ours | {"sources", "audio_channels", "samplerate"} | _OF_TRAINING
    for name, value in arguments.items():
        if name in known or name.startswith(_OF_OTHER_CHOICES):
            continue
        if name not in _USUAL or (None if value == [] else value) != _USUAL[name]:
            raise ValueError(f"an HTDemucs with {name} = {value!r} has no equal here")
    return HTDemucsConfig(
        **_music(arguments),
        segment_s=float(arguments["segment"]),
        **{name: arguments[name] for name in ours},
    )


def _demucs(arguments: Mapping[str, Any]) -> DemucsConfig:
    for name, value in _PAPERS.items():
        if arguments[name] != value:
            raise ValueError(
                f"a Demucs with {name} = {arguments[name]!r} has no equal here: it is later than "
                "the paper's"
            )
    if arguments["norm_starts"] < arguments["depth"]:
        raise ValueError(
            f"a Demucs with norm_starts = {arguments['norm_starts']} has no equal here: it is "
            "later than the paper's"
        )
    return DemucsConfig(
        **_music(arguments),
        context=2 * arguments["context"] + 1,
        **{name: arguments[name] for name in _SAME},
    )


def weights_from_official(kind: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model of the official package by the names that they have here.

    Raises:
        ValueError: a weight that has no place here, by name.
    """
    if kind == DEMUCS:
        return from_official_state(state)
    return {f"net.{name}": value for name, value in state.items()}


def to_official(
    config: SeparatorConfig, state: Mapping[str, Tensor], segment_s: float
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """A model of ours as one of the official package: its class, its arguments, its weights.

    Args:
        config: of the model.
        state: its weights.
        segment_s: length of the pieces that it should separate, where the model doesn't say.

    Raises:
        ValueError: it is another architecture than ``demucs`` and ``htdemucs``.
    """
    if isinstance(config, HTDemucsConfig):
        weights = {name.removeprefix("net."): value for name, value in state.items()}
        return HTDEMUCS, config.arguments(), weights
    if isinstance(config, DemucsConfig):
        arguments = {
            "sources": list(config.sources),
            "audio_channels": config.num_channels,
            "samplerate": config.sample_rate,
            "segment": segment_s,
            **{name: getattr(config, name) for name in _SAME},
            **_PAPERS,
            "context": config.context // 2,
            "norm_starts": config.depth,
        }
        return DEMUCS, arguments, to_official_state(state)
    raise ValueError("the official demucs knows the architectures demucs and htdemucs alone")
