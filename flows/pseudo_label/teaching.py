"""What a teacher makes of songs and tracks: how sure it is, and its labels where it is sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demucs_core.separators.adding_up import ResidualSpreader
from demucs_core.separators.confidence import Rule, Windows, trusted_stretches
from demucs_core.separators.separation import separate_passes
from flows.inputs import networks
from flows.inputs.songs import Song
from flows.pseudo_label.options import PseudoLabelParameters
from flows.running import devices
from flows.running.dividing import Indispensable
from storage.fingerprint import ID_DIGITS, short_hash
from storage.music_format import MIXTURE
from storage.reading import AsWritten, CropReader
from storage.stem_scratch import stem_scratch
from storage.tables.manifests import Partition
from storage.workspace import Workspace

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Teacher:
    """A model at work; small to send to other processes."""

    workspace: Workspace
    model: str
    device: str
    parameters: PseudoLabelParameters

    @property
    def window_samples(self) -> int:
        """Length of what is judged by itself."""
        return max(1, round(self.parameters.window_s * self.workspace.music.sample_rate))

    def passes(self, path: str, num_samples: int) -> Iterator[tuple[int, Audio, Audio]]:
        """Blocks of a mixture: where each starts, the passes over it, and itself."""
        parameters, rate = self.parameters, self.workspace.music.sample_rate
        reader = CropReader(self.workspace.location)
        blocks = separate_passes(
            networks.load_model(
                self.workspace,
                self.model,
                devices.own_device(self.device),
                tuple(parameters.allow_import),
            ),
            lambda start, num: reader(path, start, num),
            num_samples,
            segment_samples=max(1, round(parameters.segment_s * rate)),
            overlap=parameters.overlap,
            shifts=parameters.passes,
            seed=parameters.seed,
            max_shift_samples=rate // 2,
        )
        start = 0
        for block in blocks:
            yield start, block, reader(path, start, block.shape[-1])
            start += block.shape[-1]


@dataclass(frozen=True)
class Examined(Indispensable[Windows]):
    """A song whose stems are known, which a Dask task separates."""

    teacher: Teacher
    song: Song

    @property
    def named(self) -> str:
        """The song."""
        return f"validation song {self.song.name!r}"


def examine(asked: Examined) -> Windows:
    """How sure the teacher is of each window of a song, and how right."""
    teacher, song = asked.teacher, asked.song
    reader = CropReader(teacher.workspace.location)
    windows = Windows.empty(song.num_samples, teacher.window_samples)
    for start, passes, mixture in teacher.passes(song.paths[MIXTURE], song.num_samples):
        stems = np.stack(
            [reader(song.paths[source], start, mixture.shape[-1]) for source in song.sources]
        )
        windows.add(start, teacher.window_samples, passes, mixture, stems)
    return windows


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Where the teacher is sure of a track, and where its labels lie.

    Attributes:
        track: its row of ``tracks``.
        start_sample: first sample.
        stop_sample: one past the last.
        sure: share of the energy that is sure.
        paths: of the whole track's labels, a source each.
    """

    track: dict[str, Any]
    start_sample: int
    stop_sample: int
    sure: float
    paths: Sequence[str]


def teach(teacher: Teacher, rule: Rule, track: dict[str, Any], target: Partition) -> list[Stretch]:
    """Separate a track, keep its labels if any of it is sure, and say where.

    The labels add up to the track: what they lack of it goes to those that are loud at the time.

    Raises:
        CanonicalAudioError: the track's audio is not what was ingested, or gone.
        ValueError: the model makes NaN of it.
    """
    workspace, parameters = teacher.workspace, teacher.parameters
    music, window_samples = workspace.music, teacher.window_samples
    path, num_samples = track["path"], track["num_samples"]
    heard = AsWritten(track["content_hash"], path)
    for _ in heard.through(CropReader(workspace.location).blocks(path)):
        pass
    heard.require()
    windows = Windows.empty(num_samples, window_samples)
    spread = ResidualSpreader(len(music.sources), music.sample_rate)
    folder = f"audio/{target.corpus}/{target.fingerprint}/{track['track_id']}"
    paths = [f"{folder}/{source}.wav" for source in music.sources]
    with stem_scratch(music) as labels:
        for start, passes, mixture in teacher.passes(path, num_samples):
            if not np.isfinite(passes).all():
                raise ValueError("the model makes NaN or infinite samples of it")
            windows.add(start, window_samples, passes, mixture)
            labels.append(spread(passes.mean(axis=0), mixture))
        stretches = trusted_stretches(
            windows,
            rule,
            min_windows=max(1, -(-round(parameters.min_duration_s * music.sample_rate)
                                // window_samples)),
            least_energy=10 ** (parameters.silence_db / 10) * window_samples * music.num_channels,
        )  # fmt: skip
        if stretches:
            labels.store(workspace, paths)
    return [
        Stretch(
            track=track,
            start_sample=start * window_samples,
            stop_sample=min(stop * window_samples, num_samples),
            sure=sure,
            paths=paths,
        )
        for start, stop, sure in stretches
    ]


def recipe_rows(
    stretches: Sequence[Stretch], teacher: Teacher, *, mixed_per_stretch: int, seed: int
) -> list[dict[str, Any]]:
    """The recipes of a batch's stretches, as rows of ``remixes``.

    Nothing of the track itself is heard: all its sources count as silent, and the labels are added
    in their place. A mixed recipe takes each of them from a stretch of its own, as labelled
    examples do.
    """
    rows = []
    for stretch in stretches:
        name = f"{stretch.track['track_id']}-{stretch.start_sample}"
        rng = np.random.default_rng([seed, int(short_hash(name, 15), 16)])
        for number in range(1 + mixed_per_stretch):
            from_each = [
                stretches[int(rng.integers(len(stretches)))] if number else stretch
                for _ in stretch.paths
            ]
            rows.append(
                _row(stretch, f"{short_hash(name, ID_DIGITS)}-{number}", from_each, teacher)
            )
    return rows


def _row(
    stretch: Stretch, remix_id: str, from_each: Sequence[Stretch], teacher: Teacher
) -> dict[str, Any]:
    sources = teacher.workspace.music.sources
    return {
        "remix_id": remix_id,
        "segment_id": "",
        "segments_fingerprint": "",
        "track_id": stretch.track["track_id"],
        "path": stretch.track["path"],
        "track_num_samples": stretch.track["num_samples"],
        "start_sample": stretch.start_sample,
        "stop_sample": stretch.stop_sample,
        "silent_sources": list(sources),
        "confidence": min(other.sure for other in from_each),
        "added": [
            {
                "source": source,
                "track_id": other.track["track_id"],
                "path": other.paths[place],
                "track_num_samples": other.track["num_samples"],
                "start_sample": other.start_sample,
                "num_samples": other.stop_sample - other.start_sample,
                "gain_db": 0.0,
                "tempo_ratio": None,
                "key_steps": None,
            }
            for place, (source, other) in enumerate(zip(sources, from_each, strict=True))
        ],
        "model_id": teacher.model,
    }
