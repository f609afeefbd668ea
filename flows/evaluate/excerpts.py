"""The best, the median and the worst song of an evaluation, to listen to."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from demucs_core.metrics.comparison import rank_songs
from demucs_core.separators.separation import separate
from flows.inputs import networks
from flows.inputs.methods import Method
from flows.inputs.songs import Song
from flows.reports.artifacts import Report
from flows.reports.markdown import plain
from storage.music_format import MIXTURE
from storage.reading import CanonicalAudioError, CropReader
from storage.workspace import Workspace

EXCERPT_S = 6.0
MAX_PLAYED_S = 54.0
"""Of all players of a song together, so that they stay below the size that an artifact may have."""


def play_songs(
    workspace: Workspace,
    model: Method | None,
    songs: Sequence[Song],
    run_id: str,
    device: str,
    allow_import: tuple[str, ...],
) -> None:
    """Publish an artifact a song: mixture, truth and estimates, from the middle of it.

    Args:
        workspace: where songs and model are, and where the sounds go.
        model: the model to hear; without one, there is nothing to play.
        songs: to choose from by the model's scores.
        run_id: of the report.
        device: where to separate.
        allow_import: classes that may be imported for the model.
    """
    if model is None:
        return
    ranked = rank_songs(model.matrix(songs)).tolist()
    places = (("best", 0), ("worst", -1), ("median", (len(ranked) - 1) // 2)) if ranked else ()
    chosen: dict[int, str] = {}
    for place, rank in places:
        chosen.setdefault(ranked[rank], place)
    for index, place in chosen.items():
        _play(workspace, model, songs[index], place, run_id, device, allow_import)


def _play(
    workspace: Workspace,
    model: Method,
    song: Song,
    place: str,
    run_id: str,
    device: str,
    allow_import: tuple[str, ...],
) -> None:
    report = Report(workspace, f"evaluate-{place}", f"{run_id}/{place}")
    sources, sample_rate = workspace.music.sources, workspace.music.sample_rate
    excerpt_s = min(EXCERPT_S, MAX_PLAYED_S / (1 + 2 * len(sources)))
    num_samples = min(round(excerpt_s * sample_rate), song.num_samples)
    start = (song.num_samples - num_samples) // 2
    reader = CropReader(workspace.location)
    try:
        truth = {name: reader(song.paths[name], start, num_samples) for name in (MIXTURE, *sources)}
    except CanonicalAudioError:
        return  # scored by an earlier run, and gone since
    estimates = separate(
        networks.load_model(workspace, model.name, device, allow_import),
        torch.from_numpy(truth[MIXTURE]),
        segment_samples=num_samples,
        max_shift_samples=0,
        device=device,
    )
    scores = ", ".join(
        f"{source} {model.scores[song.track_id][source]['sdr_db']:.2f}" for source in sources
    )
    report.text(f"**{plain(song.name)}**: {plain(model.label)}, SDR {scores} dB")
    report.player(MIXTURE, truth[MIXTURE], sample_rate, f"**{MIXTURE}**")
    for source, estimate in zip(sources, estimates.numpy(), strict=True):
        report.player(f"{source}-truth", truth[source], sample_rate, f"**{source}**, the truth")
        report.player(f"{source}-estimate", estimate, sample_rate, f"**{source}**, as estimated")
    report.publish(f"The {place} song: {song.name}")
