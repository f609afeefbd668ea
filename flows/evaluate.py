"""Stage 7: separate the test songs, score them with BSSEval v4 → ``evaluations``, museval JSON."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from prefect import flow
from pydantic import Field

from demucs_core import SAMPLE_RATE, SOURCES
from demucs_core.bsseval import bss_eval, song_sdr
from demucs_core.separation import separate
from flows import registry
from flows.artifacts import PLAYER_S
from flows.execution import dask_client, pending_batches, run_batches
from flows.labelled import MIXTURE, Song, load_songs, require_songs
from flows.parameters import CorpusName, Device, Options, StageParameters
from flows.plots import sdr_boxes
from flows.progress import progress
from flows.stage import StageResult, StageRun, stage_run
from storage.fingerprint import fingerprint
from storage.manifests import Manifests, Partition
from storage.museval_json import METRICS, to_museval
from storage.reading import CropReader
from storage.workspace import Workspace

STAGE, VERSION = "evaluate", 1
WINDOW_S = 1.0


class EvaluateOptions(Options):
    """How to separate the test songs."""

    segment_s: float = Field(10.0, gt=0, description="Length of the pieces a song is separated in.")
    overlap: float = Field(0.25, ge=0, lt=1, description="Share of a piece that two pieces share.")
    shifts: int = Field(0, ge=0, le=100, description="Random shifts to average over.")
    device: Device = Field("auto", description="cpu, cuda, cuda:1, or auto: a GPU if there is one.")


class EvaluateParameters(EvaluateOptions, StageParameters):
    """Which model to evaluate, on the test songs of which corpus."""

    labelled: CorpusName = Field("labelled", description="Corpus of labelled songs.")
    model: str = Field("", description="Model to evaluate; empty takes the only one there is.")


@dataclass(frozen=True)
class EvaluateBatch:
    """One test song that a Dask task separates and scores."""

    partition: Partition
    workspace: Workspace
    model: str
    options: EvaluateOptions
    device: str
    song: Song


@flow(name="evaluate", flow_run_name="evaluate {parameters.model}")
def evaluate(parameters: EvaluateParameters) -> StageResult:
    """Evaluate a model on the test songs: the medians a paper prints."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    model = registry.resolve(workspace, "models", parameters.model)
    device = registry.pick_device(parameters.device)
    stems = manifests.latest("stems", parameters.labelled)
    songs = require_songs(load_songs(manifests, stems, "test"), stems.corpus, "test", "evaluation")
    content = {**parameters.content(), "model": model}
    name = fingerprint(STAGE, VERSION, **content)
    with stage_run(
        STAGE, parameters, corpus=parameters.labelled, fingerprint=name, workspace=workspace
    ) as run:
        partition = run.partition("evaluations")
        done = manifests.items(partition)
        pending = pending_batches(songs, done, 1, lambda song: song.track_id)
        run.already_done = not pending
        options = EvaluateOptions(
            **{key: getattr(parameters, key) for key in EvaluateOptions.model_fields}
        )
        batches = [
            EvaluateBatch(partition, workspace, model, options, device, song) for [song] in pending
        ]
        if batches:
            with (
                dask_client(parameters, in_process=device != "cpu") as client,
                progress(STAGE, len(batches)) as bar,
            ):
                for counts in run_batches(client, evaluate_song, batches, bar):
                    run.count(**counts)
        _report(run, partition, model, songs)
        return run.result()


def evaluate_song(batch: EvaluateBatch) -> dict[str, float]:
    """Separate one song, score it, write its museval JSON and its part of ``evaluations``."""
    song, reader = batch.song, CropReader(batch.workspace.location)

    def read(source: str) -> NDArray[np.float32]:
        audio: NDArray[np.float32] = reader(song.paths[source], 0, song.num_samples)
        return audio

    mixture = torch.from_numpy(read(MIXTURE))
    estimates = separate(
        registry.load_model(batch.workspace, batch.model, batch.device),
        mixture,
        segment_samples=round(batch.options.segment_s * SAMPLE_RATE),
        overlap=batch.options.overlap,
        shifts=batch.options.shifts,
        device=batch.device,
    )
    references = torch.from_numpy(np.stack([read(source) for source in SOURCES]))
    scores = bss_eval(references, estimates, device=batch.device)
    whole = song_sdr(references, estimates)
    frames = {
        source: {
            name: np.asarray(getattr(scores, name.lower())[index], dtype=np.float64)
            for name in METRICS
        }
        for index, source in enumerate(SOURCES)
    }
    path = f"reports/museval/{batch.model}/{batch.partition.fingerprint}/{song.track_id}.json"
    batch.workspace.put_bytes(path, to_museval(frames, WINDOW_S, WINDOW_S))
    rows = [
        {
            "model_id": batch.model,
            "track_id": song.track_id,
            "song": song.name,
            "source": source,
            **{f"{name.lower()}_db": _median(frames[source][name]) for name in METRICS},
            "song_sdr_db": float(whole[index]),
            "museval_path": path,
        }
        for index, source in enumerate(SOURCES)
    ]
    Manifests(batch.workspace).write(batch.partition, [song.track_id], rows)
    return {"songs": 1}


def _median(values: NDArray[np.float64]) -> float:
    """Median of the finite frames, as museval aggregates them; NaN if there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmedian(np.where(np.isfinite(values), values, np.nan)))


def paper_table(manifests: Manifests, partition: Partition) -> dict[str, float]:
    """Median over songs of the median over frames of the SDR, a source, and their mean."""
    by_source: dict[str, list[float]] = {source: [] for source in SOURCES}
    for row in manifests.rows(partition, ["source", "sdr_db"]):
        by_source[row["source"]].append(row["sdr_db"])
    medians = {source: _median(np.array(values)) for source, values in by_source.items()}
    return {**medians, "mean": float(np.mean(list(medians.values())))}


def _report(run: StageRun, partition: Partition, model: str, songs: list[Song]) -> None:
    medians = paper_table(run.manifests, partition)
    run.counts.update({f"sdr_{source}_db": round(value, 3) for source, value in medians.items()})
    if run.already_done:
        return
    row = {"model": model, **{name: f"{value:.2f} dB" for name, value in medians.items()}}
    run.report.table("sdr", [row], f"SDR: median over {len(songs)} songs of the median over frames")
    sdr: dict[str, list[float]] = {source: [] for source in SOURCES}
    for evaluation in run.manifests.rows(partition, ["source", "sdr_db"]):
        sdr[evaluation["source"]].append(evaluation["sdr_db"])
    sdr_boxes(run.report, sdr)
    _players(run, model, songs[0])
    run.report.publish(f"Evaluation of {model}")


def _players(run: StageRun, model: str, song: Song) -> None:
    """Let a person hear what the model makes of the middle of a song."""
    num_samples = min(round(PLAYER_S * SAMPLE_RATE), song.num_samples)
    start = (song.num_samples - num_samples) // 2
    reader = CropReader(run.workspace.location)
    mixture = reader(song.paths[MIXTURE], start, num_samples)
    estimates = separate(
        registry.load_model(run.workspace, model, "cpu"),
        torch.from_numpy(mixture),
        segment_samples=num_samples,
    )
    run.report.player(MIXTURE, mixture, SAMPLE_RATE, f"**{song.name}**: mixture")
    for source, estimate in zip(SOURCES, estimates.numpy(), strict=True):
        run.report.player(source, estimate, SAMPLE_RATE, f"{source}, as estimated")
