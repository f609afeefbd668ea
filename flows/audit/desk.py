"""An audit for one who sits at a page: what is asked, how it sounds and looks, what is answered."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from flows.audit.bands import band_of
from flows.audit.options import AuditParameters
from flows.audit.result import precision_rows
from flows.audit.sample import (
    Answer,
    Clip,
    answers_of,
    audit_of,
    draw_clips,
    take_back,
    write_answers,
)
from flows.reports.spectrogram import LOWEST_HZ, spectrogram_png
from storage.errors import UserError
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

AROUND_S = 2.0
"""Heard before a segment and after it."""

MAX_SAMPLES = 4
"""Audits that are remembered; an older one is drawn again when its page is loaded again."""


class UnknownClipError(UserError):
    """A clip of an audit that is not open here."""


@dataclass(frozen=True, kw_only=True)
class OpenAudit:
    """An audit that a page is about.

    Attributes:
        parameters: what it was told.
        answers: their partition.
        clips: the sample.
        seen: the parts of the answers when ``given`` was read.
        given: what was answered, by the names of the clips.
    """

    parameters: AuditParameters
    answers: Partition
    clips: list[Clip]
    seen: set[str] = field(default_factory=set)
    given: dict[str, Answer] = field(default_factory=dict)


class AuditDesk:
    """Audits of one workspace.

    Args:
        workspace: whose segments are heard.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._reader = CropReader(workspace.location)
        self._open: OrderedDict[str, OpenAudit] = OrderedDict()
        self._lock = threading.Lock()
        self._band = cache(lambda source: band_of(Manifests(workspace), source))

    def open(self, parameters: AuditParameters) -> dict[str, Any]:
        """Draw the sample; returns what a page has to know, JSON-able.

        Raises:
            UserError: there are no segments to hear.
        """
        manifests = Manifests(self.workspace)
        answers = audit_of(manifests, parameters)
        with self._lock:
            audit = self._open.get(answers.fingerprint)
            if audit is None:
                clips = draw_clips(manifests, parameters)
                audit = OpenAudit(parameters=parameters, answers=answers, clips=clips)
                self._open[answers.fingerprint] = audit
            self._open.move_to_end(answers.fingerprint)
            while len(self._open) > MAX_SAMPLES:
                self._open.popitem(last=False)
            _refresh(manifests, audit)
        return {
            "audit": answers.fingerprint,
            "clips": [
                {
                    "source": clip.row["source"],
                    "duration_s": clip.row["duration_s"],
                    "answer": audit.given.get(clip.name),
                }
                for clip in audit.clips
            ],
            "around_s": AROUND_S,
            "hz": [LOWEST_HZ, self.workspace.music.sample_rate / 2],
            "bands_hz": {
                source: self._band(source)
                for source in sorted({clip.row["source"] for clip in audit.clips})
            },
        }

    def sound(self, audit: str, number: int) -> bytes:
        """A segment, and what is around it, as a WAV file."""
        buffer = io.BytesIO()
        rate = self.workspace.music.sample_rate
        soundfile.write(buffer, self._heard(audit, number).T, rate, format="WAV")
        return buffer.getvalue()

    def picture(self, audit: str, number: int) -> bytes:
        """Its spectrogram as a PNG file, as high as :func:`spectrogram_png` makes it."""
        return spectrogram_png(self._heard(audit, number), self.workspace.music.sample_rate)

    def answer(self, audit: str, number: int, answer: Answer) -> None:
        """Keep what somebody heard; an answer that was given before is taken back first.

        Where the machine is lost in between, the segment is asked about again.
        """
        manifests = Manifests(self.workspace)
        with self._lock:
            found, clip = self._find(audit, number)
            _refresh(manifests, found)
            if found.given.get(clip.name) == answer:
                return
            if clip.name in found.given:
                take_back(manifests, found.answers, {clip.name: answer})
            write_answers(manifests, found.answers, {clip.name: answer}, [clip])
            found.given[clip.name] = answer
            found.seen.clear()
            found.seen.update(manifests.parts(found.answers))

    def said(self, audit: str) -> list[dict[str, Any]]:
        """What the answers say so far, a row a source."""
        with self._lock:
            found = self._audit(audit)
        told = found.parameters
        manifests = Manifests(self.workspace)
        return precision_rows(manifests, found.answers, told.target_precision, told.confidence)

    def _heard(self, audit: str, number: int) -> NDArray[np.float32]:
        with self._lock:
            _, clip = self._find(audit, number)
        around = round(AROUND_S * self.workspace.music.sample_rate)
        num = clip.stop_sample - clip.start_sample + 2 * around
        return self._reader(clip.path, clip.start_sample - around, num)

    def _audit(self, audit: str) -> OpenAudit:
        if audit not in self._open:
            raise UnknownClipError(f"audit {audit!r} is not open here; load the page again")
        return self._open[audit]

    def _find(self, audit: str, number: int) -> tuple[OpenAudit, Clip]:
        found = self._audit(audit)
        if not 0 <= number < len(found.clips):
            raise UnknownClipError(f"audit {audit!r} has {len(found.clips)} clips, no {number}")
        return found, found.clips[number]


def _refresh(manifests: Manifests, audit: OpenAudit) -> None:
    """Read what was answered, where somebody else wrote since."""
    parts = set(manifests.parts(audit.answers))
    if parts == audit.seen:
        return
    audit.seen.clear()
    audit.seen.update(parts)
    audit.given.clear()
    audit.given.update(answers_of(manifests, audit.answers))
