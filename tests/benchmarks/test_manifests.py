"""A manifest and JSON lines of the same recipes give the same answer."""

from __future__ import annotations

import json

import pytest

from benchmarks import manifests, scale


def test_both_answer_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert manifests.main(["--rows", "2000"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["rows"] == 2000
    assert result["size_ratio"] > 0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([10 + 1, 10 + 10, 10 + 100], 1.0), ([3 + 1, 3 + 100, 3 + 10_000], 2.0), ([9, 9.2, 10], None)],
)
def test_the_exponent_of_growth_is_that_beside_what_does_not_grow(
    seconds: list[float], expected: float | None
) -> None:
    found = scale.exponent(seconds)
    assert found == (expected if expected is None else pytest.approx(expected))
