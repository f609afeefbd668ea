"""Pages that change while the work goes on, such as a plot that grows.

In the Prefect UI each is one artifact, which is written anew in place, so that the server's
database does not grow with the time that a training takes. A plot is on the page of the run's
report too, which loads itself anew until the report is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from matplotlib.figure import Figure
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client

from flows.reports.artifacts import Report, image, png_of
from flows.server.best_effort import best_effort
from flows.server.pages import rewrite

INTERVAL_S = 10.0
SHARE_OF_TIME = 0.01
"""Of the work's time that drawing and telling may take; where they are slow, they are rarer."""


class LivePage:
    """A page that is there from the first time that something is written on it.

    Args:
        key: of the artifact.
        caption: what it shows.
    """

    def __init__(self, key: str, caption: str) -> None:
        self._key, self.caption = key, caption
        self._artifact: UUID | None = None

    def write(self, markdown: str) -> None:
        """Put this on it, in place of what was there."""
        with best_effort("of a plot", retries=0):
            if self._artifact is None:
                made = create_markdown_artifact(markdown, key=self._key, description=self.caption)
                assert isinstance(made, UUID)  # a coroutine in an asynchronous flow alone
                self._artifact = made
            else:
                with get_client(sync_client=True) as client:
                    rewrite(client, self._artifact, markdown)


class LivePlot:
    """A plot of something that changes; nothing happens between two of its dates.

    Args:
        report: of the run.
        key: of the artifact, after the stage's name.
        caption: what it shows.
        draw: makes the figure of what there is by now.
        words: makes the markdown above it.
    """

    def __init__(
        self,
        report: Report,
        key: str,
        caption: str,
        draw: Callable[[], Figure],
        words: Callable[[], str] = str,
    ) -> None:
        self._report, self._page = report, LivePage(f"{report.stage}-{key}", caption)
        self._draw, self._words = draw, words
        self._due = time.monotonic() + INTERVAL_S

    def update(self) -> None:
        """Draw it anew if it is time to; call it as often as you like."""
        if time.monotonic() >= self._due:
            self.publish()

    def publish(self, *, goes_on: bool = True) -> None:
        """Draw it anew."""
        began = time.monotonic()
        caption, png = self._page.caption, png_of(self._draw())
        words = self._words()
        link = ""
        with suppress(OSError):  # a full disk is told by who writes what matters
            link = self._report.show_so_far(caption, words, png, goes_on=goes_on)
        link = link and f"[A page that loads itself anew]({link})"
        self._page.write("\n\n".join(filter(None, [link, words, image(caption, png)])))
        now = time.monotonic()
        self._due = now + max(INTERVAL_S, (now - began) / SHARE_OF_TIME)


@contextmanager
def live_plot(
    report: Report,
    key: str,
    caption: str,
    draw: Callable[[], Figure],
    words: Callable[[], str] = str,
) -> Iterator[LivePlot]:
    """A plot that is drawn while the block runs and, whatever comes of it, once at its end."""
    plot = LivePlot(report, key, caption, draw, words)
    try:
        yield plot
    finally:
        plot.publish(goes_on=False)
