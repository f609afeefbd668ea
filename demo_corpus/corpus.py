"""Writes the demo corpus: a labelled set shaped like MUSDB18-HQ, and an unlabelled one.

Each song is one work item, which a caller may spread over processes by passing ``map`` (for
instance a ``ProcessPoolExecutor``'s). A finished song leaves a record in the truth folder; a later
call with the same parameters finds it and writes nothing, with others it replaces the song.
"""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from demo_corpus.composition import SHORTEST_S, compose
from demo_corpus.faults import write_faults
from demo_corpus.files import FORMATS, AudioFormat, appear_bytes, write_audio, write_pcm16
from demo_corpus.names import Credit, draw_credits
from demo_corpus.palette import ALL, InstrumentPool, pool
from demo_corpus.rendering import Stems, render
from demo_corpus.sampler import SAMPLE_RATE
from demo_corpus.splits import MUSDB, SPLITS, StemSplit
from demo_corpus.truth import HOP_SAMPLES, Levels, measure, write_truth

VERSION = 2
"""Raised when the generator's sound or layout changes, so that old songs are made anew."""

_LABELLED, _UNLABELLED = 0, 1

Map = Callable[[Callable[["SongJob"], None], Iterable["SongJob"]], Iterable[None]]


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """One file of a corpus and what it is.

    ``path`` is relative to the corpus and uses forward slashes. ``kind`` is "song" for usable
    music, or what is wrong with the file: the kinds of ``faults.write_faults``, "duplicate" (the
    bytes of another song) or "leak" (the bytes of a labelled test mixture); ``same_as`` is then
    that file's path. ``format`` is a name of ``files.FORMATS`` for songs.
    """

    path: str
    kind: str
    format: str = ""
    same_as: str = ""


@dataclass(frozen=True, kw_only=True)
class SongJob:
    """Everything that decides one song's files: the song's fingerprint is made of it."""

    seed: int
    stream: int
    index: int
    pool_name: str
    duration_s: float
    root: Path
    target: str
    record: Path
    audio_format: AudioFormat | None = None
    split_name: str = MUSDB.name
    sample_rate: int = SAMPLE_RATE
    num_channels: int = 2
    hop_samples: int = HOP_SAMPLES

    @property
    def split(self) -> StemSplit:
        """The stems that it is written as."""
        return SPLITS[self.split_name]

    def fingerprint(self) -> str:
        """Hash of what changes the song's content or place within the corpus."""
        facts = {**asdict(self), "version": VERSION}
        del facts["root"], facts["record"]
        if facts["audio_format"] is not None and facts["audio_format"]["sample_rate"] is None:
            facts["audio_format"]["sample_rate"] = SAMPLE_RATE
        for field in _LATER_FIELDS:  # so that corpora of before are still found complete
            if facts[field.name] == field.default:
                del facts[field.name]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


_LATER_FIELDS = [
    field for field in fields(SongJob)
    if field.name in ("split_name", "sample_rate", "num_channels", "hop_samples")
]  # fmt: skip


def write_labelled(
    root: Path,
    *,
    seed: int,
    num_train: int,
    num_test: int,
    num_valid: int = 0,
    duration_s: float = 40.0,
    instruments: InstrumentPool = ALL,
    split: StemSplit = MUSDB,
    sample_rate: int = SAMPLE_RATE,
    num_channels: int = 2,
    truth: Path | None = None,
    map: Map = builtins.map,
) -> list[Path]:
    """Write ``<root>/<train|valid|test>/<Artist - Title>/{mixture,<a stem each>}.wav``.

    16-bit WAV, by default 44.1 kHz stereo with the stems of MUSDB18; each mixture is exactly the
    sum of its stems. Records go to ``truth`` (default: ``truth/<name of root>`` beside ``root``).

    Returns:
        The song folders, split by split.

    Raises:
        ValueError: a count is negative, or ``duration_s`` too short for a song.
    """
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    _check(counts.values(), duration_s)
    truth = truth or root.parent / "truth" / root.name
    names = draw_credits(np.random.default_rng([seed, _LABELLED]), sum(counts.values()))
    subsets = [subset for subset, count in counts.items() for _ in range(count)]
    jobs = [
        SongJob(
            seed=seed,
            stream=_LABELLED,
            index=index,
            pool_name=instruments.name,
            duration_s=duration_s,
            root=root,
            target=f"{subset}/{credit.artist} - {credit.title}",
            record=truth / "songs" / f"{index:04d}.json",
            split_name=split.name,
            sample_rate=sample_rate,
            num_channels=num_channels,
        )
        for index, (subset, credit) in enumerate(zip(subsets, names, strict=True))
    ]
    _run(jobs, root, truth, write_labelled_song, map)
    return [root / job.target for job in jobs]


def write_unlabelled(
    root: Path,
    *,
    seed: int,
    num_songs: int,
    duration_s: float = 60.0,
    instruments: InstrumentPool = ALL,
    split: StemSplit = MUSDB,
    sample_rate: int = SAMPLE_RATE,
    hop_samples: int = HOP_SAMPLES,
    faults: bool = True,
    leaked: Path | None = None,
    truth: Path | None = None,
    map: Map = builtins.map,
) -> list[CorpusFile]:
    """Write mixtures in mixed formats, some broken files, and the truth beside the corpus.

    With ``faults``, the files of ``faults.write_faults``, a duplicate of the first song and, where
    ``leaked`` names a file (a labelled test mixture), its bytes under another name. ``truth``
    (default: ``truth/<name of root>`` beside ``root``) receives ``truth.parquet`` (see ``truth``)
    and ``files.json``, what this function returns. The truth is about the split's sources, in
    frames of ``hop_samples`` at ``sample_rate``, which is also the songs' own rate.

    Raises:
        ValueError: a count is negative, or ``duration_s`` too short for a song.
    """
    _check((num_songs,), duration_s)
    truth = truth or root.parent / "truth" / root.name
    names = draw_credits(np.random.default_rng([seed, _UNLABELLED]), num_songs)
    jobs = [
        SongJob(
            seed=seed,
            stream=_UNLABELLED,
            index=index,
            pool_name=instruments.name,
            duration_s=duration_s,
            root=root,
            target=_unlabelled_path(index, credit, FORMATS[index % len(FORMATS)]),
            record=truth / "songs" / f"{index:04d}.json",
            audio_format=FORMATS[index % len(FORMATS)],
            split_name=split.name,
            sample_rate=sample_rate,
            hop_samples=hop_samples,
        )
        for index, credit in enumerate(names)
    ]
    changed = _run(jobs, root, truth, write_unlabelled_song, map)
    files = [
        CorpusFile(path=job.target, kind="song", format=job.audio_format.name)
        for job in jobs
        if job.audio_format is not None
    ]
    if faults:
        files += _write_extras(root, truth, seed, jobs, leaked)
    if changed or not (truth / "truth.parquet").is_file():
        levels = {job.target: _levels(job) for job in jobs}
        levels |= {file.path: levels[file.same_as] for file in files if file.kind == "duplicate"}
        write_truth(truth / "truth.parquet", levels.items(), split.sources, hop_samples)
    listing = json.dumps([asdict(file) for file in files], indent=1, ensure_ascii=False)
    if _text(truth / "files.json") != listing:
        appear_bytes(truth / "files.json", listing.encode())
    return files


def compose_and_render(job: SongJob) -> Stems:
    """Stems (S, C, T) of a song."""
    rng = np.random.default_rng([job.seed, job.stream, job.index])
    instruments = pool(job.pool_name)
    song = compose(rng, instruments, job.duration_s)
    return render(
        rng,
        song,
        instruments,
        split=job.split,
        sample_rate=job.sample_rate,
        num_channels=job.num_channels,
    )


def write_labelled_song(job: SongJob) -> None:
    """Write a song's mixture and stems, then its record."""
    stems = compose_and_render(job)
    audio = {"mixture": stems.sum(axis=0, dtype=np.int16)}
    audio.update(zip(job.split.sources, stems, strict=True))
    paths = [f"{job.target}/{name}.wav" for name in audio]
    for path, samples in zip(paths, audio.values(), strict=True):
        write_pcm16(job.root / path, samples, job.sample_rate)
    _write_record(job, paths, {})


def write_unlabelled_song(job: SongJob) -> None:
    """Write a song's mixture in the job's format, then its record with the true levels."""
    assert job.audio_format is not None
    stems = compose_and_render(job)
    mixture = stems.sum(axis=0, dtype=np.int16).astype(np.float32) / np.float32(32_768)
    kept = write_audio(job.root / job.target, mixture, job.audio_format, job.sample_rate)
    levels = measure(
        stems[..., :kept],
        num_channels=job.audio_format.num_channels,
        hop_samples=job.hop_samples,
    )
    _write_record(
        job,
        [job.target],
        {"sources": levels.sources.tolist(), "mixture": levels.mixture.tolist()},
    )


def _unlabelled_path(index: int, credit: Credit, audio_format: AudioFormat) -> str:
    if index % 3 == 1:
        folder = f"{credit.artist}/{credit.album}"
        return f"{folder}/{index + 1:02d} {credit.title}{audio_format.extension}"
    return f"{credit.artist} - {credit.title}{audio_format.extension}"


def _check(counts: Iterable[int], duration_s: float) -> None:
    for count in counts:
        if count < 0:
            raise ValueError(f"a number of songs must be at least 0, not {count}")
    if not duration_s >= SHORTEST_S:
        raise ValueError(f"duration_s must be at least {SHORTEST_S}, not {duration_s}")


def _run(
    jobs: Sequence[SongJob],
    root: Path,
    truth: Path,
    write: Callable[[SongJob], None],
    spread: Map,
) -> bool:
    """Write the songs that are missing or made otherwise, remove those no longer wanted.

    Returns:
        Whether anything changed.
    """
    wanted = {job.record for job in jobs}
    stale = [path for path in sorted((truth / "songs").glob("*.json")) if path not in wanted]
    missing = [job for job in jobs if not _is_complete(job)]
    stale += [job.record for job in missing if job.record.is_file()]
    for record in stale:
        _remove_song(root, record)
    for _ in spread(write, missing):
        pass
    return bool(stale or missing)


def _remove_song(root: Path, record: Path) -> None:
    for name in json.loads(record.read_text())["files"]:
        path = root / name
        path.unlink(missing_ok=True)
        for folder in path.relative_to(root).parents:
            directory = root / folder
            if folder != Path() and directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()
    record.unlink()


def _is_complete(job: SongJob) -> bool:
    if not job.record.is_file():
        return False
    record = json.loads(job.record.read_text())
    return record["fingerprint"] == job.fingerprint() and all(
        (job.root / name).is_file() and (job.root / name).stat().st_size == size
        for name, size in record["files"].items()
    )


def _write_record(job: SongJob, paths: Iterable[str], levels: dict[str, Any]) -> None:
    files = {path: (job.root / path).stat().st_size for path in paths}
    record = {"fingerprint": job.fingerprint(), "files": files, "levels": levels}
    appear_bytes(job.record, json.dumps(record).encode())


def _levels(job: SongJob) -> Levels:
    levels = json.loads(job.record.read_text())["levels"]
    return Levels(
        sources=np.asarray(levels["sources"], np.float32),
        mixture=np.asarray(levels["mixture"], np.float32),
    )


def _write_extras(
    root: Path, truth: Path, seed: int, jobs: Sequence[SongJob], leaked: Path | None
) -> list[CorpusFile]:
    """Broken files and copies; written once for the same parameters."""
    originals: dict[str, tuple[Path, str]] = {}
    leaked_hash = ""
    if jobs:
        name = f"Copies/Best of{Path(jobs[0].target).suffix}"
        originals[name] = (root / jobs[0].target, jobs[0].target)
    if leaked is not None:
        originals["Copies/reference master.wav"] = (leaked, leaked.as_posix())
        leaked_hash = hashlib.sha256(leaked.read_bytes()).hexdigest()
    facts = [VERSION, seed, leaked_hash, {path: same for path, (_, same) in originals.items()}]
    stamp = json.dumps([*facts, *(job.fingerprint() for job in jobs[:1])])
    record = truth / "extras.json"
    known = json.loads(_text(record) or "{}")
    complete = known.get("stamp") == stamp and all(
        (root / path).is_file() for path in (*known["faults"].values(), *originals)
    )
    if not complete:
        kinds = write_faults(root, np.random.default_rng([seed, _UNLABELLED, 1, 1]))
        for path, (original, _) in originals.items():
            appear_bytes(root / path, original.read_bytes())
        known = {"stamp": stamp, "faults": kinds}
        appear_bytes(record, json.dumps(known).encode())
    copied = [
        CorpusFile(path=path, kind="leak" if original == leaked else "duplicate", same_as=same)
        for path, (original, same) in originals.items()
    ]
    return [CorpusFile(path=path, kind=kind) for kind, path in known["faults"].items()] + copied


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
