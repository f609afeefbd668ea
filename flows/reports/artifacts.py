"""What a person sees of a stage in the Prefect UI, and finds again as files in ``reports/``.

The UI renders markdown with data-URI images and ``<audio controls>``; an artifact stays below
:data:`MAX_ARTIFACT_BYTES`. The whole report, with a spectrogram of every sound, is a page of its
own (:mod:`flows.reports.page`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import matplotlib.figure
import numpy as np
import soundfile
import soxr
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.reports import page
from flows.reports.ink import on_any_ground
from flows.reports.markdown import data_uri, plain
from flows.reports.spectrogram import spectrogram_png
from flows.server.best_effort import best_effort
from flows.server.pages import report_key, report_page
from storage.encode import encodable_rate
from storage.workspace import Workspace

MAX_ARTIFACT_BYTES = 2_000_000
HEAD_BYTES = 50_000
"""Left free for what a report begins with."""

PLAYER_S = 12.0

WHERE_LINKS_LEAD = "Links to runs and to answers by ear lead there where `silentmix up` shows it."
SO_FAR = "so-far.png"
REFRESH_S = 15


class Report:
    """One stage run's tables, plots and sounds, shown in the UI and kept in ``reports/<run>/``."""

    def __init__(self, workspace: Workspace, stage: str, run_id: str) -> None:
        self.workspace, self.stage = workspace, stage
        self.folder = f"reports/{run_id}"
        self._sections: list[str] = []
        self._on_page: list[str] = []
        self._size = 0

    def table(self, key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
        """A table artifact of its own, for rows a person reads."""
        with best_effort("of a table"):
            create_table_artifact(
                table=[dict(row) for row in rows],
                key=f"{self.stage}-{key}",
                description=description,
            )
        self.workspace.put_json(f"{self.folder}/{key}.json", [dict(row) for row in rows])

    def text(self, markdown: str) -> None:
        """A paragraph of the report."""
        self._append(markdown, page.words(markdown))

    def plot(self, name: str, figure: matplotlib.figure.Figure, caption: str) -> None:
        """A plot of the report."""
        png = png_of(figure)
        self.workspace.put_bytes(f"{self.folder}/{name}.png", png)
        self._append(f"**{caption}**\n\n{image(caption, png)}", page.plot(f"{name}.png", caption))

    def player(self, name: str, audio_ct: np.ndarray, sample_rate: int, caption: str) -> None:
        """A player of the report: at most :data:`PLAYER_S` seconds, as MP3, at a rate that it has.

        Args:
            name: file name without its ending.
            audio_ct: audio of shape ``(C, T)``.
            sample_rate: samples a second.
            caption: what it is.
        """
        spectrogram = f"{name}-spectrogram.png"
        png = spectrogram_png(audio_ct[:, : int(PLAYER_S * sample_rate)], sample_rate)
        self.workspace.put_bytes(f"{self.folder}/{spectrogram}", png)
        self._append(
            self.sound(name, audio_ct, sample_rate, caption),
            page.sound(f"{name}.mp3", spectrogram, caption),
        )

    def sound(self, name: str, audio_ct: np.ndarray, sample_rate: int, caption: str) -> str:
        """As :meth:`player`, but as markdown for another page; the file is among the report's."""
        mp3 = mp3_of(audio_ct[:, : int(PLAYER_S * sample_rate)], sample_rate)
        self.workspace.put_bytes(f"{self.folder}/{name}.mp3", mp3)
        return f'{caption}\n\n<audio controls src="{data_uri("audio/mpeg", mp3)}"></audio>'

    def _append(self, section: str, on_page: str) -> None:
        self._on_page.append(on_page)
        if self._size + len(section) > MAX_ARTIFACT_BYTES - HEAD_BYTES:
            return  # the page has it, and the file in reports/ is there all the same
        self._sections.append(section)
        self._size += len(section)

    def show_so_far(self, caption: str, markdown: str, png: bytes, *, goes_on: bool) -> str:
        """Have the page show a plot until the report is there; returns where, if it is served.

        Args:
            caption: of the plot.
            markdown: goes before it.
            png: the plot.
            goes_on: the page loads itself anew now and then.
        """
        self.workspace.put_bytes(f"{self.folder}/{SO_FAR}", png)
        sections = [page.words(markdown), page.plot(SO_FAR, caption)]
        self._put_page(f"{self.stage}, so far", sections, refresh_s=REFRESH_S if goes_on else 0)
        return report_page(self.workspace, self.folder)

    def _put_page(self, title: str, sections: Sequence[str], *, refresh_s: int = 0) -> None:
        self.workspace.put_bytes(
            f"{self.folder}/index.html",
            page.page(
                title, sections, f"{self.folder} in {self.workspace.location}. {WHERE_LINKS_LEAD}",
                overview="../" * self.folder.count("/") + "index.html", refresh_s=refresh_s,
            ),
        )  # fmt: skip

    def publish(self, title: str, head: str = "") -> UUID | None:
        """Show the report in the UI, and keep it as markdown and as a page.

        Args:
            title: what it is about, which the UI shows above it; a text, whatever is in it.
            head: markdown that goes before all else.

        Returns:
            The artifact's id, if the server could be told.
        """
        link = report_page(self.workspace, self.folder)
        first = [link and f"[This report as a page, with every sound]({link})", head]
        markdown = "\n\n".join([*filter(None, first), *self._sections])
        self._put_page(title, [page.words(head), *self._on_page])
        if self.workspace.exists(f"{self.folder}/{SO_FAR}"):
            self.workspace.remove(f"{self.folder}/{SO_FAR}")
        self.workspace.put_bytes(
            f"{self.folder}/report.md", f"# {plain(title, None)}\n\n{markdown}".encode()
        )
        return self.show(title, markdown)

    def show(self, title: str, markdown: str) -> UUID | None:
        """Show other markdown in the UI in place of the report; see :meth:`publish`."""
        made: object = None
        told = plain(title, None)  # the UI shows it as markdown too
        with best_effort("of the report"):
            made = create_markdown_artifact(markdown, key=report_key(self.stage), description=told)
        return made if isinstance(made, UUID) else None


def mp3_of(audio_ct: np.ndarray, sample_rate: int) -> bytes:
    """Audio of shape ``(C, T)`` as an MP3 file, at a rate that MP3 has."""
    rate = encodable_rate("mp3", sample_rate)
    if rate != sample_rate:
        audio_ct = soxr.resample(audio_ct.T, sample_rate, rate).T
    buffer = io.BytesIO()
    clipped = np.clip(audio_ct.T, -1.0, 1.0)
    soundfile.write(buffer, clipped, rate, format="MP3", compression_level=0.5)
    return buffer.getvalue()


def png_of(figure: matplotlib.figure.Figure) -> bytes:
    """A figure as a PNG file, for a light page or a dark one."""
    on_any_ground(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()


def image(caption: str, png: bytes) -> str:
    """A PNG file as markdown."""
    return f"![{caption}]({data_uri('image/png', png)})"
