"""A labelled song's audio, decoded and put in order: takes summed, what has no file computed.

The stems of a song may be of unlike lengths: they count as silent from where they end, up to the
end of the mixture, which is the song's; what is longer is not heard from there on.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from demucs_core.alignment import AUDIBLE_DB, lag_samples, relative_level_db
from flows.ingest.options import Truth
from storage.decoding.canonical import BLOCK_SAMPLES, FLOOR_DB, PreparedAudio, prepare, summed
from storage.decoding.chunk import Unusable
from storage.labelled.song import LabelledSong, StemSource, sources_of
from storage.music_format import MIXTURE, REST, MusicFormat
from storage.printable import shown

WINDOW_SAMPLES = 2**16
"""How finely it is told where a mixture is least the sum of its stems."""


@dataclass(frozen=True, kw_only=True)
class SongAudio:
    """A song, decoded.

    Attributes:
        mixture: None of a single stem, of which nobody knows the song.
        stems: by group, in the order of the sources.
        residual_db: level of what the mixture's file holds beside the stems, relative to the
            mixture; at least -120, which is also that of a mixture without a file.
    """

    mixture: PreparedAudio | None
    stems: dict[str, PreparedAudio]
    residual_db: float = FLOOR_DB

    @property
    def whole(self) -> PreparedAudio:
        """What the song's length and level are: its mixture, or the single stem."""
        return self.mixture or next(iter(self.stems.values()))


@contextmanager
def song_audio(
    fs: AbstractFileSystem,
    song: LabelledSong,
    music: MusicFormat,
    *,
    min_duration_s: float,
    truth: Truth = "given",
) -> Generator[SongAudio]:
    """Decode a song, and hold its audio until the context ends.

    Args:
        fs: where its files are.
        song: which files are which stem.
        music: what the workspace holds.
        min_duration_s: shorter songs are refused.
        truth: what to do where the mixture is not the sum of the stems.

    Raises:
        Unusable: a file can't be used, and why.
    """
    decoder = _Decoder(fs, music)
    is_single = not _is_whole(song, music)
    with ExitStack() as stack:
        stems = {
            group: stack.enter_context(
                decoder.stem(group, parts, min_duration_s if is_single else 0.0)
            )
            for group, parts in song.stems.items()
            if parts
        }
        if is_single:
            yield SongAudio(mixture=None, stems=stems)
            return
        if song.mixture is None:
            mixture = stack.enter_context(summed(list(stems.values())))
            if mixture.duration_s < min_duration_s:
                detail = f"lasts {mixture.duration_s:.2f} s, less than {min_duration_s:g} s"
                raise Unusable("too_short", detail)
        else:
            mixture = stack.enter_context(
                decoder.file(MIXTURE, song.mixture, min_duration_s, allow_silence=False)
            )
        residual_db = FLOOR_DB
        if song.rest:
            rest = summed([mixture], less=list(stems.values()))
            stems[song.rest] = stack.enter_context(rest)
        elif song.mixture is not None:
            residual_db, loudest = residual_level_db(mixture, list(stems.values()))
            _check_aligned(song, mixture, stems, loudest)
            if truth == "stems":
                mixture = stack.enter_context(summed(list(stems.values())))
            elif truth == "mixture":
                place = next(group for group in song.groups if REST in sources_of(group))
                others = [stem for group, stem in stems.items() if group != place]
                stems[place] = stack.enter_context(summed([mixture], less=others))
        for group, parts in song.stems.items():
            if not parts and group not in stems:  # silent for as long as the song lasts
                stems[group] = stack.enter_context(summed([mixture], less=[mixture]))
        order = {source: place for place, source in enumerate(music.sources)}
        stems = dict(sorted(stems.items(), key=lambda stem: order[sources_of(stem[0])[0]]))
        yield SongAudio(mixture=mixture, stems=stems, residual_db=residual_db)


def _is_whole(song: LabelledSong, music: MusicFormat) -> bool:
    return sum(len(sources_of(group)) for group in song.groups) == len(music.sources)


def residual_level_db(mixture: PreparedAudio, stems: Sequence[PreparedAudio]) -> tuple[float, int]:
    """Level of a mixture less the sum of its stems, relative to the mixture, as decoded.

    Also where that is loudest, to a second or two.
    """
    residual, whole, loudest, loudest_start = 0.0, 0.0, 0.0, 0
    for start in range(0, mixture.num_samples, WINDOW_SAMPLES):
        block, left = _block(mixture, stems, start, WINDOW_SAMPLES)
        whole += float(np.square(block, dtype=np.float64).sum())
        left_here = float(np.square(left, dtype=np.float64).sum())
        residual += left_here
        if left_here > loudest:
            loudest, loudest_start = left_here, start
    if not residual or not whole:
        return FLOOR_DB, loudest_start
    return max(FLOOR_DB, 10 * math.log10(residual / whole)), loudest_start


def _block(
    mixture: PreparedAudio, stems: Iterable[PreparedAudio], start: int, num_samples: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A block of a mixture, and what its stems leave of it."""
    num_samples = min(num_samples, mixture.num_samples - start)
    block = mixture.read(start, num_samples, gain_db=0.0)
    left = block.copy()
    for stem in stems:
        left -= stem.read(start, num_samples, gain_db=0.0)
    return block, left


def _check_aligned(
    song: LabelledSong, mixture: PreparedAudio, stems: dict[str, PreparedAudio], start: int
) -> None:
    """Refuse a song in which a stem, or the mixture, is early or late where most is left over.

    Raises:
        Unusable: which, and how much.
    """
    block, left = _block(mixture, stems.values(), start, BLOCK_SAMPLES)
    if relative_level_db(left, block) < AUDIBLE_DB:
        return
    parts = {MIXTURE: block} | {
        group: stem.read(start, block.shape[1], gain_db=0.0) for group, stem in stems.items()
    }
    for group, part in parts.items():
        lag = lag_samples(part, -left if group == MIXTURE else left)
        if lag:
            takes = song.stems[group] if group != MIXTURE else (song.mixture,)
            names = [shown(PurePosixPath(take.path).name) for take in takes if take is not None]
            raise Unusable(
                "misaligned",
                f"{group}, {', '.join(names)}: at {start / mixture.sample_rate:.0f} s it is "
                f"{abs(lag)} samples {'late' if lag > 0 else 'early'}, perhaps since a part before "
                "was lost; get a whole copy of it, or move it into place",
            )


@dataclass(frozen=True)
class _Decoder:
    """Decodes what a song is made of, in the workspace's format."""

    fs: AbstractFileSystem
    music: MusicFormat

    @contextmanager
    def stem(
        self, group: str, parts: Sequence[StemSource], min_duration_s: float
    ) -> Generator[PreparedAudio]:
        """One stem: a file, or the sum of several, which are let go then."""
        if len(parts) == 1:
            allow_silence = min_duration_s == 0.0  # a single stem that is silent is of no use
            with self.file(group, parts[0], min_duration_s, allow_silence=allow_silence) as stem:
                yield stem
            return
        with ExitStack() as kept:
            with ExitStack() as stack:
                takes = [
                    stack.enter_context(self.file(group, part, 0.0, allow_silence=True))
                    for part in parts
                ]
                stem = kept.enter_context(summed(takes))
            yield stem

    @contextmanager
    def file(
        self, group: str, found: StemSource, min_duration_s: float, *, allow_silence: bool
    ) -> Generator[PreparedAudio]:
        with ExitStack() as stack:
            with _naming(group, found):
                audio = stack.enter_context(
                    prepare(
                        self.fs,
                        found.path,
                        sample_rate=self.music.sample_rate,
                        num_channels=self.music.num_channels,
                        stream=found.stream,
                        min_duration_s=min_duration_s,
                        allow_silence=allow_silence,
                    )
                )
            yield audio


@contextmanager
def _naming(group: str, found: StemSource) -> Iterator[None]:
    """Say of which file it is that a song can't be used."""
    try:
        yield
    except Unusable as problem:
        file = shown(PurePosixPath(found.path).name)
        raise Unusable(problem.reason, f"{group}, {file}: {problem.detail}") from problem
