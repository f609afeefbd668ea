"""A trained model on any audio file → one file a source."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from demucs_core.separators.separator import SeparationModel
from flows.inputs import registry
from flows.running import devices
from flows.separate.claim import claimed, sweep
from flows.separate.estimates import stem_names, stems_of
from flows.separate.full_scale import within_full_scale
from flows.separate.level import Level
from flows.separate.model_folder import model_named, open_model
from flows.separate.options import SeparateParameters
from flows.separate.song_files import Song, find_songs, standard_input
from storage.decoding.canonical import PreparedAudio
from storage.decoding.chunk import Unusable, one_line
from storage.decoding.original import prepare_original
from storage.encode import BITS, encodable_rate, writing
from storage.errors import UserError
from storage.finding.listing import DiscoveryError, Entry, look_up
from storage.printable import shown
from storage.workspace import Workspace

if TYPE_CHECKING:
    from flows.separate.report import SeparationReport

FLOATING_POINT = 32
HEARD_RATE, HEARD_SHARE = 44_100, 0.75
"""What people hear has so many samples a second; a model that works at less of it says so."""


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
    sweep(Path(parameters.output))
    device = devices.pick_device(parameters.device)
    model = open_model(
        parameters.model, parameters.workspace, device, tuple(parameters.allow_import)
    )
    for name, wanted in (("two_stems", [parameters.two_stems]), ("only", parameters.only)):
        for source in wanted:
            if source and source not in model.config.sources:
                known = ", ".join(model.config.sources)
                raise UserError(f"{name}: the model knows {known}, not {source!r}")
    if parameters.two_stems and parameters.only:
        raise UserError("only and two_stems each say which stems to write; leave one out")
    if parameters.only and not parameters.add_up:  # which adds to all of them
        model = model.alone(parameters.only) or model
    job = _Job(
        model=model,
        model_name=model_named(parameters.model, parameters.workspace),
        parameters=parameters,
        complain=complain,
        report=_report(parameters),
    )
    with standard_input(files) as (named, piped):
        songs, problems = find_songs(named, Path(parameters.output)) if named else ([], [])
        try:
            yield from _separate_songs([*piped, *songs], problems, job)
        finally:
            job.publish()


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What is the same for all files."""

    model: SeparationModel
    model_name: str
    parameters: SeparateParameters
    complain: Callable[[str], None]
    report: SeparationReport | None
    skipped: list[str] = field(default_factory=list)

    def skip(self, file: str) -> None:
        """Note that a file was separated alike before."""
        self.skipped.append(file)
        self.note(file, "skipped: separated alike before")

    def note(self, file: str, outcome: str, *notes: str) -> None:
        """Have the report say that a file was not separated."""
        if self.report is not None:
            self.report.add(file, outcome, *notes)

    def publish(self) -> None:
        """Write the report, and say where it is."""
        if self.report is not None and (said := self.report.publish()):
            self.complain(said)


def _report(parameters: SeparateParameters) -> SeparationReport | None:
    """The report, where there is a workspace to keep it: that of the model."""
    if not parameters.report or registry.is_folder(parameters.model):
        return None
    from flows.separate.report import SeparationReport  # with Prefect, which takes a second

    workspace = Workspace(parameters.workspace)
    model = registry.resolve(workspace, "models", parameters.model)
    return SeparationReport(workspace, model, parameters)


def _separate_songs(songs: Sequence[Song], problems: list[str], job: _Job) -> Iterator[Path]:
    num_all = len(songs) + len(problems)
    for problem in problems:
        job.note("", "refused", problem)
        if num_all > 1:
            job.complain(problem)
    for song in songs:
        try:
            paths = _separate_song(song, job)
        except (Unusable, OSError) as error:
            detail = _detail(error)
            job.note(song.label, "refused", detail)
            problems.append(f"{song.label}: {detail}")
            if num_all > 1:
                job.complain(problems[-1])
        else:
            yield from paths
    if job.skipped:
        job.complain(
            f"{len(job.skipped)} of {num_all} files skipped: separated alike before; --overwrite "
            "separates them anew"
        )
    if problems:
        raise UserError(
            problems[0] if num_all == 1 else f"{len(problems)} of {num_all} files not separated"
        )


def _detail(error: Unusable | OSError) -> str:
    """What is wrong, and where: it may be the output as well as the file."""
    if isinstance(error, Unusable):
        return str(error)
    return f"{error.filename}: {one_line(error)}" if error.filename else one_line(error)


def _require_room_for_folders(output: Path) -> None:
    """Refuse an output that can't be made, before the model is loaded."""
    there = next(path for path in (output.absolute(), *output.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"output: {there} is a file, and a folder is wanted")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"output: {there} can't be written to; name another with --output")


def _separate_song(song: Song, job: _Job) -> list[Path]:
    parameters = job.parameters
    names = stem_names(job.model, parameters)
    folder = Path(parameters.output) / song.place
    targets = [folder / f"{name}.{parameters.format}" for name in names]
    told = _told(song, job)
    with claimed(folder, targets, told, overwrite=parameters.overwrite) as to_do:
        if to_do:
            _write_stems(song, targets, job)
        else:
            job.skip(song.label)
    return targets


def _told(song: Song, job: _Job) -> dict[str, Any]:
    """What decides the stems of a file, as far as it can be known without reading it."""
    file = Entry(path=song.path, stamp=uuid.uuid4().hex)  # unlike any other
    with suppress(DiscoveryError):  # decoding says what is wrong with the file
        file = (None if song.is_piped else look_up(song.fs, song.path)) or file
    elsewhere = {"workspace", "output", "overwrite", "device", "allow_import", "model", "report"}
    return {
        "file": song.label,
        "size": file.num_bytes,
        "written": file.stamp,
        "model": job.model_name,
        "how": job.parameters.model_dump(mode="json", exclude=elsewhere),
    }


def _write_stems(song: Song, targets: Sequence[Path], job: _Job) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    notes: list[str] = []

    def say(text: str) -> None:
        notes.append(text)
        job.complain(f"{song.label}: {text}")

    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(shown(song.place.name), total=None, done="decoding")
        with prepare_original(
            song.fs, song.path, lambda rate: encodable_rate(job.parameters.format, rate)
        ) as (audio, num_channels):
            if audio.truncated:
                say(f"breaks off; the {audio.duration_s:.1f} s that are there are separated")
            rate = job.model.config.sample_rate
            if (
                rate < HEARD_SHARE * min(audio.sample_rate, HEARD_RATE)
                and not job.parameters.add_up
            ):
                say(f"the model works at {rate} Hz: stems have nothing above {rate / 2000:g} kHz")
            bar.update(task, total=audio.duration_s, done="separating")

            def blocks() -> Iterator[NDArray[np.float32]]:
                done_s = 0.0
                for block in stems_of(audio, num_channels, job.model, job.parameters):
                    yield block
                    done_s += block.shape[-1] / audio.sample_rate
                    done = f"{done_s:.0f} of {audio.duration_s:.0f} s"
                    bar.update(task, completed=done_s, done=done)

            levels = _write(blocks(), audio, num_channels, targets, job.parameters, say)
            if job.report is not None:
                stems = list(zip(targets, levels, strict=True))
                job.report.separated(song.label, song.name, audio, stems, notes)


def _write(
    blocks: Iterator[NDArray[np.float32]],
    audio: PreparedAudio,
    num_channels: int,
    targets: Sequence[Path],
    parameters: SeparateParameters,
    say: Callable[[str], None],
) -> list[Level]:
    """Write stems, all or none; returns how loud they are."""
    names = [target.stem for target in targets]
    levels = [Level() for _ in targets]
    with writing(
        targets[0].parent,
        names,
        file_format=parameters.format,
        bits=parameters.bits,
        sample_rate=audio.sample_rate,
        num_channels=num_channels,
        num_samples=audio.num_samples,
    ) as writer:
        if parameters.bits != FLOATING_POINT:
            blocks = within_full_scale(blocks, names, parameters.clip, say)
        num_done = 0
        for block in blocks:
            writer.write(block)
            num_done += block.shape[-1]
            for level, stem in zip(levels, block, strict=True):
                level.hear(stem)
        assert num_done == audio.num_samples
    return levels
