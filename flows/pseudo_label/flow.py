"""A model's estimates as labels, where it is sure of them → ``remixes``.

The recipes are those of a corpus of their own, which ``train`` takes by its name, alone or beside
others: ``--corpora music,music-pseudo``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from prefect import flow

from demucs_core.separators.confidence import Rule, choose_rule
from flows.inputs import networks, registry
from flows.inputs.songs import load_songs, require_songs
from flows.inputs.usable_tracks import usable_tracks
from flows.pseudo_label.options import PseudoLabelParameters
from flows.pseudo_label.teaching import Examined, Stretch, Teacher, examine, recipe_rows, teach
from flows.running import devices
from flows.running.dividing import Divisible, halved
from flows.running.execution import pending_batches, results_of
from flows.running.rejects import reject_damaged, reject_killer, reject_row
from flows.running.stage import StageResult, as_told, stage_run
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.reading import CanonicalAudioError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import REJECTS
from storage.workspace import Workspace

STAGE, VERSION = "pseudo-label", 1


@dataclass(frozen=True)
class TeachBatch(Divisible[dict[str, float]]):
    """Tracks that one Dask task separates."""

    teacher: Teacher
    rule: Rule
    target: Partition
    tracks: Sequence[dict[str, Any]]

    def halves(self) -> Sequence[Self]:
        """Two batches of its tracks; none where it is one track."""
        return [replace(self, tracks=tracks) for tracks in halved(self.tracks)]

    def refused(self, detail: str) -> dict[str, float]:
        """Its one track is a reject."""
        [track] = self.tracks
        manifests = Manifests(self.teacher.workspace)
        return reject_killer(manifests, self.target, STAGE, track["track_id"], detail)


@flow(name="pseudo-label", flow_run_name="pseudo-label {parameters.corpus}", log_prints=True)
@as_told
def pseudo_label(parameters: PseudoLabelParameters) -> StageResult:
    """Separate a corpus, and make recipes of the stretches that the model is sure of."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    model = registry.resolve(workspace, "models", parameters.model)
    most_workers = devices.most_workers(parameters, parameters.device)
    networks.load_model(workspace, model, "cpu", tuple(parameters.allow_import))
    source = manifests.latest("tracks", parameters.corpus)
    stems = manifests.latest("stems", parameters.labelled)
    songs = require_songs(
        [song for song in load_songs(manifests, stems, "valid") if not song.sums],
        stems.corpus, "validation", "judging how sure the model is",
    )  # fmt: skip
    name = fingerprint(
        STAGE,
        VERSION,
        model=model,
        corpus=parameters.corpus,
        judged_by=[song.track_id for song in songs],
        **parameters.content(),
    )
    into = parameters.into or f"{parameters.corpus}-pseudo"
    if into == parameters.corpus:
        raise UserError(f"into: {into} has remixes of its own; name another corpus")
    with stage_run(STAGE, parameters, corpus=into, fingerprint=name, workspace=workspace) as run:
        tracks, _ = usable_tracks(manifests, source, **parameters.selection)
        target = run.partition("remixes")
        done = run.done(target, {track["track_id"] for track in tracks}, "rejects")
        pending = pending_batches(
            tracks, done, parameters.batch_tracks, lambda track: str(track["track_id"])
        )
        num_new = sum(map(len, pending))
        run.plan("tracks", num_new, len(tracks), source, stems, f"model {model}")
        run.try_again({track["track_id"] for track in tracks} - done)
        if pending:
            teacher = Teacher(workspace, model, parameters.device, parameters)
            with results_of(
                examine, [Examined(teacher, song) for song in songs], parameters,
                label="validation-songs", unit="songs", most_workers=most_workers,
            ) as results:  # fmt: skip
                rule = choose_rule(list(results), parameters.keep_share)
            run.notes.append(_told(rule))
            run.count(
                least_db=round(rule.least_db, 2),
                kept_sdr_db=round(rule.kept_sdr_db, 2),
                all_sdr_db=round(rule.all_sdr_db, 2),
            )
            with results_of(
                teach_batch, [TeachBatch(teacher, rule, target, batch) for batch in pending],
                parameters, label=STAGE, unit="tracks", size=lambda batch: len(batch.tracks),
                most_workers=most_workers,
            ) as results_of_batches:  # fmt: skip
                for counts in results_of_batches:
                    run.count(**counts)
        run.counts["remixes"] = manifests.count(target)
    return run.result()


def _told(rule: Rule) -> str:
    return (
        f"of the validation songs, what {rule.measure} is {rule.least_db:.1f} dB or more of has an "
        f"SDR of {rule.kept_sdr_db:.2f} dB, all of them {rule.all_sdr_db:.2f} dB"
    )


def teach_batch(batch: TeachBatch) -> dict[str, float]:
    """Separate a batch of tracks, and write its part of ``remixes``.

    Returns:
        How many tracks were separated and rejected, the stretches that are sure, their minutes.
    """
    manifests, parameters = Manifests(batch.teacher.workspace), batch.teacher.parameters
    stretches: list[Stretch] = []
    rejects, damaged = [], dict[str, CanonicalAudioError]()
    for track in batch.tracks:
        try:
            stretches += teach(batch.teacher, batch.rule, track, batch.target)
        except CanonicalAudioError as error:
            damaged[track["track_id"]] = error
        except ValueError as error:
            rejects.append(reject_row(STAGE, track["track_id"], "not_separated", str(error)))
    rows = recipe_rows(
        stretches,
        batch.teacher,
        mixed_per_stretch=parameters.mixed_per_stretch,
        seed=parameters.seed,
    )
    items = [track["track_id"] for track in batch.tracks if track["track_id"] not in damaged]
    refused = replace(batch.target, table=REJECTS.name)
    if rejects:
        manifests.write(refused, items, rejects)
    num_damaged = reject_damaged(manifests, refused, STAGE, damaged)
    if items:
        manifests.write(batch.target, items, rows)
    rate = batch.teacher.workspace.music.sample_rate
    seconds = sum(each.stop_sample - each.start_sample for each in stretches) / rate
    return {
        "tracks": len(items) - len(rejects),
        "rejected": len(rejects) + num_damaged,
        "stretches": len(stretches),
        "minutes": seconds / 60,
    }
