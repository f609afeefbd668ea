"""What a model makes of a file: stems, block by block, at the file's own rate and level."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from demucs_core.separators.adding_up import ResidualSpreader
from demucs_core.separators.separation import ReadMixture, separate_stream
from demucs_core.separators.separator import SeparationModel
from flows.separate.options import SeparateParameters
from storage.decoding.canonical import PreparedAudio
from storage.decoding.chunk import Unusable
from storage.decoding.original import Resampled, Resampler, resampled


def stem_names(model: SeparationModel, parameters: SeparateParameters) -> list[str]:
    """The stems to write, in order."""
    if parameters.two_stems:
        return [parameters.two_stems, f"no_{parameters.two_stems}"]
    return [source for source in model.config.sources if source in (parameters.only or [source])]


def stems_of(
    audio: PreparedAudio,
    num_channels: int,
    model: SeparationModel,
    parameters: SeparateParameters,
) -> Iterator[NDArray[np.float32]]:
    """What to write, block by block ``(S, C, n)``, at the audio's own rate and level."""
    config = model.config
    kept = [config.sources.index(source) for source in stem_names(model, parameters)
            if not parameters.two_stems]  # fmt: skip
    # what the stems lack of the file goes to all of them, written or not
    early = bool(kept) and not parameters.add_up
    num_stems = 2 if parameters.two_stems else len(kept) if early else len(config.sources)
    # the model heard peaks above full scale scaled down to it
    level = np.float32(10 ** (-audio.gain_db / 20))
    back = Resampler(
        num_stems * num_channels, config.sample_rate, audio.sample_rate, audio.num_samples
    )
    spread = ResidualSpreader(num_stems, audio.sample_rate) if parameters.add_up else None
    with resampled(audio, config.sample_rate) as mixture:
        num_left, num_done = mixture.num_samples, 0
        for estimates in _estimates(mixture, num_channels, model, parameters):
            if not np.isfinite(estimates).all():
                raise Unusable("non_finite", "the model makes NaN or infinite samples of it")
            num_left -= estimates.shape[-1]
            stems = _two_stems(estimates, config.sources, parameters.two_stems) * level
            if early:
                stems = stems[kept]
            if stems.shape[1] != num_channels:  # a stereo model, which heard mono on both sides
                stems = stems.mean(axis=1, keepdims=True)
            flat = back(stems.reshape(num_stems * num_channels, -1), last=not num_left)
            stems = flat.reshape(num_stems, num_channels, -1)
            if spread is not None:
                heard = audio.read(num_done, stems.shape[-1], gain_db=0.0)
                stems = spread(stems, heard[:num_channels])
            num_done += stems.shape[-1]
            yield stems if early or not kept else stems[kept]


def _estimates(
    mixture: Resampled, num_channels: int, model: SeparationModel, parameters: SeparateParameters
) -> Iterator[NDArray[np.float32]]:
    """Stems ``(S, C, n)`` at the model's rate; a model of mono hears each channel by itself."""
    rate = model.config.sample_rate

    def blocks(read: ReadMixture) -> Iterator[NDArray[np.float32]]:
        return separate_stream(
            model,
            read,
            mixture.num_samples,
            segment_samples=max(1, round(parameters.segment_s * rate)),
            overlap=parameters.overlap,
            shifts=parameters.shifts,
            seed=parameters.seed,
            max_shift_samples=rate // 2,
        )

    if model.config.num_channels > 1:
        return blocks(mixture.read)

    def channel(index: int) -> Iterator[NDArray[np.float32]]:
        return blocks(lambda start, num: mixture.read(start, num)[index : index + 1])

    sides = zip(*(channel(index) for index in range(num_channels)), strict=True)
    return (np.concatenate(blocks_of_sides, axis=1) for blocks_of_sides in sides)


def _two_stems(
    estimates: NDArray[np.float32], sources: tuple[str, ...], wanted: str
) -> NDArray[np.float32]:
    """All stems, or one and the sum of the others."""
    if not wanted:
        return estimates
    index = sources.index(wanted)
    others = np.delete(estimates, index, axis=0).sum(axis=0)
    return np.stack([estimates[index], others])
