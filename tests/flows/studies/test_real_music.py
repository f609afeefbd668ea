"""A labelled song of real music is heard as it was mixed and with sources left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demucs_core.detector.registry import build_detector, new_detector_config
from demucs_core.extraction.segments import ExtractionPolicy
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.studies.real_music import quality_on_real_music
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.demucs_core.music import FRAMES
from tests.flows.conftest import write

MUSIC = MusicFormat()
SAMPLE_RATE = MUSIC.sample_rate
SOURCES = MUSIC.sources

SONG_S = 8
FRAMES_S = 0.3


def judged_s(tmp_path: Path, silent: tuple[str, ...]) -> dict[str, float]:
    """Seconds in which each source is silent, over all mixtures of one song without some stems."""
    rng = np.random.default_rng(0)
    stems = {
        source: 0.1 * rng.standard_normal((SONG_S * SAMPLE_RATE, 2)) * (source not in silent)
        for source in SOURCES
    }
    for name, audio in {**stems, "mixture": sum(stems.values())}.items():
        write(tmp_path / "real" / "train" / "song" / f"{name}.wav", np.asarray(audio))
    workspace = Workspace(str(tmp_path / "workspace"), create=True)
    ingest(
        IngestParameters(
            workspace=workspace.location,
            corpus="real",
            source=str(tmp_path / "real"),
            labelled=True,
            workers=1,
        )
    )
    detector = build_detector(
        new_detector_config("logmel-crnn", **FRAMES, conv_channels=(2, 2, 2), hidden_channels=4)
    ).eval()
    quality = quality_on_real_music(
        Manifests(workspace), "real", detector, [0.5] * len(SOURCES), ExtractionPolicy()
    )
    return {source: found.wanted_s for source, found in quality.items()}


def test_every_set_of_sources_is_left_out_once(tmp_path: Path) -> None:
    wanted_s = judged_s(tmp_path, ())
    # of the 15 sets that leave something, 7 leave a given source out
    usable_s = SONG_S - 2 * ExtractionPolicy().guard_s
    for source in SOURCES:
        assert wanted_s[source] == pytest.approx(7 * usable_s, abs=7 * FRAMES_S)


def test_stems_that_a_song_lacks_are_not_left_out_again(tmp_path: Path) -> None:
    wanted_s = judged_s(tmp_path, ("drums", "bass", "other"))
    usable_s = SONG_S - 2 * ExtractionPolicy().guard_s
    assert wanted_s["vocals"] == 0
    for source in ("drums", "bass", "other"):
        assert wanted_s[source] == pytest.approx(usable_s, abs=FRAMES_S)
