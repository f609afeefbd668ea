"""Recipes as training sees them: a segment in which sources are silent, and stems to add to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AddedStem:
    """An excerpt of a labelled stem that a recipe adds to a segment.

    Attributes:
        source: index of the source.
        path: the stem's audio, for the reader.
        num_samples: length of that audio.
        start_sample: first sample of the excerpt in it.
        excerpt_samples: length of the excerpt: as long as the segment, or shorter.
        gain_db: gain on the stem.

    Raises:
        ValueError: the excerpt isn't inside the audio; with its path.
    """

    source: int
    path: str
    num_samples: int
    start_sample: int
    excerpt_samples: int
    gain_db: float

    def __post_init__(self) -> None:
        start, stop = self.start_sample, self.start_sample + self.excerpt_samples
        if not 0 <= start < stop <= self.num_samples:
            raise ValueError(
                f"stem {self.path}: excerpt [{start}, {stop}) is not inside its "
                f"{self.num_samples} samples"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe: a segment of an unlabelled track with silent sources, and stems to add to it.

    Attributes:
        remix_id: name, for messages.
        track_path: the track's audio, for the reader.
        track_num_samples: length of the track.
        segment_start_sample: first sample of the segment.
        segment_stop_sample: one past its last sample.
        silent: indexes of the sources that are silent in the segment.
        added: at most one stem for each silent source.
        weight: weight in the loss, the detector's confidence for example.

    Raises:
        ValueError: the segment isn't inside the track, or a stem is added to a source that isn't
            silent or has one already.
    """

    remix_id: str
    track_path: str
    track_num_samples: int
    segment_start_sample: int
    segment_stop_sample: int
    silent: tuple[int, ...]
    added: tuple[AddedStem, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        start, stop = self.segment_start_sample, self.segment_stop_sample
        if not 0 <= start < stop <= self.track_num_samples:
            raise ValueError(
                f"remix {self.remix_id}: segment [{start}, {stop}) is not inside its track of "
                f"{self.track_num_samples} samples"
            )
        sources = [stem.source for stem in self.added]
        if len(set(sources)) != len(sources) or not set(sources) <= set(self.silent):
            raise ValueError(
                f"remix {self.remix_id}: stems are added to sources {sources}, which must differ "
                f"and be among the silent ones, {list(self.silent)}"
            )

    @property
    def known_samples(self) -> int:
        """How long segment and added stems sound together: as the shortest of them."""
        segment_samples = self.segment_stop_sample - self.segment_start_sample
        return min([segment_samples, *(stem.excerpt_samples for stem in self.added)])
