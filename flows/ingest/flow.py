"""Stage 1: music → canonical audio and ``tracks``, or ``stems`` and ``activity``; ``rejects``."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

from prefect import flow

from demucs_core.activity import ActivityConfig
from flows.ingest.completing import complete_songs, complete_tracks
from flows.ingest.current_songs import settle_corpora
from flows.ingest.duplicates import (
    note_duplicates,
    retire_copies_of_held_out,
    tell_of_unprinted,
)
from flows.ingest.gone_audio import rows_without_audio, tell_of_gone
from flows.ingest.notes import tell_of_rejects, tell_of_songs
from flows.ingest.options import IngestOptions, IngestParameters
from flows.ingest.report import report_songs, report_tracks
from flows.ingest.retiring import retire_labelled_tracks
from flows.ingest.source_files import settle_files, to_look_at
from flows.ingest.stems import SongCommitter, StemBatch, ingest_songs, song_item, songs_done
from flows.ingest.track_rows import TrackBatch, ingest_files
from flows.ingest.tracks import TrackCommitter
from flows.ingest.twins import settle_twins
from flows.running.chain import Chain
from flows.running.execution import pending_batches, results_of
from flows.running.music_options import MusicOptions
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from storage.errors import UserError
from storage.finding.discovery import find_audio
from storage.finding.listing import open_location, url_of
from storage.finding.sieve import told
from storage.fingerprint import fingerprint
from storage.labelled.identity import identified
from storage.labelled.sets import find_songs
from storage.labelled.stem_names import StemNames
from storage.music_format import REST, MusicFormat
from storage.tables.schemas import STEMS, TRACKS

STAGE, VERSION = "ingest", 1


@flow(name="ingest", flow_run_name="ingest {parameters.corpus}")
@as_told
def ingest(parameters: IngestParameters) -> StageResult:
    """Ingest unlabelled music or a labelled set; what is there already is not done again."""
    return _ingest_stems(parameters) if parameters.labelled else _ingest_tracks(parameters)


def in_chain(chain: Chain) -> list[IngestParameters]:
    """The runs in the chain: of the labelled set, then of the music.

    Raises:
        UserError: one of them was not named.
    """
    asked = chain.parameters
    asked.require_music()
    needs_test = "evaluate" in asked.stages
    return [
        IngestParameters(
            **chain.common,
            **chain.options(STAGE),
            **{name: getattr(asked, name) for name in MusicOptions.model_fields},
            source=source,
            corpus=corpus,
            labelled=labelled,
            require_test=labelled and needs_test,
        )
        for source, corpus, labelled in (
            (asked.labelled, asked.labelled_corpus, True),
            (asked.unlabelled, asked.corpus, False),
        )
    ]


def ahead(chain: Chain) -> None:
    """Refuse a place without music before the labelled set is ingested."""
    find_audio(chain.parameters.unlabelled)


def _ingest_tracks(parameters: IngestParameters) -> StageResult:
    parameters.music_in(parameters.workspace)  # refuse other music before any work
    passed_over: Counter[str] = Counter()
    fs, files = find_audio(parameters.source, passed_over)
    workspace = parameters.begin(parameters.workspace, dry_run=parameters.dry_run)
    content = {
        "min_duration_s": parameters.min_file_s,  # as 0.1.0 called it: the names of corpora stay
        "silence_db": parameters.silence_db,
        "sample_rate": workspace.music.sample_rate,
        **workspace.music.beyond_default("num_channels"),
    }
    name = fingerprint(STAGE, VERSION, **content)
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        gone = {row["source_url"] for row in rows_without_audio(run, TRACKS, ["source_url"])}
        items = to_look_at(run, files, parameters.retry == "rejected", gone)
        tell_of_gone(run, len(gone & items.keys()), "tracks")
        done = {file.url for file in files} - items.keys()
        batches = [
            TrackBatch(
                workspace, parameters.corpus, fs, batch, [items[file.url] for file in batch],
                parameters.min_file_s, parameters.silence_db, parameters.force,
            )
            for batch in pending_batches(
                files, done, parameters.batch_files, lambda file: file.url
            )
        ]  # fmt: skip
        pending = sum(len(batch.files) for batch in batches)
        run.plan("files", pending, len(files), parameters.source)
        since = ""
        if batches:
            committer = TrackCommitter(run)
            since = committer.compared_with
            with results_of(
                ingest_files, batches, parameters,
                label=STAGE, unit="files", size=lambda batch: len(batch.files),
            ) as results:  # fmt: skip
                for outcome in results:
                    committer.commit(outcome)
            committer.refused.settle()
        if parameters.complete:
            complete_tracks(run, parameters)
        changed = 0
        if batches:
            root = url_of(*open_location(parameters.source))
            changed = settle_twins(run) + settle_files(run, root, {file.url for file in files})
        # a labelled set that was ingested meanwhile has seen none of this
        changed += retire_labelled_tracks(run, run.corpus)
        changed += retire_copies_of_held_out(run, run.corpus, since)
        changed += note_duplicates(run)
        run.already_done = run.already_done and not changed
        if passed_over:
            run.counts["passed_over"] = passed_over.total()
            run.notes.append(f"passed over, as no music: {told(passed_over)}")
        _summarise(run, "tracks")
    return run.result()


def _ingest_stems(parameters: IngestParameters) -> StageResult:
    music = parameters.music_in(parameters.workspace)
    if parameters.truth == "mixture" and music.rest is None:
        raise UserError(
            f"truth 'mixture' adds what a mixture holds beside its stems to the source {REST!r}, "
            f"and the workspace has {', '.join(music.sources)}; leave truth as it is, or the files "
            "of one source out: it is then what the mixture holds beside the others"
        )
    fs, songs = find_songs(
        parameters.source,
        music.sources,
        stems=parameters.stems,
        absent=parameters.absent,
        valid_share=parameters.valid_share,
        require_test=parameters.require_test,
    )
    songs = identified(fs, parameters.source, songs)
    workspace = parameters.begin(parameters.workspace, dry_run=parameters.dry_run)
    activity = ActivityConfig(
        relative_db=parameters.relative_db,
        absolute_db=parameters.absolute_db,
        close_gap_s=parameters.close_gap_s,
    )
    content = {
        "min_duration_s": parameters.min_file_s,
        "valid_share": parameters.valid_share,
        "relative_db": activity.relative_db,
        "absolute_db": activity.absolute_db,
        "close_gap_s": activity.close_gap_s,
        "sample_rate": music.sample_rate,
        **music.beyond_default("sources", "num_channels"),
        **_unusual(parameters, music),
    }
    name = fingerprint(STAGE, VERSION, labelled=True, **content)
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        retry = parameters.retry == "rejected"
        gone = {
            f"{row['split']}/{row['song']}"
            for row in rows_without_audio(run, STEMS, ["split", "song"])
        }
        done = songs_done(run, songs, retry, gone)
        tell_of_gone(run, len(gone), "songs")
        batches = [
            StemBatch(
                workspace, parameters.corpus, fs, batch, parameters.min_file_s, activity,
                parameters.truth, parameters.force, uuid4().hex[:8] if retry or gone else "",
            )
            for batch in pending_batches(songs, done, 2, song_item)
        ]  # fmt: skip
        pending = sum(len(batch.songs) for batch in batches)
        run.plan("songs", pending, len(songs), parameters.source)
        with results_of(
            ingest_songs, batches, parameters,
            label=STAGE, unit="songs", size=lambda batch: len(batch.songs),
        ) as results:  # fmt: skip
            committer = SongCommitter(run)
            for outcome in results:
                committer.commit(outcome)
            committer.refused.settle()
        if parameters.complete:
            complete_songs(run, parameters)
        changed = settle_corpora(run, url_of(*open_location(parameters.source)), songs)
        changed += retire_labelled_tracks(run) + retire_copies_of_held_out(run)
        run.already_done = run.already_done and not changed
        _summarise(run, "stems")
    return run.result()


def _unusual(parameters: IngestParameters, music: MusicFormat) -> dict[str, object]:
    """How a set is read, where not as usual: what was ingested before one could choose is done."""
    rules = StemNames.parse(parameters.stems, music.sources).rules
    chosen = {name: getattr(parameters, name) for name in ("absent", "truth")}
    usual = {name: IngestOptions.model_fields[name].default for name in chosen}
    return {name: value for name, value in chosen.items() if value != usual[name]} | (
        {"stems": rules} if rules else {}
    )


def _summarise(run: StageRun, table: str) -> None:
    rejects = list(run.manifests.rows(run.partition("rejects")))
    key = "track_id"
    columns = (
        ["track_id", "duration_s", "source"] if table == "stems" else ["track_id", "duration_s"]
    )
    tracks = {
        row[key]: row["duration_s"] for row in run.manifests.rows(run.partition(table), columns)
    }
    run.counts["songs" if table == "stems" else "tracks"] = len(tracks)
    run.counts["rejected"] = len(rejects)
    run.leads_on = bool(tracks)  # of nothing but rejects, there is nothing to score
    run.counts["hours"] = round(sum(tracks.values()) / 3600, 4)
    if rejects:
        tell_of_rejects(run, rejects, is_all=not tracks)
    if table == "stems":
        tell_of_songs(run)
    tell_of_unprinted(run)
    if run.already_done:
        return
    if table == "stems":
        report_songs(run)
    else:
        report_tracks(run)
