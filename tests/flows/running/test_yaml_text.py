"""A few bytes of YAML stand for no more than anybody would write."""

from __future__ import annotations

import pytest
import yaml

from flows.running.yaml_text import parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 8)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "more than 100000 values"),
        ("a: &a [*a]", "more than 100000 values"),
        ("a: &a {b: *a}", "more than 100000 values"),
        ("[" * 20_000, "nested too deep"),
        ("steps: !!int x", "not what its tag says"),
        ("steps: !!int ''", "not what its tag says"),
        ("steps: !!float '-'", "not what its tag says"),
        (f"steps: !!float {'1:' * 200}1", "not what its tag says"),
        ("resume: !!bool maybe", "not what its tag says"),
        ("!!timestamp x: 1", "not what its tag says"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ],
)
def test_a_bomb_is_refused(text: str, why: str) -> None:
    with pytest.raises(yaml.YAMLError, match=why):
        parse_yaml(text)


def test_of_a_file_without_an_end_little_is_read() -> None:
    with pytest.raises(yaml.YAMLError, match="larger than 1048576 bytes"):
        read_yaml("/dev/zero")


def test_anchors_may_be_used() -> None:
    text = "score: &all {workers: 2}\nextract: *all\n"
    assert parse_yaml(text) == {"score": {"workers": 2}, "extract": {"workers": 2}}
    assert parse_yaml("") is None
