"""Stage 2: fit the detector of silent sources, score the held-out songs, calibrate thresholds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any

from prefect import flow

from demucs_core.activity import ActivityConfig
from demucs_core.detector.config import SilenceDetector
from demucs_core.detector.examples import ExampleSource, TrainingSong
from demucs_core.detector.fit_config import DetectorTrainingConfig, ExampleConfig
from demucs_core.detector.registry import (
    SEPARATOR,
    build_detector,
    detector_config,
    new_detector_config,
)
from demucs_core.detector.training import DetectorStep, DetectorTrainer
from demucs_core.extraction.calibration_result import Calibration
from flows.fit_detector.options import FitDetectorOptions, FitDetectorParameters
from flows.fit_detector.plots import precision_recall, reliability
from flows.fit_detector.separators import learnt_from, made_of, refuse_imported
from flows.inputs import networks, registry
from flows.inputs.intact import require_intact
from flows.inputs.songs import (
    Song,
    activity_definition,
    learning_corpora,
    load_learning_activity,
    load_learning_songs,
    load_songs,
    made_from_libraries,
)
from flows.policy.calibration import (
    calibrated,
    calibration_path,
    require_evidence_of_each,
    what_songs_promise,
)
from flows.policy.likeness import keep_spreads
from flows.policy.typed_options import of_chain
from flows.reports.live_plot import live_plot
from flows.reports.loss_plots import detector_figure
from flows.running import devices
from flows.running.chain import Chain
from flows.running.execution import pending_batches, results_of
from flows.running.heard import write_heard
from flows.running.held_out import require_apart, sounds_of
from flows.running.interruption import interruptible
from flows.running.progress import progress
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from flows.score.flow import scores_fingerprint
from flows.score.worker import ScoreBatch, score_batch
from storage.fingerprint import fingerprint
from storage.labelled.sets import find_songs
from storage.music_format import MIXTURE
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.weights import load_tensors, save_tensors
from storage.workspace import Workspace

STAGE, VERSION = "fit-detector", 1
CHECKPOINT_EVERY = 200
LOSS = "Training loss over the steps"


@flow(name="fit-detector", flow_run_name="fit-detector {parameters.labelled}")
@as_told
def fit_detector(parameters: FitDetectorParameters) -> StageResult:
    """Fit a detector of silent sources; calibrate it on the songs held out."""
    workspace = Workspace(parameters.workspace)
    device = devices.pick_device(parameters.device)
    manifests = Manifests(workspace)
    corpora = learning_corpora(manifests, parameters.labelled, parameters.libraries)
    stems = corpora[0]
    activity = Partition("activity", stems.corpus, stems.fingerprint)
    content = {
        name: value
        for name, value in parameters.content().items()
        if name in FitDetectorOptions.model_fields
    }
    # the digest knows which songs, the fingerprint their split and what counts as silent in them
    made_from = f"{stems.fingerprint}/{manifests.digest(stems)}"
    content |= made_from_libraries(manifests, corpora[1:])
    separator = ""
    if parameters.architecture == SEPARATOR:
        separator = registry.resolve(workspace, "models", parameters.model)
        content = {"architecture": SEPARATOR, "separator": separator}
    definition = activity_definition(manifests, activity)
    if definition != ActivityConfig():
        # 0.1.0 fitted to the default whatever the labels were made by: that is another detector
        content["activity"] = asdict(definition)
    name = fingerprint(STAGE, VERSION, stems=made_from, **content)
    with stage_run(
        STAGE, parameters, corpus=parameters.labelled, fingerprint=name, workspace=workspace
    ) as run:
        held_out = load_songs(manifests, stems, "valid")
        require_evidence_of_each(
            [song.paths for song in held_out], workspace.music.sources, stems.corpus, parameters
        )
        require_apart(
            sounds_of(manifests, [stems], "valid"), sounds_of(manifests, corpora, "train"), STAGE
        )
        if separator:
            require_apart(
                sounds_of(manifests, [stems], "valid"), learnt_from(manifests, separator), STAGE
            )
        finished = registry.finished(workspace, "detectors", name) and not parameters.force
        if not finished:
            run.notes.append(what_songs_promise(len(held_out), parameters))
        num_steps = 1 if separator else parameters.steps
        checkpoint = f"detectors/{name}/{registry.CHECKPOINT}"
        num_done = num_steps if finished else _steps_saved(workspace, checkpoint)
        run.plan("steps", num_steps - num_done, num_steps, *corpora)
        if not finished:
            require_intact(run.manifests, corpora, "train", "valid")
            detector: SilenceDetector
            training: dict[str, Any]
            if separator:
                detector, training = made_of(workspace, separator), {"model": separator}
                run.count(steps=0)
            else:
                trainer = _trainer(parameters, run, corpora, definition, device)
                _run(trainer, run, checkpoint)
                run.report.plot("loss", detector_figure(trainer.losses), LOSS)
                detector, training = trainer.detector, trainer.configuration
            description = {
                "detector": detector_config(detector),
                "training": training,
                "made_from": {"stems": f"{stems.corpus}/{stems.fingerprint}"},
                "held_out": {
                    "corpus": stems.corpus,
                    "activity": activity.fingerprint,
                    "scores": scores_fingerprint(name),
                },
                "counts": run.counts,
            }
            write_heard(run, "detectors", corpora, after=separator)
            networks.store(workspace, "detectors", name, detector, description)
            workspace.remove(checkpoint)
        _score_held_out(parameters, run, held_out, name)
        if not (finished and workspace.exists(f"detectors/{name}/{registry.STANDS_ON}")):
            keep_spreads(manifests, name)
        if not workspace.exists(calibration_path(name, parameters)):
            run.already_done = False  # another policy has its own thresholds
        calibration = calibrated(workspace, name, parameters, anew=parameters.force)
        _report(run, calibration)
    return run.result()


def in_chain(chain: Chain) -> list[FitDetectorParameters]:
    """The run in the chain: calibrated for the policy that it extracts with.

    Once a model was trained, the detector is made of it.
    """
    how = chain.options(STAGE)
    if model := chain.last_made("train"):
        how |= {"architecture": SEPARATOR, "model": model}
    return [
        FitDetectorParameters(
            **chain.common,
            **how,
            **chain.options("extract"),
            labelled=chain.parameters.labelled_corpus,
            libraries=chain.parameters.libraries,
        )
    ]


def ahead(chain: Chain) -> str:
    """Refuse a device or libraries that are not there, and too few songs to calibrate on.

    In several rounds, models too that no detector can be made of.

    Returns:
        What those held out can promise.
    """
    [asked] = in_chain(chain)
    if chain.parameters.rounds > 1 and chain.imported:
        refuse_imported(f"rounds {chain.parameters.rounds}: the models of this chain would be")
    devices.pick_device(asked.device)
    chain.require_libraries()
    manifests = chain.manifests()
    sources = manifests.workspace.music.sources
    held_out: dict[str, Collection[str]] = {}
    if chain.is_ingested or manifests.partitions("stems", asked.labelled):
        stems = manifests.latest("stems", asked.labelled)
        held_out = {song.name: song.paths for song in load_songs(manifests, stems, "valid")}
    if not chain.is_ingested:  # its files tell what will be
        told = chain.options("ingest")
        how = {name: told[name] for name in ("stems", "absent", "valid_share")}
        needs_test = "evaluate" in chain.parameters.stages
        _, songs = find_songs(chain.parameters.labelled, sources, **how, require_test=needs_test)
        held_out |= {song.name: song.groups for song in songs if song.split == "valid"}
    with of_chain():
        require_evidence_of_each(list(held_out.values()), sources, asked.labelled, asked)
    return what_songs_promise(len(held_out), asked)


def _trainer(
    parameters: FitDetectorParameters,
    run: StageRun,
    corpora: Sequence[Partition],
    definition: ActivityConfig,
    device: str,
) -> DetectorTrainer:
    songs = load_learning_songs(run.manifests, corpora, "the detector")
    active = load_learning_activity(run.manifests, corpora)
    run.count(songs=len(songs))
    music = run.workspace.music
    config = new_detector_config(
        parameters.architecture, hop_samples=music.hop_samples, **asdict(music)
    )
    examples = ExampleSource(
        parameters.configure(ExampleConfig, activity=definition),
        [
            TrainingSong(**asdict(song.stem_track()), active=active[song.track_id].active)
            for song in songs
        ],
        CropReader(run.workspace.location),
        config,
    )
    return DetectorTrainer(
        build_detector(config, seed=parameters.seed),
        parameters.configure(DetectorTrainingConfig),
        examples,
        device=device,
        num_threads=parameters.num_workers,
        num_processes=devices.num_loaders(device),
    )


def _steps_saved(workspace: Workspace, checkpoint: str) -> int:
    """How many steps a fit that was stopped has done, and will not do again."""
    if not workspace.exists(checkpoint):
        return 0
    _, metadata = load_tensors(workspace, checkpoint)
    return int(registry.trainer_state(metadata)["step"])


def _run(trainer: DetectorTrainer, run: StageRun, checkpoint: str) -> None:
    def save() -> None:
        tensors, state = trainer.state()
        save_tensors(run.workspace, checkpoint, networks.to_numpy(tensors), {"trainer": state})

    if run.workspace.exists(checkpoint):
        tensors, metadata = load_tensors(run.workspace, checkpoint)
        trainer.load_state(networks.to_torch(tensors), registry.trainer_state(metadata))
    with (
        progress(STAGE, trainer.config.steps, "steps", done=trainer.step) as bar,
        live_plot(run.report, "loss", LOSS, lambda: detector_figure(trainer.losses)) as plot,
    ):

        def show(report: DetectorStep) -> None:
            bar.advance(1, f"loss {report.loss:.3f}")
            plot.update()
            if report.step % CHECKPOINT_EVERY == 0 and report.step < report.num_steps:
                save()

        def steps(stop: Callable[[], bool]) -> None:
            if not trainer.run(stop=stop, on_step=show):
                save()

        interruptible(steps)
    run.count(steps=trainer.step)


def _score_held_out(
    parameters: FitDetectorParameters,
    run: StageRun,
    songs: list[Song],
    detector: str,
) -> None:
    """Score the mixtures of the validation songs, as any corpus is scored."""
    target = run.elsewhere(Partition("scores", run.corpus, scores_fingerprint(detector)))
    done = run.done(target, {song.track_id for song in songs}, "rejects")
    batches = [
        ScoreBatch(
            target,
            run.workspace,
            detector,
            parameters.device,
            1,
            [
                {
                    "track_id": song.track_id,
                    "path": song.paths[MIXTURE],
                    "num_samples": song.num_samples,
                }
                for song in batch
            ],
        )
        for batch in pending_batches(songs, done, 4, lambda song: song.track_id)
    ]
    with results_of(
        score_batch, batches, parameters,
        label="score-held-out", unit="batches",
        most_workers=devices.most_workers(parameters, parameters.device),
    ) as results:  # fmt: skip
        for _ in results:
            pass
    run.count(held_out_songs=len(songs))


def _report(run: StageRun, calibration: Calibration) -> None:
    rows: list[dict[str, Any]] = []
    for source in calibration.sources:
        rows.append(
            {
                "source": source.source,
                "threshold": source.threshold,
                "precision": source.precision,
                "promised precision": source.precision_bound,
                "recall": source.recall,
                "minutes an hour": source.yield_minutes_per_hour,
                "held-out songs": source.num_songs,
                "note": source.problem or "",
            }
        )
        if source.precision is not None:
            run.counts[f"{source.source}_precision"] = round(source.precision, 4)
            run.counts[f"{source.source}_recall"] = round(source.recall, 4)
    if run.already_done:
        return
    run.report.table("calibration", rows, f"Thresholds from {calibration.num_songs} held-out songs")
    precision_recall(run.report, calibration)
    reliability(run.report, calibration)
