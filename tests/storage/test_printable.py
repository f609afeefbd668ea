"""Whatever a file is called, its name can be stored and shown in a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storage.printable import shown, valid_text


@given(st.binary())
def test_any_name_can_be_stored_and_shown(name: bytes) -> None:
    path = name.decode("utf-8", "surrogateescape")
    assert valid_text(path).encode("utf-8").decode("utf-8") == valid_text(path)
    assert shown(path).isprintable()


@given(st.text())
def test_valid_names_stay_as_they_are(name: str) -> None:
    assert valid_text(name) == name
    assert shown(shown(name)) == shown(name)
