"""Files of a workspace that are changed, cut, emptied and deleted behind its back.

The stage after it may end in a line that names the file. Then ``fsck --repair`` and the commands
that it tells are to make all of it again.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGKILL

from benchmarks.faults.case import EXIT_USER_ERROR, Case, snapshot
from benchmarks.faults.hooks import AtPut, kill

Harm = Callable[[random.Random, Path], object]


def flip(draws: random.Random, path: Path) -> None:
    """Change a few bits."""
    whole = bytearray(path.read_bytes())
    for _ in range(draws.choice((1, 8, 200))):
        whole[draws.randrange(len(whole))] ^= 1 << draws.randrange(8)
    path.write_bytes(bytes(whole))


def cut(draws: random.Random, path: Path) -> None:
    """Cut it off somewhere."""
    whole = path.read_bytes()
    path.write_bytes(whole[: draws.randrange(len(whole))])


def empty(_: random.Random, path: Path) -> None:
    """Leave nothing in it."""
    path.write_bytes(b"")


def delete(_: random.Random, path: Path) -> None:
    """Delete it."""
    path.unlink()


def _harm(case: Case, patterns: Sequence[str], harm: Harm) -> None:
    found = sorted(path for pattern in patterns for path in case.workspace.glob(pattern))
    if not found:
        case.said.append("nothing of that kind is there yet")
        return
    path = case.draws.choice(found)
    case.said.append(f"{harm.__name__} {path.relative_to(case.workspace)}")
    harm(case.draws, path)
    ran = case.run()
    if ran.status not in (0, EXIT_USER_ERROR):
        case.unclear += not ran.is_traceback
    case.repair()


PARTS = ("manifests/tracks/*/*/*", "manifests/stems/*/*/*", "manifests/activity/*/*/*",
         "manifests/scores/*/*/*", "manifests/segments/*/*/*", "manifests/remixes/*/*/*",
         "manifests/rejects/*/*/*")  # fmt: skip
AUDIO = ("audio/music/*/*.wav", "audio/labelled/*/*.wav")
WEIGHTS = ("detectors/*/weights.safetensors", "models/*/weights.safetensors")
DESCRIPTIONS = ("detectors/*/config.json", "models/*/config.json")


def part_flipped(case: Case) -> None:
    """Bits of a part."""
    _harm(case, PARTS, flip)


def part_cut(case: Case) -> None:
    """A part that is cut off, or empty."""
    _harm(case, PARTS, case.draws.choice((cut, empty)))


def part_deleted(case: Case) -> None:
    """A part that is gone."""
    _harm(case, PARTS, delete)


def audio_flipped(case: Case) -> None:
    """Bits of a WAV."""
    _harm(case, AUDIO, flip)


def audio_cut(case: Case) -> None:
    """A WAV that is cut off, or empty."""
    _harm(case, AUDIO, case.draws.choice((cut, empty)))


def audio_deleted(case: Case) -> None:
    """A WAV that is gone."""
    _harm(case, AUDIO, delete)


def weights_harmed(case: Case) -> None:
    """Weights of a detector or model: bits, cut, empty, gone."""
    _harm(case, WEIGHTS, case.draws.choice((flip, cut, empty, delete)))


def description_harmed(case: Case) -> None:
    """A description of a detector or model: cut, empty, gone."""
    _harm(case, DESCRIPTIONS, case.draws.choice((cut, empty, delete)))


def checkpoint_harmed(case: Case) -> None:
    """A training is killed, and its checkpoint comes to harm."""
    number = case.draws.randrange(2, case.num_puts)
    case.run(before=AtPut(number, "after", kill(SIGKILL)))
    _harm(case, ("models/*/checkpoint*", "detectors/*/checkpoint*"),
          case.draws.choice((flip, cut, empty)))  # fmt: skip


def marker_harmed(case: Case) -> None:
    """``workspace.json``: cut, empty, other JSON; then somebody restores it, as it is told."""
    marker = case.workspace / "workspace.json"
    marker.write_text(case.draws.choice(('{"format": 1', "", "[]", "[" * 9_999, '{"format": 99}')))
    ran = case.run()
    if ran.status != EXIT_USER_ERROR or "workspace" not in ran.output:
        case.unclear += not ran.is_traceback
    shutil.copy(snapshot(case.root, case.stage) / "workspace.json", marker)
