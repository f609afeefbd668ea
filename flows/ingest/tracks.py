"""What became of unlabelled files → ``tracks`` and ``rejects``, and what is told beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from flows.ingest.addresses import same_audio_as
from flows.ingest.refused import Refused
from flows.ingest.retiring import DUPLICATE, Owner, labelled_audio
from flows.ingest.source_files import Look, held_audio, note_looks
from flows.ingest.track_rows import STAGE, Outcome
from flows.inputs.forgotten import FORGOTTEN, forgotten
from flows.inputs.same_music import sounds_held_out
from flows.running.rejects import reject_row
from flows.running.stage import StageRun
from storage.decoding.prints import NO_ITEMS
from storage.tables.schemas import DUPLICATES, MEASURES, PRINTS, TRACKS


class TrackCommitter:
    """Writes batches in their order, so that of two equal files the first one always stays.

    Attributes:
        refused: what is rejected.
    """

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self._owner = audio_elsewhere(run)
        self._held_out = sounds_held_out(run.manifests)
        self._forgotten = forgotten(run.manifests)
        self.refused = Refused(run)
        # what another run made of this corpus, with other parameters, is no duplicate but kept
        self._kept: set[str] = set()
        # where the rows of tracks were lost alone, these are there already
        self._beside = {
            table.name: {
                row["track_id"]
                for row in run.manifests.rows(run.partition(table.name), ["track_id"], retired=True)
            }
            for table in (PRINTS, MEASURES)
        }
        self._urls: dict[str, str] = {}
        for partition in run.manifests.partitions(TRACKS.name, run.corpus):
            for row in run.manifests.rows(
                partition, ["content_hash", "path", "source_url"], retired=True
            ):
                self._kept.add(row["path"])
                if partition == run.partition(TRACKS.name):
                    self._urls[row["content_hash"]] = row["source_url"]

    @property
    def compared_with(self) -> str:
        """The name of the songs held out that the tracks are compared with."""
        return self._held_out.name

    def commit(self, outcome: Outcome) -> None:
        """Sort duplicates out, then write the rejects and, last, the tracks."""
        rows, rejects, similar = [], [*map(self._told_what_stays, outcome.rejects)], []
        prints = {row["track_id"]: row for row in outcome.prints}
        for row in outcome.rows:
            owner, url = self._owner.get(row["content_hash"]), row["source_url"]
            known = self._urls.get(row["content_hash"])
            if row["track_id"] in self._forgotten:
                rejects.append(reject_row(STAGE, url, *FORGOTTEN, source_bytes=row["source_bytes"]))
                self._run.workspace.remove(row["path"])
            elif owner is not None:
                rejects.append(_reject(row, owner.reason, f"same audio as {owner.name}"))
                if row["path"] not in self._kept:
                    self._run.workspace.remove(row["path"])
            elif known is None:
                items = prints[row["track_id"]]["items"] if row["track_id"] in prints else NO_ITEMS
                same = self._held_out.find(items)
                if same is not None:
                    similar.append(same.row(row["track_id"], len(items)))
                    told = f"the same music in other sound: {same}"
                    rejects.append(_reject(row, same.reason, told))
                    if row["path"] not in self._kept:
                        self._run.workspace.remove(row["path"])
                    continue
                self._urls[row["content_hash"]] = url
                rows.append(row)
            elif known != url:  # and if it is, its tags have changed and its music has not
                rejects.append(_reject(row, DUPLICATE, same_audio_as(known)))
        manifests = self._run.manifests
        self.refused.write(outcome.items, rejects)
        note_looks(self._run, _looks(outcome, rejects), outcome.items)
        if similar:
            manifests.write(self._run.partition(DUPLICATES.name), outcome.items, similar)
        kept = {row["track_id"] for row in rows}
        for table, made in ((PRINTS, outcome.prints), (MEASURES, outcome.measures)):
            new = kept - self._beside[table.name]
            # of two files with the same audio the first one's
            found = {row["track_id"]: row for row in reversed(made) if row["track_id"] in new}
            self._beside[table.name] |= found.keys()
            if found:
                manifests.write(self._run.partition(table.name), outcome.items, [*found.values()])
        manifests.write(self._run.partition(TRACKS.name), outcome.items, rows)
        self._run.count(new_tracks=len(rows), new_rejected=len(rejects))

    @cached_property
    def _was(self) -> dict[str, str]:
        """The tracks in use that files are, or were when they were last of use."""
        rows = self._run.manifests.rows(self._run.partition(TRACKS.name), ["track_id"])
        current = {row["track_id"] for row in rows}
        held = held_audio(self._run.manifests, self._run.corpus, self._run.fingerprint)
        return {url: track_id for url, track_id in held.items() if track_id in current}

    def _told_what_stays(self, reject: dict[str, Any]) -> dict[str, Any]:
        """Of a file that is of no use any more, what it was before stays."""
        track_id = self._was.get(reject["item"])
        if track_id is None:
            return reject
        stays = f"{reject['detail']}; track {track_id}, which the file was before, stays in use"
        return {**reject, "detail": stays}


def _looks(outcome: Outcome, rejects: Sequence[dict[str, Any]]) -> Iterator[Look]:
    """What each file of a batch was found to be."""
    track_ids = {row["source_url"]: row["track_id"] for row in outcome.rows}
    reasons = {row["item"]: row["reason"] for row in rejects}
    for file, item in zip(outcome.files, outcome.items, strict=True):
        reason = reasons.get(file.url, "")
        yield Look(
            source_url=file.url,
            source_bytes=file.num_bytes,
            stamp=file.stamp,
            item=item,
            track_id=track_ids.get(file.url, "") if reason != FORGOTTEN[0] else "",
            reason=reason,
        )


def _reject(row: dict[str, Any], reason: str, detail: str) -> dict[str, Any]:
    return reject_row(STAGE, row["source_url"], reason, detail, source_bytes=row["source_bytes"])


def audio_elsewhere(run: StageRun) -> dict[str, Owner]:
    """Every content hash in other corpora of the workspace, and whose it is."""
    known = {
        row["content_hash"]: Owner(
            DUPLICATE, f"track of corpus {partition.corpus}, {row['source_url']}"
        )
        for partition in run.manifests.partitions(TRACKS.name)
        if partition.corpus != run.corpus
        for row in run.manifests.rows(partition, ["content_hash", "source_url"])
    }
    return known | labelled_audio(run.manifests)
