"""Tempo and key: found once each, by librosa, and matched in the recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demucs_core.remixing.matching import Fit, TempoKey, key_steps, misfit, tempo_ratio
from flows.inputs.recipes import load_recipes
from flows.remix import tempos as tempos_module
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.remix.tempos import Listening, TempoBatch, listen, load_tempos, tempo_batch, tempos_of
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import Finished

MUSIC = MusicFormat()
SAMPLE_RATE = MUSIC.sample_rate
SOURCES = MUSIC.sources


def play_chords(tempo_bpm: float, tonic: int, duration_s: float = 16.0) -> np.ndarray:
    """Audio ``(2, T)``: a click a beat, and I IV V I chords of a major key, a bar each."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    beat_s = 60 / tempo_bpm
    audio = np.exp(-(time_s % beat_s) / 0.02) * np.random.default_rng(0).standard_normal(
        len(time_s)
    )
    bar = (time_s / (4 * beat_s)).astype(int) % 4
    for place, root in enumerate((0, 5, 7, 0)):
        for step in (0, 4, 7):
            hertz = 220 * 2 ** ((tonic + root + step - 9) % 12 / 12)
            audio += (bar == place) * np.sin(2 * np.pi * hertz * time_s)
    return np.stack([audio, audio]).astype(np.float32) * 0.1


@pytest.mark.parametrize(("tempo_bpm", "tonic"), [(100.0, 0), (132.0, 8)])
def test_tempo_and_key_of_a_plain_song(tempo_bpm: float, tonic: int) -> None:
    truth = TempoKey(tempo_bpm=tempo_bpm, tonic=tonic, mode="major")
    found = listen(play_chords(tempo_bpm, tonic), SAMPLE_RATE)
    assert tempo_ratio(truth, found) == pytest.approx(1, abs=0.03)
    assert (found.tonic, found.mode) == (tonic, "major")


def test_recipes_say_how_well_their_stems_fit(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = finished.manifests
    given = {"workspace": finished.workspace.location, "corpus": "music"}
    parameters = RemixParameters(**given, remixes_per_segment=1, match="tempo+key")
    segments = manifests.latest("segments", "music")  # other tests may have extracted since
    result = remix(parameters)
    tracks = {row["track_id"] for row in manifests.rows(segments)}
    train = {row["track_id"] for row in finished.rows("stems") if row["split"] == "train"}
    assert manifests.items(tempos_of(manifests.workspace, "music")) == tracks
    assert manifests.items(tempos_of(manifests.workspace, "labelled")) == train
    of_tracks = load_tempos(manifests, tempos_of(manifests.workspace, "music"))
    of_songs = load_tempos(manifests, tempos_of(manifests.workspace, "labelled"))
    assert (set(of_tracks), set(of_songs)) == (tracks, train)
    rows = list(manifests.rows(Partition("remixes", "music", result.fingerprint)))
    stems = [(row["track_id"], stem) for row in rows for stem in row["added"]]
    assert stems
    fitting = 0
    for track_id, stem in stems:
        segment, song = of_tracks[track_id], of_songs[stem["track_id"]]
        assert stem["tempo_ratio"] == pytest.approx(tempo_ratio(segment, song))
        if stem["source"] == "drums":
            assert stem["key_steps"] is None
        else:
            assert stem["key_steps"] == key_steps(segment, song)
        fit = Fit(tempo_ratio=stem["tempo_ratio"], key_steps=stem["key_steps"])
        fitting += misfit(fit, parameters.max_tempo_change + 1e-6, parameters.max_key_steps) == 0
    assert result.counts["fitting_stems"] == fitting
    assert result.counts["nearest_stems"] == len(stems) - fitting
    assert result.counts["unmatched_stems"] == 0

    monkeypatch.setattr(tempos_module, "listen", None)  # what has been heard is not heard again
    by_tempo = remix(parameters.model_copy(update={"match": "tempo"}))
    assert by_tempo.fingerprint != result.fingerprint
    for row in manifests.rows(Partition("remixes", "music", by_tempo.fingerprint)):
        assert {stem["key_steps"] for stem in row["added"]} <= {None}


def test_unmatched_recipes_say_nothing_of_tempo_and_key(finished: Finished) -> None:
    remixes = next(result for result in finished.results if result.stage == "remix")
    rows = finished.manifests.rows(Partition("remixes", "music", remixes.fingerprint))
    stems = [stem for row in rows for stem in row["added"]]
    assert {(stem["tempo_ratio"], stem["key_steps"]) for stem in stems} == {(None, None)}


def test_a_track_without_tempo_or_key_is_a_reject(finished: Finished, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    track = finished.rows("tracks")[0]
    workspace.put_bytes(track["path"], finished.workspace.read(track["path"])[:2000])
    target = tempos_of(workspace, "music")
    tracks = [
        Listening("cut", track["path"], track["num_samples"]),
        Listening("gone", "audio/music/gone.wav", 100_000),
    ]
    tempo_batch(TempoBatch(workspace, target, tracks))
    manifests = Manifests(workspace)
    assert manifests.items(target) == {"cut", "gone"}
    assert not manifests.count(target)
    rejects = list(manifests.rows(Partition("rejects", "music", target.fingerprint)))
    assert {row["item"] for row in rejects} == {"cut", "gone"}
    assert {row["reason"] for row in rejects} == {"no_tempo_or_key"}


def test_silence_has_no_tempo_or_key() -> None:
    with pytest.raises(ValueError, match="12 pitch classes"):
        listen(np.zeros((2, 3 * SAMPLE_RATE), np.float32), SAMPLE_RATE)


def test_without_librosa_the_extra_is_named(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempos_module, "find_spec", lambda _: None)
    before = finished.rows("remixes")
    with pytest.raises(UserError, match=r"pip install 'silentmix\[matching\]'"):
        remix(RemixParameters(workspace=finished.workspace.location, match="key"))
    assert finished.rows("remixes") == before


def test_confidence_of_a_recipe_is_that_of_its_segment(finished: Finished) -> None:
    segments = {row["segment_id"]: row for row in finished.rows("segments")}
    [remixed] = [result for result in finished.results if result.stage == "remix"]
    partition = Partition("remixes", "music", remixed.fingerprint)
    rows = {row["remix_id"]: row for row in finished.manifests.rows(partition)}
    for row in rows.values():
        means = segments[row["segment_id"]]["mean_probability"]
        assert len(means) == len(row["silent_sources"]) <= len(SOURCES)
        assert row["confidence"] == pytest.approx(np.prod(means), rel=1e-5)
    for power in (0.0, 1.0, 4.0):
        for recipe in load_recipes(finished.manifests, partition, power):
            expected = rows[recipe.remix_id]["confidence"] ** power
            assert recipe.weight == pytest.approx(expected)
