"""Training examples for the detector: crops of real and remixed songs, with what is silent in them.

Shapes: S sources, C channels, T samples and F frames of a crop, K spectrum bins, M mel bands,
N spectrum frames.

Examples are cheap: four ranged reads, one sum, one spectrogram. What a lossy encoder, another
master or another sample rate would do to the mixture is done to its power spectrum, where it
costs next to nothing (``augmentation``). An example depends on the seed, the step and its place in
the batch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.activity import active_frames, frame_level_db
from demucs_core.detector.augmentation import disturb_spectrum, equalise, resample
from demucs_core.detector.config import DetectorConfig, MakeInputs
from demucs_core.detector.fit_config import ExampleConfig
from demucs_core.stem_tracks import Group, StemTrack, TrackPool

Batch = tuple[Tensor, Tensor, Tensor]
"""What the detector takes, silence and what is known: see :meth:`ExampleSource.batch`."""

ReadAudio = Callable[[str, int, int], NDArray[np.float32]]
"""Path, first sample and number of samples to audio ``(C, n)``."""


@dataclass(frozen=True, kw_only=True)
class TrainingSong(StemTrack):
    """A labelled song, or a single stem, to train on.

    Attributes:
        active: where each source is active, ``(S, F)``: where to look for it. What is silent in an
            example is measured anew, for gains and company change it. Of sources that the song does
            not know by themselves it says nothing.
    """

    active: NDArray[np.bool_]


@dataclass(frozen=True)
class ExampleSource:
    """Draws examples from songs, for a detector.

    Raises:
        ValueError: there is no song, or one does not fit the detector; by name.
    """

    config: ExampleConfig
    songs: Sequence[TrainingSong]
    read: ReadAudio
    detector: DetectorConfig

    def __post_init__(self) -> None:
        if not self.songs:
            raise ValueError("there is no labelled song to train a detector on")
        for song in self.songs:
            shape = (self.num_sources, -(-song.num_samples // self.detector.hop_samples))
            if song.active.shape != shape:
                raise ValueError(
                    f"{song.track_id} has activity of shape {song.active.shape}, expected {shape}"
                )
        assert self._pool

    @cached_property
    def crop_frames(self) -> int:
        """Frames of an example."""
        return max(1, round(self.config.crop_s * self.detector.frame_rate))

    @property
    def num_sources(self) -> int:
        """Sources of the detector."""
        return len(self.detector.sources)

    @cached_property
    def _pool(self) -> TrackPool[TrainingSong]:
        return TrackPool(self.songs, self.num_sources)

    def batch(self, step: int) -> Batch:
        """Examples of one step: what the detector takes, silence ``(B, S, F)`` and what is known.

        It takes log-mel bands ``(B, C, M, 4F)`` or audio ``(B, C, T)``. What is known is ``(B, S)``
        bool: where it says no, the silence says nothing.
        """
        make = self.detector.input_maker()
        examples = [
            self.example(np.random.default_rng([self.config.seed, step, place]), make)
            for place in range(self.config.batch_size)
        ]
        inputs, silent, known = zip(*examples, strict=True)
        return torch.stack(inputs), torch.stack(silent), torch.stack(known)

    def example(self, rng: np.random.Generator, make: MakeInputs) -> tuple[Tensor, Tensor, Tensor]:
        """One example: log-mel ``(C, M, 4F)`` or audio ``(C, T)``, and silence ``(S, F)`` bool.

        And ``(S,)`` bool: of which sources it is known. Those that sound in a sum are not; where
        the sum is left out of the mixture, all of them are silent.
        """
        augmentation = self.config.augmentation
        drawn = self._draw_stems(rng)
        mixture = self._sum(list(drawn.values()))
        peak = float(np.abs(mixture).max())
        gain = 10.0 ** (-rng.uniform(0.0, augmentation.quieter_db) / 20.0)
        gain = gain / peak if peak > 1.0 else gain
        silent = self._measure_silence(drawn, mixture, gain)
        known = torch.ones(self.num_sources, dtype=torch.bool)
        for group, stem in drawn.items():
            if len(group) > 1 and stem is not None:
                known[list(group)] = False
        audio = torch.from_numpy(mixture * np.float32(gain))

        def disturb(spectrum: Tensor) -> Tensor:
            return disturb_spectrum(spectrum, self.detector.sample_rate, augmentation, rng)

        inputs = make(audio, disturb)
        hears_bands = inputs.dim() == 3
        if hears_bands and rng.random() < augmentation.band_mask_probability:
            num_mels = inputs.shape[1]
            width = int(rng.integers(1, max(2, num_mels // 6)))
            first = int(rng.integers(0, num_mels - width + 1))
            inputs[:, first : first + width] = inputs[:, first : first + width].mean()
        return inputs, silent, known

    def _draw_stems(self, rng: np.random.Generator) -> dict[Group, NDArray[np.float32] | None]:
        """Stems ``(C, T)`` as they go into the mixture; none where a group is left out."""
        wish, pool = self.config.augmentation, self._pool
        is_remix = rng.random() < wish.remix_probability or not pool.whole
        dropped = rng.random(self.num_sources) < wish.drop_probability
        if dropped.all():
            dropped[rng.integers(self.num_sources)] = False
        groups = pool.groups
        if pool.whole:
            song = pool.draw_whole(rng)
            share = float(rng.random())
            groups = groups if is_remix and groups else song.groups
        speed = self._draw_speed(rng)
        stems: dict[Group, NDArray[np.float32] | None] = {}
        for group in groups:
            # what stays of a sum stays whole
            if dropped[list(group)].all():
                stems[group] = None
                continue
            if is_remix:
                song = pool.draw_having(rng, group)
                share = self._draw_place(rng, song, group)
                speed = self._draw_speed(rng)
            stem = self._read(song, group, share, speed)
            stems[group] = self._change_stem(stem, rng, is_remix=is_remix)
        return stems

    def _draw_place(self, rng: np.random.Generator, song: TrainingSong, group: Group) -> float:
        """A place in a song, from 0 to 1; half the time where the source is active."""
        place = float(rng.random())
        if rng.random() < 0.5 and len(group) == 1:
            frames = np.flatnonzero(song.active[group[0]])
            if len(frames):
                first = frames[rng.integers(len(frames))] - rng.integers(self.crop_frames)
                place = float(first) / max(1, song.active.shape[1] - self.crop_frames)
        return min(max(place, 0.0), 1.0)

    def _draw_speed(self, rng: np.random.Generator) -> float:
        if rng.random() >= self.config.augmentation.speed_probability:
            return 1.0
        limit = np.log(self.config.augmentation.max_speed)
        return float(np.exp(rng.uniform(-limit, limit)))

    def _read(
        self, song: TrainingSong, group: Group, place: float, speed: float
    ) -> NDArray[np.float32]:
        samples = self.crop_frames * self.detector.hop_samples
        wanted = min(int(np.ceil((samples + 1) * speed)), song.num_samples)
        start = int(place * (song.num_samples - wanted))
        audio = self.read(song.path_of(group), start, wanted)
        if speed != 1.0:
            audio = resample(audio, speed)
        short = samples - audio.shape[1]
        return np.pad(audio, ((0, 0), (0, short))) if short > 0 else audio[:, :samples]

    def _change_stem(
        self, stem: NDArray[np.float32], rng: np.random.Generator, *, is_remix: bool
    ) -> NDArray[np.float32]:
        wish = self.config.augmentation
        gain_db = wish.gain_db / (1 if is_remix else 2)
        gain = 10.0 ** (rng.uniform(-gain_db, gain_db) / 20.0) * rng.choice([-1.0, 1.0])
        stem = stem * np.float32(gain)
        if rng.random() < 0.5:
            stem = stem[::-1]
        if rng.random() < wish.equalise_probability:
            stem = equalise(stem, self.detector.sample_rate, wish.equalise_db, rng)
        if rng.random() < wish.mute_probability:
            length = stem.shape[1]
            first, last = np.sort(rng.integers(-length // 3, length + length // 3, size=2))
            stem[:, max(first, 0) : max(last, 0)] = 0.0
        return stem

    def _measure_silence(
        self,
        stems: Mapping[Group, NDArray[np.float32] | None],
        mixture: NDArray[np.float32],
        gain: float,
    ) -> Tensor:
        hop, rate = self.detector.hop_samples, self.detector.sample_rate
        gain_db = np.float32(20.0 * np.log10(gain))
        mixture_db = frame_level_db(mixture, hop) + gain_db
        silent = torch.ones(self.num_sources, self.crop_frames, dtype=torch.bool)
        for group, stem in stems.items():
            if stem is not None:
                level_db = frame_level_db(stem, hop) + gain_db
                active = active_frames(level_db, mixture_db, self.config.activity, hop, rate)
                silent[list(group)] = torch.from_numpy(~active)
        return silent

    def _sum(self, stems: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
        num_samples = self.crop_frames * self.detector.hop_samples
        mixture = np.zeros((self.detector.num_channels, num_samples), np.float32)
        for stem in stems:
            if stem is not None:
                mixture += stem
        return mixture
