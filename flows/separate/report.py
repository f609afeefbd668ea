"""What came of the files of one command: a report in the workspace that holds the model.

It is a page in ``reports/``, and an artifact where a Prefect server runs. To separate takes no
flow, so none is started for it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import soundfile
from numpy.typing import NDArray
from prefect.settings import PREFECT_API_URL

from flows.reports.artifacts import PLAYER_S, Report
from flows.reports.durations import spell
from flows.reports.markdown import plain, table
from flows.running.workspace_overview import SEPARATION, publish_overview
from flows.separate.level import Level
from flows.separate.options import SeparateParameters
from flows.server.best_effort import best_effort
from flows.server.pages import report_key, show_of_no_run
from storage.decoding.canonical import PreparedAudio
from storage.decoding.chunk import one_line
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

MAX_HEARD = 10
"""Songs with players; of a folder of a thousand, the page would be gigabytes."""

MAX_ROWS = 500
DONE, MIXTURE = "separated", "mixture"


@dataclass(kw_only=True)
class SongReport:
    """What came of a file.

    Attributes:
        file: its path or address.
        outcome: whether it was separated, skipped since it was before, or refused.
        duration_s: length.
        level_db: RMS level re full scale, of the file as ``mixture`` and by stem; None of silence.
        peak_db: peaks likewise. What is above 0 is beyond full scale.
        notes: what is not as it was in the file, or why the file was refused.
    """

    file: str
    outcome: str
    duration_s: float | None = None
    level_db: dict[str, float | None] = field(default_factory=dict)
    peak_db: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _ReportOfNoRun(Report):
    """A report that no flow run makes, shown by the server that runs, if one does."""

    def show(self, title: str, markdown: str) -> UUID | None:
        if PREFECT_API_URL.value():  # else Prefect would start one
            with best_effort("of the report"):
                return show_of_no_run(report_key(self.stage), markdown, plain(title, None))
        return None


class SeparationReport:
    """The report of one command.

    Args:
        workspace: that holds the model.
        model: its id.
        parameters: how it separates.
    """

    def __init__(self, workspace: Workspace, model: str, parameters: SeparateParameters) -> None:
        self._workspace, self._model, self._parameters = workspace, model, parameters
        run_id = f"{SEPARATION}{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._report = _ReportOfNoRun(workspace, "separate", run_id)
        self._songs: list[SongReport] = []
        self._num_heard = 0
        self._failed = ""

    def add(self, file: str, outcome: str, *notes: str) -> None:
        """Note of a file that it was not separated."""
        self._songs.append(SongReport(file=file, outcome=outcome, notes=list(notes)))

    def separated(
        self,
        file: str,
        name: str,
        audio: PreparedAudio,
        stems: Sequence[tuple[Path, Level]],
        notes: Sequence[str],
    ) -> None:
        """Note what came of a file, and if it is one of the first, let it be heard.

        Args:
            file: its path or address.
            name: what tells it from the other files, in short.
            audio: what is in it, in stereo.
            stems: the files that were written, and how loud they are.
            notes: what is not as it was in the file.
        """
        loud = audio.peak > 0
        song = SongReport(file=file, outcome=DONE, duration_s=audio.duration_s, notes=list(notes))
        song.level_db = {MIXTURE: audio.level_db - audio.gain_db if loud else None}
        song.peak_db = {MIXTURE: 20 * math.log10(audio.peak) if loud else None}
        for path, level in stems:
            song.level_db[path.stem], song.peak_db[path.stem] = level.level_db, level.peak_db
        self._songs.append(song)
        if self._num_heard < MAX_HEARD and not self._failed:
            self._num_heard += 1
            try:
                self._play(plain(name, None), audio, [path for path, _ in stems])
            except OSError as error:
                self._failed = one_line(error)

    def _play(self, name: str, audio: PreparedAudio, stems: Sequence[Path]) -> None:
        """Let the middle of a song and of its stems be heard."""
        rate = audio.sample_rate
        num = min(audio.num_samples, round(PLAYER_S * rate))
        start = (audio.num_samples - num) // 2
        self._report.text(f"### {name}")
        self._player(MIXTURE, audio.read(start, num), rate, f"{name}: {MIXTURE}")
        for stem in stems:
            heard, _ = soundfile.read(stem, num, start, dtype="float32", always_2d=True)
            self._player(stem.stem, heard.T, rate, f"{name}: **{plain(stem.stem)}**")

    def _player(self, stem: str, audio: NDArray[np.float32], rate: int, caption: str) -> None:
        self._report.player(f"{self._num_heard:02}-{stem}", audio, rate, caption)

    def publish(self) -> str:
        """Write the page; returns a line on it, or nothing where nothing was separated."""
        num_done = sum(song.outcome == DONE for song in self._songs)
        if not num_done:
            return ""
        title = f"separate: {num_done:,} of {len(self._songs):,} files with {self._model}"
        folder = self._report.folder
        if not self._failed:
            try:
                songs = [asdict(song) for song in self._songs]
                self._workspace.put_json(f"{folder}/songs.json", songs)
                self._report.publish(title, self._head())
                publish_overview(Manifests(self._workspace), in_ui=False)
            except OSError as error:
                self._failed = one_line(error)
        if self._failed:
            return f"no report: {self._workspace.location} can't be written ({self._failed})"
        return f"report: {self._workspace.url(f'{folder}/index.html')}"

    def _head(self) -> str:
        told = self._parameters
        how = [
            f"{told.format}, {told.bits} bits", f"clip {told.clip}", f"shifts {told.shifts}",
            f"pieces of {told.segment_s:g} s, {told.overlap:.0%} shared",
        ]  # fmt: skip
        if told.add_up:
            how.append("made to add up")
        lines = [
            f"- **Model:** `{self._model}`",
            f"- **Stems:** {plain(str(Path(told.output).absolute()), None)}",
            f"- **How:** {', '.join(how)}",
        ]
        rows = [_row(song) for song in self._songs[:MAX_ROWS]]
        columns = dict.fromkeys(column for row in rows for column in row)
        cells = [{column: row.get(column, "") for column in columns} for row in rows]
        more = len(self._songs) - MAX_ROWS
        sections = [
            "\n".join(lines),
            "RMS level and peak in dB re full scale; a peak above 0 is beyond it.",
            table(cells) + (f"\n\nand {more} more: see `songs.json`" if more > 0 else ""),
        ]
        if len(self._songs) > self._num_heard:
            sections.append(f"The first {self._num_heard} songs that were separated can be heard.")
        return "\n\n".join(sections)


def _row(song: SongReport) -> dict[str, str]:
    row = {"file": plain(song.file), "came of it": song.outcome}
    if song.duration_s is not None:
        row["length"] = spell(song.duration_s)
    for name, level_db in song.level_db.items():
        peak_db = song.peak_db[name]
        silent = level_db is None or peak_db is None
        row[plain(name)] = "silent" if silent else f"{level_db:.1f}, peak {peak_db:.1f}"
    if song.notes:
        row["note"] = plain("; ".join(song.notes), None)
    return row
