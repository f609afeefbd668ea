"""A report as a page of its own: what the Prefect UI shows of it, with every sound and spectrogram.

The page is ``index.html`` beside the files that it shows. It has no scripts, so it opens from the
disk as well as from the server of the workspace (:mod:`flows.server.report_pages`).
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from urllib.parse import quote

from markdown_it import MarkdownIt

from flows.reports.style import STYLE
from flows.server.pages import CAME_OF_IT
from storage.printable import shown

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def words(markdown: str) -> str:
    """Markdown of a report as HTML; markup in it is shown, not obeyed."""
    lines = (line for line in markdown.split("\n") if not line.startswith(CAME_OF_IT))
    rendered: str = _markdown.render("\n".join(lines))
    return rendered


def plot(file: str, caption: str) -> str:
    """A plot, by the name of its file."""
    text = html.escape(shown(caption))
    return (
        f'<figure class="plot"><figcaption>{text}</figcaption>'
        f'<img src="{quote(file)}" alt="{text}" loading="lazy"></figure>'
    )


def sound(file: str, spectrogram: str, caption: str) -> str:
    """A player over a spectrogram, by the names of their files; the caption is markdown."""
    return (
        f'<figure class="sound"><figcaption>{_markdown.renderInline(caption)}</figcaption>'
        f'<audio controls preload="none" src="{quote(file)}"></audio>'
        f'<img src="{quote(spectrogram)}" alt="spectrogram" loading="lazy"></figure>'
    )


def page(
    title: str,
    sections: Iterable[str],
    footer: str = "",
    overview: str = "",
    refresh_s: int = 0,
) -> bytes:
    """The whole page.

    Args:
        title: text.
        sections: HTML.
        footer: text.
        overview: where the page of the workspace is, from this one; empty on that itself.
        refresh_s: after how many seconds a browser loads it anew; never, if 0.
    """
    said = html.escape(shown(title))
    back = f'<nav><a href="{quote(overview)}">All of the workspace</a></nav>' if overview else ""
    body = "\n".join(sections)
    again = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{again}<title>{said}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head><body>\n{back}<h1>{said}</h1>\n{body}\n"
        f"<footer>{html.escape(footer)}</footer></body></html>\n"
    ).encode()
