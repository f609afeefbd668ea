"""The songs of the study: labelled, unlabelled and test songs share no instrument and no seed.

As in life, the few labelled songs are played on few instruments and the many unlabelled ones on
many others; the test songs are played on neither. The unlabelled songs are written with their
stems, so that it can be told what their labels would have been worth; what is told to be unlabelled
is ingested from the mixtures alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from demo_corpus.corpus import write_labelled
from demo_corpus.palette import pool
from demo_corpus.spreading import over_processes
from flows.studies.paper.parameters import PaperParameters
from storage.fingerprint import short_hash

MIXTURES = "*/*/mixture.wav"
SEEDS_A_STUDY = 4


@dataclass(frozen=True, kw_only=True)
class Songs:
    """One set of songs, and what the study calls its corpus.

    Attributes:
        corpus: a name that says what decides the songs, so that other songs are another corpus.
        source: what ``ingest`` takes.
    """

    corpus: str
    source: str


@dataclass(frozen=True, kw_only=True)
class StudySets:
    """All songs of a study.

    Attributes:
        labelled: with training, validation and test songs.
        unlabelled: the mixtures.
        stems: the same songs with their stems; none of a user's own music.
    """

    labelled: Songs
    unlabelled: Songs
    stems: Songs | None


def sets_of(parameters: PaperParameters, root: Path) -> StudySets:
    """Where the songs of a study are, or will be; a size is a corpus of its own."""
    if parameters.labelled:
        labelled = Songs(corpus="labelled", source=parameters.labelled)
        unlabelled = Songs(corpus="music", source=parameters.unlabelled)
        return StudySets(labelled=labelled, unlabelled=unlabelled, stems=None)

    def named(kind: str, pattern: str, *decides: str) -> Songs:
        facts = parameters.model_dump(
            include={*decides, "song_s", "songs_seed", "sample_rate", "channels"}
        )
        key = short_hash(json.dumps(facts, sort_keys=True), 6)
        corpus = f"{kind}-{getattr(parameters, decides[0])}-{key}"
        return Songs(corpus=corpus, source=str(root / corpus / pattern))

    unlabelled_by = ("unlabelled_songs", "unlabelled_instruments")
    labelled_by = (
        "labelled_songs", "valid_songs", "test_songs", "labelled_instruments", "test_instruments",
    )  # fmt: skip
    return StudySets(
        labelled=named("labelled", "", *labelled_by),
        unlabelled=named("music", MIXTURES, *unlabelled_by),
        stems=named("music", "", *unlabelled_by),
    )


def write_sets(parameters: PaperParameters, root: Path, workers: int) -> StudySets:
    """Write the songs that are not there yet, unless they are the user's own."""
    sets = sets_of(parameters, root)
    if sets.stems is None:
        return sets
    seed = SEEDS_A_STUDY * parameters.songs_seed
    by_seed = (
        (sets.labelled, parameters.labelled_instruments, {"train": parameters.labelled_songs}),
        (sets.labelled, parameters.labelled_instruments, {"valid": parameters.valid_songs}),
        (sets.stems, parameters.unlabelled_instruments, {"train": parameters.unlabelled_songs}),
        (sets.labelled, parameters.test_instruments, {"test": parameters.test_songs}),
    )
    with over_processes(workers) as spread:
        for place, (songs, instruments, counts) in enumerate(by_seed):
            [split] = counts
            write_labelled(
                root / songs.corpus,
                seed=seed + place,
                num_train=counts.get("train", 0),
                num_valid=counts.get("valid", 0),
                num_test=counts.get("test", 0),
                duration_s=parameters.song_s,
                instruments=pool(instruments),
                sample_rate=parameters.sample_rate,
                num_channels=parameters.channels,
                truth=root / "truth" / songs.corpus / split,
                map=spread,
            )
    return sets
