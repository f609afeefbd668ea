"""The fuzzer finds what it is there to find, and the product withstands a taste of it."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from benchmarks.fuzzing.mutation import mutated, mutated_value
from benchmarks.fuzzing.tables import Parts
from benchmarks.fuzzing.target import CrashError, in_short
from benchmarks.fuzzing.texts import Lists, Museval, Yaml
from benchmarks.fuzzing.watch import Sentinel
from benchmarks.fuzzing.weights import Weights


def test_a_case_is_the_same_each_time() -> None:
    cases = [mutated(random.Random(7), bytes(range(256)), [b"abc"], [b"xyz"]) for _ in range(2)]
    assert cases[0] == cases[1] != bytes(range(256))
    values = [repr(mutated_value(random.Random(3), {"a": [1, {"b": 2}]})) for _ in range(2)]
    assert values[0] == values[1] != repr({"a": [1, {"b": 2}]})


def test_answers_of_one_kind_are_told_in_one_way() -> None:
    one, other = "/tmp/x/a.parquet: damaged (at byte 12)", "/tmp/y/b.parquet: damaged (at byte 7)"
    assert in_short(one) == in_short(other) != in_short("damaged")


def test_the_sentinel_tells_of_who_opens_it(tmp_path: Path) -> None:
    sentinel = Sentinel(tmp_path / "sentinel")
    assert sentinel.touched() == []
    list((tmp_path / "sentinel").iterdir())
    assert sentinel.touched() == []  # names are no secret
    (tmp_path / "sentinel" / "secret.txt").read_text()
    with socket.create_connection(("127.0.0.1", sentinel.port)):
        said = " ".join(sentinel.touched())
    assert "secret.txt was touched" in said
    assert f"connected to port {sentinel.port}" in said
    sentinel.close()


@pytest.mark.parametrize("kind", [Parts, Weights, Yaml, Museval, Lists])
def test_a_taste_of_it_crashes_nothing(
    tmp_path: Path, kind: type[Parts | Weights | Yaml | Museval | Lists]
) -> None:
    target = kind(tmp_path / "own")
    seeds = target.seeds()
    said = set()
    for number in range(40):
        draws = random.Random(f"taste {number}")
        content = target.mutated(draws, draws.choice(seeds), [b"/etc/passwd"], seeds)
        said.add(target.run(content, draws))
    assert len(said) > 2


def test_rows_that_lie_are_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target notices where a reader hands on what the schema does not promise."""
    target = Parts(tmp_path)
    monkeypatch.setattr("benchmarks.fuzzing.tables.Manifests.rows", lambda *_: [{"stage": None}])
    monkeypatch.setattr("benchmarks.fuzzing.tables.Manifests.row_groups", lambda *_: [0])
    monkeypatch.setattr(
        "benchmarks.fuzzing.tables.Manifests.read_row_group", lambda *_: [{"stage": None}]
    )
    with pytest.raises(CrashError, match=r"rejects\.stage is None"):
        target.run(target.seeds()[1], random.Random(0))
