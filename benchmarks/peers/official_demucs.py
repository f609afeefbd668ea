"""Official demucs, as the paper's architecture."""

from __future__ import annotations

from typing import Any

from storage.music_format import MusicFormat


def paper_demucs(**told: Any) -> Any:
    """A network of the package's class that is the paper's, with fresh weights.

    Args:
        told: further arguments of the class, such as its channels and depth.
    """
    from demucs.demucs import Demucs

    return Demucs(
        sources=list(MusicFormat().sources),
        context=1,
        lstm_layers=2,
        dconv_mode=0,
        norm_starts=99,
        normalize=False,
        resample=False,
        gelu=False,
        **told,
    )
