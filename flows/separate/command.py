"""A trained model on any audio file → one file a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from demucs_core.separators.adding_up import ResidualSpreader
from demucs_core.separators.separation import ReadMixture, separate_stream
from demucs_core.separators.separator import SeparationModel
from flows.inputs import networks
from flows.separate.model_folder import open_model
from flows.separate.options import SeparateParameters
from flows.separate.song_files import Song, find_songs
from storage.canonical import PreparedAudio
from storage.chunk import Unusable, one_line
from storage.encode import BITS, encodable_rate, writing
from storage.errors import UserError
from storage.original import Resampled, Resampler, prepare_original, resampled


def separate_files(
    files: Sequence[str], parameters: SeparateParameters, complain: Callable[[str], None]
) -> Iterator[Path]:
    """Separate files, and yield the stems' paths as they are done.

    Memory does not grow with the length of a file. The stems of a file appear once all of them are
    whole, at the file's own rate, length and level, mono if it is mono and else stereo.

    Args:
        files: files in any format, folders, globs, lists, or URLs of these.
        parameters: with which model, and how.
        complain: told in one line of each file that can't be separated; the others go on.

    Raises:
        UserError: no such model, format or stem; or, after the others, that some files were not
            separated.
    """
    if not files:
        raise UserError("name a file to separate, or a folder of them")
    if parameters.bits not in BITS[parameters.format]:
        allowed = " or ".join(str(bits) for bits in BITS[parameters.format])
        raise UserError(f"bits: {parameters.format} takes {allowed}, not {parameters.bits}")
    if "://" in parameters.output:
        raise UserError(f"output: {parameters.output!r} is no folder of this machine")
    device = networks.pick_device(parameters.device)
    model = open_model(
        parameters.model, parameters.workspace, device, tuple(parameters.allow_import)
    )
    if parameters.two_stems and parameters.two_stems not in model.config.sources:
        known = ", ".join(model.config.sources)
        raise UserError(f"two_stems: the model knows {known}, not {parameters.two_stems!r}")
    songs, problems = find_songs(files, Path(parameters.output))
    num_all = len(songs) + len(problems)
    if num_all > 1:
        for problem in problems:
            complain(problem)
    for song in songs:
        try:
            paths = _separate_song(song, model, parameters)
        except (Unusable, OSError) as error:
            detail = str(error) if isinstance(error, Unusable) else one_line(error)
            problems.append(f"{song.label}: {detail}")
            if num_all > 1:
                complain(problems[-1])
        else:
            yield from paths
    if problems:
        raise UserError(
            problems[0] if num_all == 1 else f"{len(problems)} of {num_all} files not separated"
        )


def _separate_song(
    song: Song, model: SeparationModel, parameters: SeparateParameters
) -> list[Path]:
    names = _stem_names(model, parameters)
    folder = Path(parameters.output) / song.place
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(song.place.name, total=None, done="decoding")
        with (
            prepare_original(
                song.fs, song.path, lambda rate: encodable_rate(parameters.format, rate)
            ) as (audio, num_channels),
            writing(
                folder,
                names,
                file_format=parameters.format,
                bits=parameters.bits,
                sample_rate=audio.sample_rate,
                num_channels=num_channels,
                num_samples=audio.num_samples,
            ) as writer,
        ):
            bar.update(task, total=audio.duration_s, done="separating")
            num_done = 0
            for block in _stems(audio, num_channels, model, parameters):
                writer.write(block)
                num_done += block.shape[-1]
                done_s = num_done / audio.sample_rate
                bar.update(task, completed=done_s, done=f"{done_s:.0f} of {audio.duration_s:.0f} s")
            assert num_done == audio.num_samples
    return [folder / f"{name}.{parameters.format}" for name in names]


def _stem_names(model: SeparationModel, parameters: SeparateParameters) -> list[str]:
    if parameters.two_stems:
        return [parameters.two_stems, f"no_{parameters.two_stems}"]
    return list(model.config.sources)


def _stems(
    audio: PreparedAudio,
    num_channels: int,
    model: SeparationModel,
    parameters: SeparateParameters,
) -> Iterator[NDArray[np.float32]]:
    """What to write, block by block ``(S, C, n)``, at the audio's own rate and level."""
    config = model.config
    num_stems = len(_stem_names(model, parameters))
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
            if stems.shape[1] != num_channels:  # a stereo model, which heard mono on both sides
                stems = stems.mean(axis=1, keepdims=True)
            flat = back(stems.reshape(num_stems * num_channels, -1), last=not num_left)
            stems = flat.reshape(num_stems, num_channels, -1)
            if spread is not None:
                heard = audio.read(num_done, stems.shape[-1], gain_db=0.0)
                stems = spread(stems, heard[:num_channels])
            num_done += stems.shape[-1]
            yield stems


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
