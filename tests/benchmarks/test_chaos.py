"""The chaos finds what it is there to find, and strikes where it says."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.faults.case import Case
from benchmarks.faults.child import KILLED, Ran
from benchmarks.faults.compare import content, differences
from benchmarks.faults.hooks import PLACES, AtPut
from benchmarks.faults.kinds import KINDS
from benchmarks.faults.music import STAGES, command, fields
from flows.catalogue import BY_NAME
from storage import workspace as workspace_module
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

TRACKS = "manifests/tracks/corpus=music/fingerprint=f"
WHOLE = {TRACKS: Counter(["a", "b"]), "audio/music/aa/a.wav": Counter(["12"])}


def test_nothing_is_wrong() -> None:
    assert not differences(WHOLE, WHOLE)


@pytest.mark.parametrize(
    ("mine", "what"),
    [
        ({**WHOLE, TRACKS: Counter(["a"])}, ("lost",)),
        ({TRACKS: WHOLE[TRACKS]}, ("lost",)),
        ({**WHOLE, TRACKS: Counter(["a", "b", "b"])}, ("doubled",)),
        ({**WHOLE, TRACKS: Counter(["a", "b", "c"])}, ("different",)),
        ({**WHOLE, "audio/music/aa/a.wav": Counter(["34"])}, ("lost", "different")),
        ({**WHOLE, "models/m": Counter(["1"])}, ("different",)),
        ({**WHOLE, "left over": Counter([".x.tmp"])}, ("different",)),
    ],
)
def test_what_is_wrong_is_told(mine: dict[str, Counter[str]], what: tuple[str, ...]) -> None:
    found = differences(mine, WHOLE)
    assert tuple(name for name in ("lost", "doubled", "different") if getattr(found, name)) == what


def test_more_may_be_there_but_nothing_left_over() -> None:
    more = {**WHOLE, "models/m": Counter(["1"])}
    assert not differences(more, WHOLE, more_is_fine=True)
    assert differences({**more, "left over": Counter(["x"])}, WHOLE, more_is_fine=True)


@pytest.mark.parametrize("place", PLACES)
def test_it_strikes_once_where_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    there: list[list[str]] = []
    folder = tmp_path / "w" / "a"
    made = Workspace(str(tmp_path / "w"), create=True)
    monkeypatch.setattr(workspace_module, "_put_local", workspace_module._put_local)
    AtPut(1, place, lambda: there.append(sorted(path.name for path in folder.iterdir())))()
    for name in ("0", "1", "2"):
        made.put_bytes(f"a/{name}", name.encode() * 10)
    [names] = there
    assert ("1" in names) == (place == "after")
    assert any(name.endswith(".tmp") for name in names) == (place in ("half", "written"))
    assert [made.read(f"a/{name}") for name in ("0", "1", "2")] == [
        name.encode() * 10 for name in ("0", "1", "2")
    ]


def test_what_a_killed_writer_leaves_is_told(tmp_path: Path) -> None:
    made = Workspace(str(tmp_path / "w"), create=True)
    row = {"stage": "score", "item": "a", "source_bytes": 0, "reason": "x", "detail": "y"}
    Manifests(made).write(Partition("rejects", "music", "f"), ["a"], [row])
    (tmp_path / "w" / "manifests" / ".left.tmp").write_bytes(b"")
    found = content(made.location)
    assert found["left over"].total() == 1
    assert found["manifests/rejects/corpus=music/fingerprint=f"].total() == 1


def test_every_kind_has_its_name_and_its_stages() -> None:
    names = [kind.name for kind in KINDS]
    assert len(names) == len(set(names)) >= 20
    assert set(itertools.chain.from_iterable(kind.stages for kind in KINDS)) == set(STAGES)
    commands = [command(stage, Path("/root"), "w") for stage in STAGES]
    assert all(words[1:3] == ["--workspace", "w"] for words in commands)


@pytest.mark.parametrize("stage", STAGES)
def test_a_deployment_takes_what_the_command_is_given(stage: str) -> None:
    name, given = fields(stage, Path("/root"))
    model = BY_NAME[name].load_parameters()
    assert set(given) <= set(model.model_fields)
    words = command(stage, Path("/root"), "w")
    told = dict(zip(words[5::2], words[6::2], strict=False))
    assert all(given[option.removeprefix("--")] == told[option] for option in told)
    assert given.get("labelled", False) == ("--labelled" in words)


def test_what_hangs_or_never_ends_well_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(root=tmp_path, stage="score", draws=random.Random(0), num_puts=1)
    case.note("a command", Ran(status=KILLED, output="", is_hung=True))
    monkeypatch.setattr(case, "run", lambda: Ran(status=1, output=""))
    case.again()
    assert case.lost == ["a command hung", "score never ended well"]


def test_a_command_is_pointed_at_a_scheduler(tmp_path: Path) -> None:
    case = Case(root=tmp_path, stage="score", draws=random.Random(0), num_puts=1)
    assert "--dask-address" not in case.words
    case.dask_address = "tcp://127.0.0.1:1"
    assert case.words[-2:] == ["--dask-address", case.dask_address]
