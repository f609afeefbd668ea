"""Whether BSSEval is defined for a song at all, and for which source it is not.

Shape legend: S sources, C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def why_not_scorable(
    references: Tensor, estimates: Tensor, sources: Sequence[str]
) -> tuple[str, str] | None:
    """Why :func:`~demucs_core.metrics.bsseval.bss_eval` would refuse a song, or None if not.

    museval stops at the same: a source whose channels sum to zero throughout makes its system of
    filters underdetermined. (A source that is silent in some windows only has NaN there.)

    Args:
        references: ``(S, C, T)``, the true sources.
        estimates: ``(S, C, T)``, in the same order.
        sources: their names.

    Returns:
        A short name of the reason, and a sentence that names the source.

    >>> sound = torch.ones(2, 1, 4)
    >>> why_not_scorable(sound, sound, ["bass", "vocals"]) is None
    True
    >>> why_not_scorable(sound * torch.tensor([1, 0]).view(2, 1, 1), sound, ["bass", "vocals"])
    ('silent_reference', 'vocals: the reference is silent throughout, so BSSEval is not defined')
    """
    for kind, signals in (("reference", references), ("estimate", estimates)):
        for source, signal in zip(sources, signals, strict=True):
            if not bool(torch.isfinite(signal).all()):
                return f"nan_{kind}", f"{source}: the {kind} holds NaN or infinite samples"
            if not bool(signal.double().sum(0).any()):
                return (
                    f"silent_{kind}",
                    f"{source}: the {kind} is silent throughout, so BSSEval is not defined",
                )
    return None
