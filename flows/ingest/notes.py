"""What a person should know of labelled songs that were ingested: where they are not as usual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.ingest.retiring import DUPLICATE, LABELLED
from flows.inputs.forgotten import FORGOTTEN
from flows.running.stage import StageRun
from flows.server.deployed import deployment_of_run
from storage.errors import UserError
from storage.labelled.song import sources_of
from storage.music_format import MIXTURE
from storage.printable import shown
from storage.tables.schemas import STEMS

KNOWN = frozenset((DUPLICATE, *LABELLED.values(), FORGOTTEN[0]))
"""Reasons of rejects that nobody needs to mend."""

PADDED_S = 0.1
"""Stems that end so much before or after their song are told of; codecs alone make less."""

RESIDUAL_DB = -25.0
"""Mixtures that hold so much beside their stems are told of; MUSDB18's lossy streams leave -32."""


@dataclass
class _Known:
    """What is known of one song."""

    name: str
    groups: list[tuple[str, ...]] = field(default_factory=list)
    residual_db: float = -120.0
    padded_s: dict[str, float] = field(default_factory=dict)


def tell_of_rejects(run: StageRun, rejects: Sequence[Mapping[str, Any]], *, is_all: bool) -> None:
    """Say how many files could not be used, for which reasons, and what is wrong with one.

    Args:
        run: of ingest.
        rejects: of the run's partition.
        is_all: nothing in the partition is of use.

    Raises:
        UserError: so it is, and none of it is music that is known already, or left out on
            purpose; of a deployment's run, whose report says it, it is no failure.
    """
    reasons = Counter(row["reason"] for row in rejects).most_common()
    told = ", ".join(f"{count} {reason}" for reason, count in reasons)
    first = min((row["item"], row["detail"]) for row in rejects if row["reason"] == reasons[0][0])
    note = (
        f"{len(rejects)} rejected ({told}), such as {': '.join(map(shown, first))}; "
        f"{run.workspace.command(f'manifests show rejects --corpus {run.corpus}')} names all; what "
        "is mended is taken up by the same command, and `ingest --retry rejected` looks at all of "
        "them again"
    )
    unused = is_all and KNOWN.isdisjoint(reason for reason, _ in reasons)
    if unused and deployment_of_run() is None:  # there is nothing amiss with a schedule's run
        raise UserError(f"corpus {run.corpus!r} has nothing that can be used: {note}")
    run.warn(note)


def tell_of_songs(run: StageRun) -> None:
    """Count single stems, songs known in part, unlike lengths and mixtures that are not the sum.

    Each has its count and its note, of all songs in the run's partition, where there is any.
    """
    songs: dict[str, _Known] = {}
    columns = ["track_id", "song", "split", "source", "padded_s", "residual_db"]
    for row in run.manifests.rows(run.partition(STEMS.name), columns):
        song = songs.setdefault(row["track_id"], _Known(f"{row['split']}/{row['song']}"))
        song.residual_db = row["residual_db"]
        if row["source"] != MIXTURE:
            song.groups.append(sources_of(row["source"]))
            song.padded_s[row["source"]] = row["padded_s"]
    num_sources = len(run.workspace.music.sources)
    single = [song for song in songs.values() if sum(map(len, song.groups)) < num_sources]
    partly = [song for song in songs.values() if song not in single
              and len(song.groups) < num_sources]  # fmt: skip
    unlike = [song for song in songs.values()
              if any(abs(length) > PADDED_S for length in song.padded_s.values())]  # fmt: skip
    apart = [song for song in songs.values() if song.residual_db > RESIDUAL_DB]
    if single:
        _tell(run, "single_stems", len(single), f"{len(single)} stems are single ones: they go "
              "into mixes and remixes, and into no validation")  # fmt: skip
    if partly:
        _tell(run, "partially_labelled", len(partly), f"{len(partly)} songs know some sources as "
              f"a sum alone, such as {partly[0].name}: they calibrate and test nothing of "
              "those")  # fmt: skip
    if unlike:
        worst = max(unlike, key=lambda song: max(map(abs, song.padded_s.values())))
        source = max(worst.padded_s, key=lambda name: abs(worst.padded_s[name]))
        length = worst.padded_s[source]
        how = "before" if length > 0 else "after"
        _tell(run, "unlike_lengths", len(unlike), f"{len(unlike)} songs have stems of unlike "
              f"lengths, filled with silence or cut off: most in {worst.name}, whose {source} ends "
              f"{abs(length):.1f} s {how} the song")  # fmt: skip
    if apart:
        worst = max(apart, key=lambda song: song.residual_db)
        _tell(run, "not_the_sum", len(apart), f"{len(apart)} mixtures are not the sum of their "
              f"stems: most of all {worst.name}, where the rest is at {worst.residual_db:.1f} dB "
              "of the mixture (see --truth)")  # fmt: skip


def _tell(run: StageRun, count: str, number: int, note: str) -> None:
    run.counts[count] = number
    run.warn(note)
