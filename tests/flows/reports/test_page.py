"""A report as HTML: its words as they are, whatever a file or a song is called."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest

from flows.reports import page
from flows.reports.markdown import plain, sentence
from flows.reports.spectrogram import spectrogram_png
from flows.server.pages import CAME_OF_IT

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Elements(HTMLParser):
    """Names and attributes of a page's elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_move_no_cursor() -> None:
    """Of a page that somebody looks at in a terminal."""
    name = "a\x1b[2J.wav"
    made = page.page(name, [page.plot("a.png", name), page.sound("a.mp3", "s.png", plain(name))])
    assert b"\x1b" not in made
    assert made.count(rb"\x1b[2J") == 5


def test_names_are_no_markup() -> None:
    sections = [
        page.words(f"{plain(HOSTILE, None)} and, not made plain, {HOSTILE}"),
        page.plot(f"{HOSTILE}.png", HOSTILE),
        page.sound(f"{HOSTILE}.mp3", "s.png", plain(HOSTILE, None)),
        page.words(f"[a link](javascript:alert(3)) {HOSTILE}"),
    ]
    made = page.page(HOSTILE, sections, HOSTILE).decode()
    found = Elements(made).found
    assert not {"script"} & {tag for tag, _ in found}
    assert not [attributes for _, attributes in found if "onerror" in attributes]
    assert not [a for _, a in found if (a.get("href") or "").startswith("javascript")]
    sources = [attributes["src"] for _, attributes in found if "src" in attributes]
    assert len(sources) == 3
    assert not [source for source in sources if source and re.search(r"[<>\" ]", source)]
    assert made.count("alert(1)") >= 6, "they are shown"


def test_words_are_rendered() -> None:
    html = page.words(
        f"### Rejected\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n{CAME_OF_IT} nothing"
    )
    assert "<h3>Rejected</h3>" in html
    assert "<td><strong>2</strong></td>" in html
    assert "Came of it" not in html, "a page is not written again"


def test_a_command_in_a_sentence_is_code_and_a_name_is_no_markup() -> None:
    html = page.words(sentence(f"{HOSTILE} and `a_*b*` is gone: run `silentmix fsck --repair`"))
    assert "<code>silentmix fsck --repair</code>" in html
    assert "<code>a_*b*</code>" in html
    assert {tag for tag, _ in Elements(html).found} == {"p", "code"}
    hostile_code = page.words(sentence(f"run `{HOSTILE}` or `x"))
    assert {tag for tag, _ in Elements(hostile_code).found} == {"p", "code"}


@pytest.mark.parametrize("num_samples", [0, 100, 30_000])
def test_a_tone_is_a_line_at_its_frequency(num_samples: int) -> None:
    rate, hertz = 16_000, 1_000
    tone = np.sin(2 * np.pi * hertz * np.arange(num_samples) / rate).astype(np.float32)
    picture = matplotlib.image.imread(io.BytesIO(spectrogram_png(np.stack([tone, tone]), rate)))
    assert picture.shape[0] == 128
    if num_samples > 1_000:
        brightest = 127 - int(np.argmax(picture[..., :3].sum(axis=(1, 2))))
        at_hz = 40 * (rate / 2 / 40) ** (brightest / 127)
        assert at_hz == pytest.approx(hertz, rel=0.06)
