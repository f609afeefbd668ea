"""Tempo and key of tracks and of labelled songs, found by librosa once for each → ``tempos``.

librosa and what it needs are large, and only matched remixes want them: they are the extra
``matching``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import soxr
from numpy.typing import NDArray

from demucs_core.remixing.matching import TempoKey, estimate_key
from flows.running.dividing import Divisible, halved
from flows.running.execution import pending_batches, results_of
from flows.running.parameters import WorkParameters
from flows.running.rejects import reject_killer, reject_row
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import REJECTS
from storage.workspace import Workspace

NAME, VERSION = "tempos", 1
EXCERPT_S = 120.0
"""Heard of a track, from its middle: enough for its tempo and key, and memory has a bound."""

ANALYSIS_RATE = 22_050
WINDOW_SAMPLES = 8192
BATCH_TRACKS = 16


@dataclass(frozen=True, order=True)
class Listening:
    """A track or a song's mixture to find tempo and key of."""

    track_id: str
    path: str
    num_samples: int


@dataclass(frozen=True)
class TempoBatch(Divisible[dict[str, float]]):
    """What one Dask task listens to."""

    workspace: Workspace
    target: Partition
    tracks: Sequence[Listening]

    def halves(self) -> Sequence[Self]:
        """Two batches of its tracks; none where it is one track."""
        return [replace(self, tracks=tracks) for tracks in halved(self.tracks)]

    def refused(self, detail: str) -> dict[str, float]:
        """Its one track is a reject, and has no tempo."""
        [track] = self.tracks
        manifests = Manifests(self.workspace)
        return reject_killer(manifests, self.target, NAME, track.track_id, detail)


def tempos_of(workspace: Workspace, corpus: str) -> Partition:
    """The partition with the tempos and keys of a corpus, labelled or not."""
    music = workspace.music.beyond_default("sample_rate", "num_channels")
    return Partition(NAME, corpus, fingerprint(NAME, VERSION, **music))


def require_librosa() -> None:
    """Refuse to match without the library that listens.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    if find_spec("librosa") is None:
        raise UserError(
            "match needs librosa, which is not installed here: pip install 'silentmix[matching]', "
            "or set match to none"
        )


def find_tempos(
    parameters: WorkParameters,
    manifests: Manifests,
    target: Partition,
    tracks: Collection[Listening],
) -> None:
    """Find tempo and key of those tracks that have none yet."""
    batches = [
        TempoBatch(manifests.workspace, target, batch)
        for batch in pending_batches(
            sorted(tracks), manifests.items(target), BATCH_TRACKS, lambda track: track.track_id
        )
    ]
    with results_of(
        tempo_batch, batches, parameters,
        label=f"{NAME}-{target.corpus}", unit="tracks", size=lambda batch: len(batch.tracks),
    ) as results:  # fmt: skip
        for _ in results:
            pass


def tempo_batch(batch: TempoBatch) -> dict[str, float]:
    """Find tempo and key of some tracks, and write their part of ``tempos``.

    A track in which none can be found, because it can't be read or nothing has a pitch, is a
    reject; it has no row, and its remixes are not matched.

    Returns:
        How many were rejected.
    """
    sample_rate = batch.workspace.music.sample_rate
    reader = CropReader(batch.workspace.location)
    rows, rejects = [], []
    for track in batch.tracks:
        length = min(track.num_samples, round(EXCERPT_S * sample_rate))
        try:
            audio = reader(track.path, (track.num_samples - length) // 2, length)
            found = listen(audio, sample_rate)
        except ValueError as error:
            detail = f"{type(error).__name__}: {error}"
            rejects.append(reject_row(NAME, track.track_id, "no_tempo_or_key", detail))
            continue
        rows.append(
            {
                "track_id": track.track_id,
                "tempo_bpm": found.tempo_bpm,
                "key_tonic": found.tonic,
                "key_mode": found.mode,
            }
        )
    items = [track.track_id for track in batch.tracks]
    manifests = Manifests(batch.workspace)
    if rejects:
        manifests.write(replace(batch.target, table=REJECTS.name), items, rejects)
    manifests.write(batch.target, items, rows)
    return {"rejected": len(rejects)}


def listen(audio: NDArray[np.float32], sample_rate: int) -> TempoKey:
    """Tempo and key of audio ``(C, T)``, by librosa.

    Raises:
        ValueError: it has none.
    """
    from librosa.feature import chroma_stft, tempo  # heavy, and wanted by few
    from librosa.onset import onset_strength

    mono = soxr.resample(audio.mean(axis=0), sample_rate, ANALYSIS_RATE)
    onsets = onset_strength(y=mono, sr=ANALYSIS_RATE)
    chroma = chroma_stft(
        y=mono, sr=ANALYSIS_RATE, n_fft=WINDOW_SAMPLES, hop_length=WINDOW_SAMPLES // 2
    )
    tonic, mode = estimate_key(chroma.mean(axis=1))
    beats: Any = tempo(onset_envelope=onsets, sr=ANALYSIS_RATE)
    return TempoKey(tempo_bpm=float(beats[0]), tonic=tonic, mode=mode)


def load_tempos(manifests: Manifests, tempos: Partition) -> dict[str, TempoKey]:
    """Tempo and key of the tracks of a corpus that have them."""
    return {
        row["track_id"]: TempoKey(
            tempo_bpm=row["tempo_bpm"], tonic=row["key_tonic"], mode=row["key_mode"]
        )
        for row in manifests.rows(tempos)
    }
