"""What rows of earlier versions lack → ``prints`` and ``measures``, of the canonical audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

from flows.ingest.measures import TrackMeasures
from flows.ingest.options import IngestParameters
from flows.ingest.prints import Listener, print_rows
from flows.running.dividing import Divisible, halved
from flows.running.execution import pending_batches, results_of
from flows.running.held_out import SILENCE_DB
from flows.running.stage import StageRun
from storage.addresses import is_url
from storage.decoding.chunk import Unusable
from storage.decoding.decode import open_local
from storage.decoding.decoder_process import decoder
from storage.decoding.prints import Printer, can_print
from storage.errors import UserError
from storage.finding.listing import open_location, url_of
from storage.music_format import MIXTURE
from storage.pcm import PCM_SCALE
from storage.printable import valid_text
from storage.reading import CanonicalAudioError, CropReader
from storage.tables.schemas import MEASURES, PRINTS, STEMS, TRACKS
from storage.workspace import Workspace

FILES_A_BATCH = 16


@dataclass(frozen=True)
class AudioToHear:
    """Some canonical audio, and what is to be made of it.

    Attributes:
        source_url: the file that its tags are read from; empty where it is not to be asked.
    """

    track_id: str
    source: str
    path: str
    source_url: str
    make_print: bool
    measure: bool

    @property
    def item(self) -> str:
        """What a partition covers it as."""
        return f"complete|{self.track_id}|{self.source}"


@dataclass(frozen=True)
class AudioBatch(Divisible["Heard"]):
    """What one Dask task hears."""

    workspace: Workspace
    audio: Sequence[AudioToHear]

    def halves(self) -> Sequence[Self]:
        """Two batches of its audio; none where it is of one track or stem."""
        return [replace(self, audio=audio) for audio in halved(self.audio)]

    def refused(self, detail: str) -> Heard:
        """Of its one track or stem nothing is made, until the next time."""
        [audio] = self.audio
        return Heard([], [], [], [f"{audio.path}: {detail}"])


@dataclass(frozen=True)
class Heard:
    """The rows that were made, and of what; and why of something none were."""

    items: list[str]
    prints: list[dict[str, Any]]
    measures: list[dict[str, Any]]
    problems: list[str]


def complete_tracks(run: StageRun, parameters: IngestParameters) -> None:
    """Make the prints and measures that tracks of a run's partition have none of."""
    there = {
        table: {row["track_id"] for row in run.manifests.rows(run.partition(table), ["track_id"])}
        for table in (PRINTS.name, MEASURES.name)
    }
    columns = ["track_id", "path", "source_url"]
    source = url_of(*open_location(parameters.source))
    _complete(
        run,
        parameters,
        [
            AudioToHear(
                track_id=row["track_id"], source=MIXTURE, path=row["path"],
                source_url=row["source_url"] if of_same_place(row["source_url"], source) else "",
                make_print=can_print() and row["track_id"] not in there[PRINTS.name],
                measure=row["track_id"] not in there[MEASURES.name],
            )
            for row in run.manifests.rows(run.partition(TRACKS.name), columns)
        ],
    )  # fmt: skip


def complete_songs(run: StageRun, parameters: IngestParameters) -> None:
    """Make the prints that stems of a run's partition have none of."""
    keys = run.manifests.rows(run.partition(PRINTS.name), ["track_id", "source"])
    there = {(row["track_id"], row["source"]) for row in keys}
    columns = ["track_id", "source", "path", "source_url", "level_db"]
    _complete(
        run,
        parameters,
        [
            AudioToHear(
                track_id=row["track_id"], source=row["source"], path=row["path"],
                source_url=row["source_url"], make_print=can_print(), measure=False,
            )
            for row in run.manifests.rows(run.partition(STEMS.name), columns)
            if row["level_db"] > SILENCE_DB and (row["track_id"], row["source"]) not in there
        ],
    )  # fmt: skip


def of_same_place(url: str, source: str) -> bool:
    """Whether a row's file is on the disks, host or bucket that a source is on.

    Somebody named that one; a row of a manifest, whoever wrote it, is to send us to no other.
    """
    if not is_url(url):
        return not is_url(source)
    try:
        named, known = urlsplit(url), urlsplit(source)
    except ValueError:
        return False
    return (named.scheme, named.netloc) == (known.scheme, known.netloc) and (
        "::" not in url or "::" in source
    )


def _complete(run: StageRun, parameters: IngestParameters, audio: Sequence[AudioToHear]) -> None:
    unique = {each.item: each for each in audio if each.make_print or each.measure}
    batches = [
        AudioBatch(run.workspace, batch)
        for batch in pending_batches(
            [*unique.values()], set(), FILES_A_BATCH, lambda each: each.item
        )
    ]
    if not batches:
        return
    run.already_done = False
    with results_of(
        hear, batches, parameters, label="complete", unit="files",
        size=lambda batch: len(batch.audio),
    ) as results:  # fmt: skip
        for heard in results:
            for table, rows in ((PRINTS, heard.prints), (MEASURES, heard.measures)):
                if rows:
                    run.manifests.write(run.partition(table.name), heard.items, rows)
            run.count(completed=len(heard.items))
            run.notes.extend(heard.problems)


def hear(batch: AudioBatch) -> Heard:
    """Make the prints and measures of a batch."""
    music = batch.workspace.music
    reader = CropReader(batch.workspace.location)
    heard = Heard([], [], [], [])
    for audio in batch.audio:
        listeners: list[Listener] = []
        if audio.make_print:
            printer = Printer(music.sample_rate, music.num_channels)
            listeners.append(printer.feed)
        if audio.measure:
            measures = TrackMeasures(music.sample_rate, music.num_channels)
            listeners.append(measures.feed)
        try:
            for block in reader.blocks(audio.path):
                pcm = (block.T * np.float32(PCM_SCALE)).astype("<i2", order="C").data.cast("B")
                for listen in listeners:
                    listen(pcm)
        except CanonicalAudioError as error:
            heard.problems.append(str(error))
            continue
        if audio.make_print:
            heard.prints.extend(print_rows(audio.track_id, audio.source, printer.finish()))
        if audio.measure:
            heard.measures.append(measures.row(audio.track_id, _tags(audio.source_url)))
        heard.items.append(audio.item)
    return heard


def _tags(url: str) -> Mapping[str, str | int]:
    """The tags of a file, if it is still there and to be asked."""
    with suppress(Unusable, UserError, OSError):
        fs, path = open_location(url)
        with open_local(fs, path) as file:
            told = decoder().ask(file, None, {"name": valid_text(path), "tags": True})
        tags: Mapping[str, str | int] = told["tags"]
        return tags
    return {}
