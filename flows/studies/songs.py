"""Generated songs for the study of the detector: three sets that share no instrument.

The detector is fitted on songs of the pool ``WIDE``, calibrated on songs of ``HELD_OUT`` and tested
on songs of ``UNSEEN``: the songs it is calibrated on are as strange to it as those it is tested on,
as the songs that a user holds out are no more like the user's unlabelled music than like the rest
of the labelled set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_corpus.corpus import write_labelled, write_unlabelled
from demo_corpus.palette import HELD_OUT, UNSEEN, WIDE
from demo_corpus.spreading import over_processes
from flows.studies.truth import rows_of
from storage.music_format import MusicFormat

MUSIC = MusicFormat()
"""What the studies' songs are."""


@dataclass(frozen=True, kw_only=True)
class StudySongs:
    """Where the songs are, and what is true of those to test on.

    Attributes:
        labelled: a labelled set with ``train`` and ``valid``.
        unlabelled: mixtures of the test songs, in the formats that music comes in.
        truth: levels of the test songs, a row a file and source (``demo_corpus.truth``).
    """

    labelled: Path
    unlabelled: Path
    truth: list[dict[str, Any]]


def write_study_songs(
    root: Path, *, seed: int, train: int, calibration: int, test: int, song_s: float, workers: int
) -> StudySongs:
    """Write the songs that are not there yet.

    Args:
        root: folder for all of them.
        seed: decides the songs, of each set others.
        train: songs to fit on.
        calibration: songs to calibrate on.
        test: songs to test on.
        song_s: length of a song in seconds.
        workers: processes; 0 takes one a CPU core.
    """
    labelled, unlabelled, truth = root / "labelled", root / "unlabelled", root / "truth"
    with over_processes(workers) as spread:
        for split, count, instruments, songs_seed in (
            ("train", train, WIDE, 3 * seed),
            ("valid", calibration, HELD_OUT, 3 * seed + 1),
        ):
            write_labelled(
                labelled,
                seed=songs_seed,
                num_train=count if split == "train" else 0,
                num_valid=count if split == "valid" else 0,
                num_test=0,
                duration_s=song_s,
                instruments=instruments,
                truth=truth / split,
                map=spread,
            )
        write_unlabelled(
            unlabelled,
            seed=3 * seed + 2,
            num_songs=test,
            duration_s=song_s,
            instruments=UNSEEN,
            faults=False,
            truth=truth / "test",
            map=spread,
        )
    levels = rows_of(truth / "test" / "truth.parquet")
    return StudySongs(labelled=labelled, unlabelled=unlabelled, truth=levels)
