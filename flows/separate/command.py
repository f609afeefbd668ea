"""A trained model on any audio file → one file a source."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from demucs_core.separators.adding_up import ResidualSpreader
from demucs_core.separators.separation import ReadMixture, separate_stream
from demucs_core.separators.separator import SeparationModel
from flows.inputs import networks
from flows.separate.claim import claimed
from flows.separate.full_scale import within_full_scale
from flows.separate.model_folder import model_named, open_model
from flows.separate.options import SeparateParameters
from flows.separate.song_files import Song, find_songs, standard_input
from storage.decoding.canonical import PreparedAudio
from storage.decoding.chunk import Unusable, one_line
from storage.decoding.original import Resampled, Resampler, prepare_original, resampled
from storage.encode import BITS, encodable_rate, writing
from storage.errors import UserError
from storage.finding.listing import DiscoveryError, Entry, look_up

FLOATING_POINT = 32


def separate_files(
    files: Sequence[str], parameters: SeparateParameters, complain: Callable[[str], None]
) -> Iterator[Path]:
    """Separate files, and yield the stems' paths as they are done.

    Memory does not grow with the length of a file. The stems of a file appear once all of them are
    whole, at the file's own rate, length and level, mono if it is mono and else stereo.

    Args:
        files: files in any format, folders, globs, lists, or URLs of these; ``-`` is what comes on
            the standard input.
        parameters: with which model, and how.
        complain: told in one line of each file that can't be separated, while the others go on, and
            of what is not as it was in a file, or will not be in its stems.

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
    _require_room_for_folders(Path(parameters.output))
    device = networks.pick_device(parameters.device)
    model = open_model(
        parameters.model, parameters.workspace, device, tuple(parameters.allow_import)
    )
    for field, wanted in (("two_stems", [parameters.two_stems]), ("only", parameters.only)):
        for source in wanted:
            if source and source not in model.config.sources:
                known = ", ".join(model.config.sources)
                raise UserError(f"{field}: the model knows {known}, not {source!r}")
    if parameters.two_stems and parameters.only:
        raise UserError("only and two_stems each say which stems to write; leave one out")
    with standard_input(files) as (named, piped):
        songs, problems = find_songs(named, Path(parameters.output)) if named else ([], [])
        yield from _separate_songs([*piped, *songs], problems, model, parameters, complain)


def _separate_songs(
    songs: Sequence[Song],
    problems: list[str],
    model: SeparationModel,
    parameters: SeparateParameters,
    complain: Callable[[str], None],
) -> Iterator[Path]:
    num_all = len(songs) + len(problems)
    if num_all > 1:
        for problem in problems:
            complain(problem)
    for song in songs:
        try:
            paths = _separate_song(song, model, parameters, complain)
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


def _require_room_for_folders(output: Path) -> None:
    """Refuse an output that can't be made, before the model is loaded."""
    there = next(path for path in (output.absolute(), *output.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"output: {there} is a file, and a folder is wanted")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"output: {there} can't be written to; name another with --output")


def _separate_song(
    song: Song,
    model: SeparationModel,
    parameters: SeparateParameters,
    complain: Callable[[str], None],
) -> list[Path]:
    names = _stem_names(model, parameters)
    folder = Path(parameters.output) / song.place
    targets = [folder / f"{name}.{parameters.format}" for name in names]
    told = _told(song, parameters)
    with claimed(folder, targets, told, overwrite=parameters.overwrite) as to_do:
        if to_do:
            _write_stems(song, folder, names, model, parameters, complain)
    return targets


def _told(song: Song, parameters: SeparateParameters) -> dict[str, Any]:
    """What decides the stems of a file, as far as it can be known without reading it."""
    file = Entry(path=song.path, stamp=uuid.uuid4().hex)  # unlike any other
    with suppress(DiscoveryError):  # decoding says what is wrong with the file
        file = (None if song.is_piped else look_up(song.fs, song.path)) or file
    elsewhere = {"workspace", "output", "overwrite", "device", "allow_import", "model"}
    return {
        "file": song.label,
        "size": file.num_bytes,
        "written": file.stamp,
        "model": model_named(parameters.model, parameters.workspace),
        "how": parameters.model_dump(mode="json", exclude=elsewhere),
    }


def _write_stems(
    song: Song,
    folder: Path,
    names: Sequence[str],
    model: SeparationModel,
    parameters: SeparateParameters,
    complain: Callable[[str], None],
) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    def say(text: str) -> None:
        complain(f"{song.label}: {text}")

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
            if audio.truncated:
                say(f"breaks off; the {audio.duration_s:.1f} s that are there are separated")
            bar.update(task, total=audio.duration_s, done="separating")

            def counted() -> Iterator[NDArray[np.float32]]:
                done_s = 0.0
                for block in _stems(audio, num_channels, model, parameters):
                    yield block
                    done_s += block.shape[-1] / audio.sample_rate
                    done = f"{done_s:.0f} of {audio.duration_s:.0f} s"
                    bar.update(task, completed=done_s, done=done)

            blocks = counted()
            if parameters.bits != FLOATING_POINT:
                blocks = within_full_scale(blocks, names, parameters.clip, say)
            num_done = 0
            for block in blocks:
                writer.write(block)
                num_done += block.shape[-1]
            assert num_done == audio.num_samples


def _stem_names(model: SeparationModel, parameters: SeparateParameters) -> list[str]:
    if parameters.two_stems:
        return [parameters.two_stems, f"no_{parameters.two_stems}"]
    return [source for source in model.config.sources if source in (parameters.only or [source])]


def _stems(
    audio: PreparedAudio,
    num_channels: int,
    model: SeparationModel,
    parameters: SeparateParameters,
) -> Iterator[NDArray[np.float32]]:
    """What to write, block by block ``(S, C, n)``, at the audio's own rate and level."""
    config = model.config
    kept = [config.sources.index(source) for source in _stem_names(model, parameters)
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
