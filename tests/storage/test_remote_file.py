"""What is read of a bucket is kept here: got once, got anew where it changed or the copy is bad."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from storage import remote_file
from storage.damage import DamagedError
from storage.errors import UserError
from storage.remote_file import AHEAD, open_remote, parts_cache
from storage.tables.edits import remove_rows
from storage.tables.manifests import Manifests, Partition
from storage.tables.sql import connect
from storage.workspace import Workspace
from tests.storage.s3_server import Store, s3_store

pytestmark = pytest.mark.s3

REJECTS = Partition("rejects", "corpus", "f1")
NUM_PARTS = 3 * AHEAD + 2


def reject(item: str) -> dict[str, Any]:
    return {"stage": "ingest", "item": item, "source_bytes": 1, "reason": "bad", "detail": item}


@pytest.fixture
def store() -> Iterator[Store]:
    with s3_store() as store:
        yield store


@pytest.fixture
def root(store: Store) -> str:
    Workspace(f"{store.url}/w", create=True)
    return f"{store.url}/w"


def fill(root: str, num_parts: int = NUM_PARTS) -> None:
    manifests = Manifests(Workspace(root))
    for number in range(num_parts):
        manifests.write(REJECTS, [str(number)], [reject(str(number))])


def items(root: str) -> set[str]:
    """As another command would read them."""
    return {row["item"] for row in Manifests(Workspace(root)).rows(REJECTS)}


def copies() -> list[Path]:
    return [path for path in parts_cache().folder.iterdir() if path.is_file()]


def test_parts_are_got_once_and_again_where_the_copies_are_gone(root: str, store: Store) -> None:
    fill(root)
    everything = set(map(str, range(NUM_PARTS)))
    for wanted in (NUM_PARTS, 0):
        store.requests.clear()
        assert items(root) == everything
        assert store.asked_for("/part-") == wanted
    for copy in copies():
        copy.unlink()
    store.requests.clear()
    assert items(root) == everything
    assert store.asked_for("/part-") == NUM_PARTS


def test_sql_takes_the_same_copies(root: str, store: Store) -> None:
    fill(root)
    assert len(items(root)) == NUM_PARTS
    store.requests.clear()
    with connect(Workspace(root), ["rejects"]) as database:
        assert database.execute("SELECT count(*) FROM rejects").fetchall() == [(NUM_PARTS,)]
    assert store.asked_for("/part-") == 0


def test_what_is_forgotten_elsewhere_is_gone_here(root: str) -> None:
    fill(root, 2)
    assert items(root) == {"0", "1"}
    manifests = Manifests(Workspace(root))
    manifests.parts(REJECTS)
    remove_rows(
        manifests,
        REJECTS,
        lambda rows: pc.equal(rows["item"], pa.scalar("0")),
        {"0"},
        columns=["item"],
    )
    assert manifests.items(REJECTS) == {"1"}
    assert items(root) == {"1"}


def test_what_this_process_writes_anew_is_read_anew_before_it_is_listed(root: str) -> None:
    workspace = Workspace(root)
    for text in (b"before", b"after!"):
        workspace.put_bytes("folder/file", text)
        with open_remote(workspace, "folder/file") as file:
            assert file.read() == text
        workspace.find("folder")


@pytest.mark.parametrize("damage", [b"", b"other bytes"])
def test_a_copy_that_is_damaged_is_got_again(root: str, store: Store, damage: bytes) -> None:
    fill(root, 1)
    assert items(root) == {"0"}
    [copy] = copies()
    copy.write_bytes(damage or bytes(len(copy.read_bytes())))
    store.requests.clear()
    assert items(root) == {"0"}
    assert store.asked_for("/part-") == 1


def test_what_is_kept_under_another_state_is_thrown_away_where_it_is_noticed(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two states of a file may be got in one reading, while another command writes it anew."""
    fill(root, 1)
    workspace = Workspace(root)
    [path] = workspace.find(REJECTS.folder)
    num_bytes = workspace.version(path).num_bytes
    with monkeypatch.context() as patch:
        patch.setattr(workspace.fs, "cat_ranges", lambda *_, **__: [bytes(num_bytes)])
        with pytest.raises(DamagedError):
            items(root)
    assert items(root) == {"0"}


def test_a_file_that_is_written_anew_while_it_is_read_is_named(root: str) -> None:
    workspace = Workspace(root)
    workspace.put_bytes("folder/file", b"before")
    workspace.find("folder")
    Workspace(root).put_bytes("folder/file", b"now")
    with (
        pytest.raises(UserError, match=r"folder/file: changed while it was read; run the same"),
        open_remote(workspace, "folder/file") as file,
    ):
        file.read()


def test_a_large_file_is_got_in_blocks_each_once(
    root: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1000)
    workspace = Workspace(root)
    text = bytes(range(256)) * 10
    workspace.put_bytes("folder/file", text)
    workspace.find("folder")
    store.requests.clear()
    for _ in range(2):
        with open_remote(workspace, "folder/file") as file:
            assert file.seek(-10, 2) == len(text) - 10
            assert file.read() == text[-10:]
            assert file.seek(0) == 0
            assert file.read(1500) == text[:1500]
            assert file.read() == text[1500:]
    assert store.requests == {f"GET {root.split('/', 3)[3]}/folder/file": 3}


def test_whoever_looks_for_damage_asks_the_store(root: str, store: Store) -> None:
    fill(root, 3)
    assert len(items(root)) == 3
    workspace = Workspace(root)
    workspace.reads_anew = True
    store.requests.clear()
    assert len([*Manifests(workspace).rows(REJECTS)]) == 3
    assert store.asked_for("/part-") == 3


@pytest.mark.parametrize("fault", ["503", "closed"])
def test_what_cannot_be_written_is_not_there(root: str, store: Store, fault: str) -> None:
    workspace = Workspace(root)
    with store.failing(fault), pytest.raises(Exception):  # noqa: B017, PT011  of the client's own
        workspace.put_bytes("folder/file", b"text")
    assert store.struck > 3
    assert not Workspace(root).exists("folder/file")
    assert Workspace(root).find("folder") == []


@pytest.mark.parametrize("told", ["much", "0", "nan"])
def test_the_limit_is_a_number(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("SILENTMIX_CACHE_GB", told)
    with pytest.raises(UserError, match=r"SILENTMIX_CACHE_GB=.*GiB of copies to keep, above 0"):
        parts_cache()


def test_copies_stay_within_the_limit(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root)
    monkeypatch.setenv("SILENTMIX_CACHE_GB", str(2**14 / 2**30))
    assert len(items(root)) == NUM_PARTS
    assert sum(copy.stat().st_size for copy in copies()) <= 1.5 * 2**14
