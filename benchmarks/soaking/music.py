"""The music of a soak: a labelled set, and corpora that grow while they are worked on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from demo_corpus.corpus import write_labelled, write_unlabelled

SONG_S = 8.0
FIRST_FILES, MORE_FILES = 3, 2


class Music:
    """Folders of music.

    Args:
        root: folder for all of them.
        num_corpora: how many.
        seed: decides the songs.
    """

    def __init__(self, root: Path, num_corpora: int, seed: int) -> None:
        self._root, self._seed = root, seed
        self.corpora = [f"corpus{index:02d}" for index in range(num_corpora)]
        self._arrivals = dict.fromkeys(self.corpora, 0)

    @property
    def labelled(self) -> Path:
        """The labelled set."""
        return self._root / "labelled"

    def folder(self, corpus: str) -> Path:
        """A corpus's folder."""
        return self._root / corpus

    def write_labelled(self) -> None:
        """Write the labelled set: as many songs as a detector can be fitted and calibrated on."""
        write_labelled(
            self.labelled, seed=self._seed, num_train=3, num_valid=3, num_test=0, duration_s=SONG_S
        )

    def arrive(self, corpus: str) -> None:
        """Add files to a corpus; the first time, in every third one, also some that are no use."""
        index, arrival = self.corpora.index(corpus), self._arrivals[corpus]
        self._arrivals[corpus] += 1
        write_unlabelled(
            self.folder(corpus),
            seed=(self._seed * 1000 + index) * 1000 + arrival,
            num_songs=MORE_FILES if arrival else FIRST_FILES,
            duration_s=SONG_S,
            faults=not arrival and index % 3 == 0,
            truth=self._root / "truth" / f"{corpus}-{arrival}",
        )

    def files(self, corpus: str) -> Sequence[str]:
        """The paths of a corpus's files."""
        found = self.folder(corpus).rglob("*")
        return sorted(str(path) for path in found if path.is_file())
