"""Stage 7: separate the test songs, score them with BSSEval v4 → ``evaluations``, museval JSON.

Each model has its own partition of ``evaluations`` and its own row in ``runs``; then all of them
are compared (:mod:`flows.evaluate.report`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from prefect import flow
from rich.console import Console

from demucs_core.metrics.bsseval import bss_eval, song_sdr
from demucs_core.metrics.scorable import why_not_scorable
from demucs_core.separators.separation import separate
from flows.evaluate.options import EvaluateOptions, EvaluateParameters
from flows.evaluate.report import compare
from flows.evaluate.summary import ComparisonSummary, print_comparison
from flows.inputs import networks
from flows.inputs.methods import (
    choose_models,
    choose_reference,
    evaluated_model,
    model_labels,
    published_methods,
)
from flows.inputs.paper_table import paper_table
from flows.inputs.songs import Song, load_songs, require_songs
from flows.running import devices
from flows.running.chain import Chain
from flows.running.dividing import Divisible
from flows.running.execution import dask_client, pending_batches, results_of
from flows.running.held_out import require_unheard, sounds_of
from flows.running.rejects import DAMAGED, reject_killer, reject_row
from flows.running.stage import StageRun, as_told, stage_run
from flows.running.stage_result import StageResults
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.museval_folder import frame_median, result_path
from storage.museval_json import METRICS, to_museval
from storage.music_format import MIXTURE
from storage.reading import CanonicalAudioError, CropReader, MissingAudioError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import REJECTS
from storage.workspace import Workspace

STAGE, VERSION = "evaluate", 1
WINDOW_S = 1.0


class Evaluation(StageResults):
    """What came of evaluating: a result a model, and how they compare.

    Attributes:
        location: the workspace.
        comparison: of all methods; None of a dry run.
    """

    location: str
    comparison: ComparisonSummary | None


@dataclass(frozen=True)
class EvaluateBatch(Divisible[dict[str, float]]):
    """One test song that a Dask task separates and scores."""

    partition: Partition
    workspace: Workspace
    model: str
    options: EvaluateOptions
    device: str
    song: Song

    def halves(self) -> Sequence[Self]:
        """It is one song."""
        return []

    def refused(self, detail: str) -> dict[str, float]:
        """Its song is a reject."""
        detail = f"{self.song.name}: {detail}"
        manifests = Manifests(self.workspace)
        return reject_killer(manifests, self.partition, STAGE, self.song.track_id, detail)


class NotScoredError(Exception):
    """A song that has no scores, and why.

    Attributes:
        reason: short, to count by.
        lasting: whether trying again can't help.
    """

    def __init__(self, reason: str, detail: str, *, lasting: bool) -> None:
        super().__init__(detail)
        self.reason, self.lasting = reason, lasting


@flow(name="evaluate", flow_run_name="evaluate {parameters.labelled}")
@as_told
def evaluate(parameters: EvaluateParameters) -> Evaluation:
    """Evaluate models on the test songs: the medians a paper prints, and what they show."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    device = devices.pick_device(parameters.device)
    models = choose_models(workspace, parameters.models, parameters.allow_import)
    stems = manifests.latest("stems", parameters.labelled)
    songs = require_songs(load_songs(manifests, stems, "test"), stems.corpus, "test", "evaluation")
    for song in songs:
        if song.sums:
            raise UserError(
                f"test song {song.name!r} knows {song.sums[0].replace('+', ', ')} as a sum alone, "
                "and evaluation needs each source by itself; ingest it with the missing stems, or "
                "as a song of train/"
            )
    models = _unheard(manifests, models, stems, named=bool(parameters.models))
    published = published_methods(parameters.published, songs, models)
    reference = choose_reference(
        workspace, models, [method.name for method in published], parameters.compare_to
    )
    options = EvaluateOptions(
        **{key: getattr(parameters, key) for key in EvaluateOptions.model_fields}
    )
    partitions, results = [], []
    with ExitStack() as stack:
        shared = False
        for model in models:
            name = fingerprint(STAGE, VERSION, **{**parameters.content(), "model": model})
            with stage_run(
                STAGE,
                parameters.model_copy(update={"models": [model]}),
                corpus=parameters.labelled,
                fingerprint=name,
                workspace=workspace,
            ) as run:
                partition = run.partition("evaluations")
                partitions.append(partition)
                done = run.done(partition, {song.track_id for song in songs}, "rejects")
                batches = [
                    EvaluateBatch(partition, workspace, model, options, parameters.device, song)
                    for [song] in pending_batches(songs, done, 1, lambda song: song.track_id)
                ]
                run.plan("songs", len(batches), len(songs), stems, f"model {model}")
                run.try_again({batch.song.track_id for batch in batches})
                if batches and not shared:
                    stack.enter_context(dask_client(parameters))  # one cluster for all models
                    shared = True
                _evaluate_model(run, batches, parameters)
            results.append(run.result())
    if parameters.dry_run:
        return Evaluation(location=workspace.location, results=results, comparison=None)
    label = model_labels(workspace, models)
    methods = [
        *(
            evaluated_model(manifests, partition, model, label[model])
            for model, partition in zip(models, partitions, strict=True)
        ),
        *published,
    ]
    summary = compare(
        workspace,
        methods,
        songs,
        reference=reference,
        corpus=stems.corpus,
        device=device,
        allow_import=tuple(parameters.allow_import),
    )
    return Evaluation(location=workspace.location, results=results, comparison=summary)


def in_chain(chain: Chain) -> list[EvaluateParameters]:
    """The run in the chain: of the models that were trained, or of all there are."""
    return [
        EvaluateParameters(
            **chain.common,
            **chain.options(STAGE) | {"allow_import": chain.allow_import},
            labelled=chain.parameters.labelled_corpus,
            models=chain.made("train"),
        )
    ]


def ahead(chain: Chain) -> None:
    """Refuse a device that is not there."""
    devices.pick_device(chain.options(STAGE)["device"])


def print_evaluation(made: Evaluation, console: Console) -> None:
    """How the models compare, for the terminal."""
    if made.comparison is not None:
        print_comparison(made.comparison, made.location, console)


def _unheard(
    manifests: Manifests, models: list[str], stems: Partition, *, named: bool
) -> list[str]:
    """The models that heard none of the test songs; others are left out, if nobody named them.

    Raises:
        UserError: a model that was named did, or all did.
    """
    tests, kept, problem = sounds_of(manifests, [stems], "test"), [], None
    for model in models:
        try:
            require_unheard(manifests, model, tests)
        except UserError as error:
            if named:
                raise
            problem = error
            logging.getLogger(__name__).warning("%s", error)
            continue
        kept.append(model)
    if problem is not None and not kept:
        raise problem
    return kept


def _evaluate_model(
    run: StageRun, batches: list[EvaluateBatch], parameters: EvaluateParameters
) -> None:
    with results_of(
        evaluate_song, batches, parameters, label=STAGE, unit="songs",
        most_workers=devices.most_workers(parameters, parameters.device),
    ) as results:  # fmt: skip
        for counts in results:
            run.count(**counts)
    medians = paper_table(run.manifests, run.partition("evaluations"))
    run.counts.update({f"sdr_{source}_db": round(value, 3) for source, value in medians.items()})


def evaluate_song(batch: EvaluateBatch) -> dict[str, float]:
    """Separate one song, score it, write its museval JSON and its part of ``evaluations``.

    A song that can't be scored is rejected. Where that may change (a file that is missing), it is
    tried again by the next run, else it counts as done.

    Returns:
        How many songs were scored and rejected.
    """
    song, manifests = batch.song, Manifests(batch.workspace)
    try:
        rows = _score_song(batch)
    except NotScoredError as problem:
        detail = f"{song.name}: {problem}"
        reject = reject_row(STAGE, song.track_id, problem.reason, detail)
        refused = replace(batch.partition, table=REJECTS.name)
        manifests.write(refused, [song.track_id], [reject])
        if problem.lasting:
            manifests.write(batch.partition, [song.track_id], [])
        return {"rejected": 1}
    manifests.write(batch.partition, [song.track_id], rows)
    return {"songs": 1}


def _score_song(batch: EvaluateBatch) -> list[dict[str, Any]]:
    song, music = batch.song, batch.workspace.music
    sources = music.sources
    device = devices.own_device(batch.device)
    mixture = torch.from_numpy(_read(batch, MIXTURE))
    references = torch.from_numpy(np.stack([_read(batch, source) for source in sources]))
    estimates = separate(
        networks.load_model(
            batch.workspace, batch.model, device, tuple(batch.options.allow_import)
        ),
        mixture,
        segment_samples=round(batch.options.segment_s * music.sample_rate),
        overlap=batch.options.overlap,
        shifts=batch.options.shifts,
        max_shift_samples=music.sample_rate // 2,
        device=device,
    )
    problem = why_not_scorable(references, estimates, sources)
    if problem is not None:
        raise NotScoredError(*problem, lasting=True)
    scores = bss_eval(
        references,
        estimates,
        window_samples=round(WINDOW_S * music.sample_rate),
        device=device,
    )
    whole = song_sdr(references, estimates)
    frames = {
        source: {
            name: np.asarray(getattr(scores, name.lower())[index], dtype=np.float64)
            for name in METRICS
        }
        for index, source in enumerate(sources)
    }
    path = result_path(museval_folder(batch.partition, batch.model), song.name)
    batch.workspace.put_bytes(path, to_museval(frames, WINDOW_S, WINDOW_S))
    return [
        {
            "model_id": batch.model,
            "track_id": song.track_id,
            "song": song.name,
            "source": source,
            **{f"{name.lower()}_db": frame_median(frames[source][name]) for name in METRICS},
            "song_sdr_db": float(whole[index]),
            "museval_path": path,
        }
        for index, source in enumerate(sources)
    ]


def _read(batch: EvaluateBatch, source: str) -> NDArray[np.float32]:
    path = batch.song.paths[source]
    try:
        audio: NDArray[np.float32] = CropReader(batch.workspace.location)(
            path, 0, batch.song.num_samples
        )
    except MissingAudioError as error:
        detail = f"{source}: {path} is missing; restore it and run again"
        raise NotScoredError("missing_audio", detail, lasting=False) from error
    except CanonicalAudioError as error:
        raise NotScoredError(DAMAGED, f"{source}: {error}", lasting=False) from error
    return audio


def museval_folder(evaluations: Partition, model: str) -> str:
    """Where a model's museval JSON lies: a folder that ``museval.EvalStore`` reads."""
    return f"reports/museval/{evaluations.corpus}/{evaluations.fingerprint}/{model}"
