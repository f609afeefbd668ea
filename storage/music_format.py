"""What music a workspace holds: its sources, in order, its sample rate, mono or stereo.

A workspace declares it once, when it is made, and everything in it follows: canonical audio,
activity, detectors, models, metrics. It is kept in ``workspace.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log2

from storage.errors import UserError

MIXTURE = "mixture"
REST = "other"
"""The source that is whatever the mixture holds besides the others, where a format has it."""

NUM_SOURCES = (2, 16)
SAMPLE_RATES = (8_000, 96_000)
RESERVED = {
    MIXTURE: "names the sum of all sources",
    "mean": "names the mean over all sources",
    "rest": "names what a song's other files do not hold, in a mapping of stems",
    "skip": "names what is left out, in a mapping of stems",
}
MAX_NAME_LENGTH = 32
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_FRAME_S = 4096 / 44_100
"""About how long a frame is at any rate: 4096 samples at 44.1 kHz."""


@dataclass(frozen=True, kw_only=True)
class MusicFormat:
    """Sources, sample rate and channels of a workspace; the default is MUSDB18's.

    Attributes:
        sources: names in the order that every array and every weight uses.
        sample_rate: samples a second of canonical audio.
        num_channels: 1 for mono, 2 for stereo.

    Raises:
        UserError: a name, the number of them, the rate or the channels won't do.

    >>> MusicFormat().sources
    ('drums', 'bass', 'other', 'vocals')
    >>> MusicFormat(sources=("vocals", "accompaniment"), sample_rate=16_000).hop_samples
    2048
    """

    sources: tuple[str, ...] = ("drums", "bass", REST, "vocals")
    sample_rate: int = 44_100
    num_channels: int = 2

    def __post_init__(self) -> None:
        _check_sources(self.sources)
        lowest, highest = SAMPLE_RATES
        if not lowest <= self.sample_rate <= highest:
            raise UserError(
                f"sample_rate must be from {lowest} to {highest} Hz, not {self.sample_rate}"
            )
        if self.num_channels not in (1, 2):
            raise UserError(
                f"num_channels must be 1 for mono or 2 for stereo, not {self.num_channels}"
            )

    @property
    def rest(self) -> str | None:
        """The source that the mixture less the others gives, where there is one."""
        return REST if REST in self.sources else None

    @property
    def hop_samples(self) -> int:
        """Samples in a frame, a power of two near 93 ms: the grid of activity and scores."""
        return int(2 ** round(log2(self.sample_rate * _FRAME_S)))

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_samples

    def beyond_default(self, *fields: str) -> dict[str, object]:
        """Those of some fields that differ from the default's: what belongs into a fingerprint.

        The default stays out of it, so that what was made before there was a choice keeps its name.

        >>> MusicFormat(num_channels=1).beyond_default("sources", "num_channels")
        {'num_channels': 1}
        """
        usual = MusicFormat().to_json()
        return {
            name: value
            for name, value in self.to_json().items()
            if name in fields and value != usual[name]
        }

    def to_json(self) -> dict[str, object]:
        """What :meth:`from_json` reads."""
        return {**asdict(self), "sources": list(self.sources)}

    @classmethod
    def from_json(cls, value: object) -> MusicFormat:
        """Read what :meth:`to_json` gave.

        Raises:
            UserError: it is something else.
        """
        if not isinstance(value, Mapping) or set(value) != set(cls.__dataclass_fields__):
            raise UserError(f"no format of music: {value!r}")
        sources, rate, channels = value["sources"], value["sample_rate"], value["num_channels"]
        if not isinstance(sources, list) or not all(isinstance(name, str) for name in sources):
            raise UserError(f"sources are {sources!r}: they must be a list of names")
        if type(rate) is not int or type(channels) is not int:
            raise UserError(f"sample_rate {rate!r}, num_channels {channels!r}: must be integers")
        return cls(sources=tuple(sources), sample_rate=rate, num_channels=channels)

    def __str__(self) -> str:
        """One line for people.

        >>> str(MusicFormat())
        'drums, bass, other, vocals at 44100 Hz in stereo'
        """
        return in_words(self.sources, self.sample_rate, self.num_channels)


def in_words(sources: Sequence[str], sample_rate: int, num_channels: int) -> str:
    """Sources, rate and channels of anything, in one line for people."""
    known = {1: "mono", 2: "stereo"}
    channels = known.get(num_channels, f"{num_channels} channels")
    return f"{', '.join(sources)} at {sample_rate} Hz in {channels}"


def _check_sources(names: Sequence[str]) -> None:
    """Refuse names that can't be those of a workspace's sources."""
    fewest, most = NUM_SOURCES
    if not fewest <= len(names) <= most:
        raise UserError(
            f"sources are {', '.join(names) or 'none'}: a workspace has {fewest} to {most} of "
            "them, with commas between their names"
        )
    for place, name in enumerate(names):
        if name in RESERVED:
            raise UserError(f"source {name!r}: that {RESERVED[name]}; choose another name")
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
            raise UserError(
                f"source {name!r}: a name is a small letter, then small letters, digits, _ and -, "
                f"{MAX_NAME_LENGTH} at most"
            )
        if name in names[:place]:
            raise UserError(f"source {name!r} is named twice")
