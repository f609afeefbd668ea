"""What music a new workspace is to hold, as options: of ``init``, and of the first ingest."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, field_validator

from flows.running.parameters import RUNTIME, Options
from storage.music_format import MusicFormat
from storage.workspace import Workspace


class MusicOptions(Options):
    """Sources, sample rate and channels: said once, kept by the workspace.

    None of them is in a fingerprint as an option: what the workspace says is, where it matters.
    """

    sources: Annotated[list[str], RUNTIME] = Field(
        [],
        description="Sources of a new workspace, in order; drums, bass, other, vocals unless told. "
        " An existing workspace has its own.",
    )
    sample_rate: Annotated[int, RUNTIME] = Field(
        0, ge=0, description="Samples a second of a new workspace; 0 takes 44100."
    )
    channels: Annotated[int, RUNTIME] = Field(
        0, ge=0, le=2, description="Channels of a new workspace: 1, or 2, which 0 takes."
    )

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, sources: list[str]) -> list[str]:
        if sources:
            MusicFormat(sources=tuple(sources))
        return sources

    @field_validator("sample_rate")
    @classmethod
    def _check_rate(cls, sample_rate: int) -> int:
        if sample_rate:
            MusicFormat(sample_rate=sample_rate)
        return sample_rate

    def music_in(self, location: str) -> MusicFormat:
        """What the workspace there holds, or will once it is made.

        Raises:
            UserError: it can't be made, or holds other music than these options say.
        """
        given: dict[str, Any] = {
            "sources": tuple(self.sources),
            "sample_rate": self.sample_rate,
            "num_channels": self.channels,
        }
        there = Workspace.check(location, create=True).music
        music = replace(there, **{name: value for name, value in given.items() if value})
        Workspace.check(location, create=True, music=music)
        return music

    def begin(self, location: str, *, dry_run: bool = False) -> Workspace:
        """The workspace there, made if need be, but not by a dry run.

        Raises:
            UserError: as :meth:`music_in`.
        """
        opened = Workspace.check if dry_run else Workspace
        return opened(location, create=True, music=self.music_in(location))


class InitParameters(MusicOptions):
    """Where to begin a workspace, and for what music."""

    workspace: Annotated[str, RUNTIME] = Field(
        "workspace", description="Folder or URL (s3://…, gs://…) to begin it in."
    )
