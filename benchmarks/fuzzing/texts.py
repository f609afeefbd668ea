"""Texts that strangers write: YAML, museval's JSON, lists, answers, parameters of runs, SQL."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import ValidationError

from benchmarks.fuzzing.target import Bytes, CrashError, in_short
from flows.catalogue import CATALOGUE
from flows.cli.configuration import load_config, stage_section
from flows.running.wrong_values import describe
from flows.separate.song_files import find_songs
from storage.errors import UserError
from storage.finding.discovery import find_audio
from storage.museval_folder import read_results, result_path
from storage.museval_json import to_museval


class Yaml(Bytes):
    """A configuration file, up to the parameters of each stage."""

    name = "yaml"
    own_tokens = (
        b"&a ", b"*a", b"<<: *a\n", b"- ", b"? ", b": ", b"!!python/object/apply:os.system [id]",
        b"!!binary ", b"!!set ", b"!!timestamp ", b"%YAML 9.9\n---\n", b"|\n", b">+9\n", b"{", b"[",
        b"]", b"}", b"\t", b"\xef\xbb\xbf", b"\xff\xfe", b"0x", b"1e999", b".inf", b"~", b"''",
        b"2026-99-99", b"1:2:3", b"!!int 'x'", b"!!float 'x'", b"\xc2\x85", b"\xe2\x80\xa8",
    )  # fmt: skip

    def seeds(self) -> list[bytes]:
        """Configurations that are right, one with anchors, and one that multiplies itself."""
        letters = pairwise("abcdefghijklmnopqrstuvwx")
        lines = [f"{after}: &{after} [*{name}, *{name}]\n" for name, after in letters]
        bomb = "".join(("a: &a [x, x]\n", *lines))
        return [
            b"workspace: here\nlabelled: /music/set\nunlabelled: /music/rest\nworkers: 2\n"
            b"train:\n  steps: 10\n  channels: 4\nextract: {target_precision: 0.9}\n",
            b"score: &s\n  batch_tracks: 4\nremix: {max_stem_s: 3.0, match: true}\n",
            bomb.encode(),
        ]

    def run(self, content: bytes, draws: random.Random) -> str:
        """Read it, and take a stage's fields from it."""
        path = self.folder / "case.yaml"
        path.write_bytes(content)
        entry = draws.choice(CATALOGUE)
        known = {each.name: set(each.load_parameters().model_fields) for each in CATALOGUE}
        known[""] = set[str]().union(*known.values())
        try:
            fields = stage_section(load_config(str(path)), entry.name, known)
            told = entry.load_parameters().model_validate(fields)
        except ValidationError as error:
            return in_short(describe(error))
        except UserError as error:
            return in_short(error)
        return f"parameters of {type(told).__name__}"


class Museval(Bytes):
    """Somebody's scores of a song, as they publish them, packed or not."""

    name = "museval"
    own_tokens = (b"NaN", b"Infinity", b"-1e999", b"null", b"9" * 400, b'"targets"', b"{}",
                  b'"frames"', b'"metrics"', b'{"SDR":', b"[" * 3000, b"\x1f\x8b")  # fmt: skip

    def seeds(self) -> list[bytes]:
        """Scores of two sources, as they are and packed, and zeros that pack well."""
        values = {name: np.array([1.5, np.nan, -3.0]) for name in ("SDR", "ISR", "SIR", "SAR")}
        text = to_museval({"bass": values, "drums": values}, 1.0, 1.0)
        return [text, gzip.compress(text), gzip.compress(b"[" + b"0," * 2**20 + b"0]")]

    def run(self, content: bytes, draws: random.Random) -> str:  # noqa: ARG002
        """Read the folder that holds it."""
        folder = self.folder / "method"
        shutil.rmtree(folder, ignore_errors=True)
        suffix = ".gz" if content[:1] == b"\x1f" else ""
        path = Path(result_path(str(folder), "A - B") + suffix)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        try:
            found = read_results(str(folder), ["A - B"])
        except UserError as error:
            return in_short(error)
        for metrics in found["A - B"].values():
            if not all(isinstance(value, float) for value in metrics.values()):
                raise CrashError(f"scores are {metrics!r:.100}")
        return f"read, {min(len(found['A - B']), 3)} sources"


class Lists(Bytes):
    """A list or a playlist: what it names, and where the stems of that would go."""

    name = "lists"
    own_tokens = (
        b"#EXTM3U\n", b"#EXTINF:1,a\n", b"...wav\n", b"..\n", b"../x.wav\n", b"/\n", b"~\n",
        b"~x/a\n", b"a.wav\n", b"%2e%2e%2fa.wav\n", b"a\\..\\b.wav\n", b"file:///etc/passwd\n",
        b"memory://a.wav\n", b"file://a%00.wav\n", b"\xff\xfe", b"\xfe\xff\0a", b"\xef\xbb\xbf",
        b"\r", b"\x85", b"*.wav\n", b"[a].wav\n", b"local://a.wav\n", b"simplecache::file:///a\n",
        b"zip://a.wav::x.zip\n", b"data:,x\n", b"\x1b[2J.wav\n", b"con.wav\n", b".wav\n",
        b"a.wav/\n", b"x" * 5000 + b"\n",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("a.wav", "[a].wav", "é.mp3", "album/b.flac"):
            path = folder / "music" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")

    def seeds(self) -> list[bytes]:
        """What players write."""
        return [
            b"a.wav\nalbum/b.flac\n",
            "#EXTM3U\n#EXTINF:123,Name\né.mp3\n".encode(),
            "a.wav\r\n\\album\\b.flac\r\n%C3%A9.mp3\r\n".encode("utf-16"),
            b"\xe9.mp3\n[a].wav\n",
        ]

    def mutated(
        self, draws: random.Random, content: bytes, tokens: Sequence[bytes], pool: Sequence[bytes]
    ) -> bytes:
        """Without addresses of other machines: whoever names one in a list wants it read."""
        local = [token for token in tokens if b"://127" not in token]
        return super().mutated(draws, content, local, pool)

    def run(self, content: bytes, draws: random.Random) -> str:
        """Look up what it names, and give the stems of each their place."""
        path = self.folder / "music" / draws.choice(("list.txt", "list.m3u", "list.m3u8"))
        path.write_bytes(content)
        if b"://" in content.replace(b"file://", b"").replace(b"memory://", b""):
            return "not tried: names another machine"
        try:
            _, files = find_audio(str(path))
            for file in files:
                file.url.encode()
        except UserError as error:
            return in_short(error)
        finally:
            songs, problems = find_songs([str(path)], self.folder / "stems")
            path.unlink()
        for song in songs:
            inside(song.place)
            if not song.label.isprintable():
                raise CrashError(f"label {song.label!r}")
        if len({str(song.place).casefold() for song in songs}) != len(songs):
            raise CrashError("two songs have one place")
        return f"{min(len(songs), 3)} songs or more, {in_short(problems)}"


def inside(place: PurePosixPath) -> None:
    """Refuse a place that leads out of its folder."""
    if place.is_absolute() or ".." in place.parts or not place.parts or "\0" in str(place):
        raise CrashError(f"stems would go to {place!r}")
