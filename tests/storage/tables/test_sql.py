"""SQL reads the manifests of its workspace, and reaches nothing else."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from storage.damage import DamagedError
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.tables.sql import connect, damage_told, reading
from storage.workspace import Workspace
from tests.storage.tables.test_manifests import REJECTS, reject

secret = "a variable of Python, and no table"

READING = """
SELECT * FROM read_csv('{there}')
SELECT * FROM read_text('{there}')
SELECT * FROM read_blob('{there}')
SELECT * FROM read_json('{there}')
SELECT * FROM read_parquet('{part}')
SELECT * FROM parquet_metadata('{part}')
SELECT * FROM '{there}'
SELECT * FROM '{part}'
SELECT * FROM glob('{folder}/*')
SELECT * FROM sniff_csv('{there}')
SELECT * FROM secret
ATTACH '{folder}/other.db' AS other
IMPORT DATABASE '{folder}'
CREATE TABLE mine AS SELECT 1; COPY mine FROM '{there}'
INSTALL httpfs
LOAD httpfs
LOAD '{there}'
SELECT * FROM 'https://localhost:1/a.csv'
SELECT * FROM read_csv('s3://bucket/a.csv')
""".strip().splitlines()

WRITING = """
COPY rejects TO '{folder}/out.csv'
COPY (SELECT 1) TO '{folder}/out.parquet' (FORMAT parquet)
EXPORT DATABASE '{folder}/out'
CREATE PERSISTENT SECRET mine (TYPE s3, KEY_ID 'a', SECRET 'b')
PRAGMA profiling_output = '{folder}/out'
PRAGMA enable_profiling
SET log_query_path = '{folder}/out'
CALL enable_logging(storage = 'file', storage_path = '{folder}/out')
""".strip().splitlines()

UNLOCKING = """
SET enable_external_access = true
RESET enable_external_access
SET GLOBAL enable_external_access = true
SET lock_configuration = false
SET allowed_directories = ['/']
SET allowed_paths = ['{there}']
SET python_enable_replacements = true
SET temp_directory = '{folder}'
SET memory_limit = '1TB'
SET allow_unsigned_extensions = true
""".strip().splitlines()


@pytest.mark.parametrize("attack", [*READING, *WRITING, *UNLOCKING])
def test_sql_reaches_nothing_but_the_manifests(
    workspace: Workspace, tmp_path: Path, attack: str
) -> None:
    part = Manifests(workspace).write(REJECTS, ["a"], [reject("a")])
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "there.csv").write_text("name,secret\nmine,1234\n")
    sql = attack.format(there=folder / "there.csv", folder=folder, part=workspace.url(part))
    with connect(workspace) as database:
        with pytest.raises(duckdb.Error):
            database.execute(sql).fetchall()
        assert database.sql("SELECT item FROM rejects").fetchall() == [("a",)]
    assert [path.name for path in folder.iterdir()] == ["there.csv"]


def test_sql_holds_so_much_and_no_more(workspace: Workspace) -> None:
    with connect(workspace) as database:
        names = ("memory_limit", "max_temp_directory_size")
        told = [database.sql(f"SELECT current_setting('{name}')").fetchall() for name in names]
    memory, scratch = (str(rows[0][0]).split() for rows in told)
    assert (float(memory[0]) <= 4, memory[1]) == (True, "GiB")
    assert (float(scratch[0]) <= 100, scratch[1]) == (True, "GiB")


def test_a_damaged_part_is_named_by_sql_too(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    manifests.write(REJECTS, ["a"], [reject("a")])
    part = manifests.write(REJECTS, ["b"], [reject("b")])
    whole = workspace.read(part)
    workspace.put_bytes(part, whole[: len(whole) // 2])
    with (
        pytest.raises(DamagedError, match=r"damaged .*silentmix fsck") as caught,
        reading(workspace, ["rejects"]) as database,
    ):
        database.sql("SELECT * FROM rejects").fetchall()
    assert workspace.url(part) in str(caught.value)


def test_an_end_that_is_not_what_was_written_is_noticed_by_sql(workspace: Workspace) -> None:
    part = Manifests(workspace).write(REJECTS, ["a"], [reject("a")])
    content = bytearray(workspace.read(part))
    content[-20] ^= 1
    workspace.put_bytes(part, bytes(content))
    refused = pytest.raises(DamagedError, match="its end is not what was written")
    with refused as caught, reading(workspace, ["rejects"]):
        pass
    assert workspace.url(part) in str(caught.value)


def test_what_sql_fetches_and_writes_is_gone_afterwards(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    Manifests(workspace).write(REJECTS, ["a"], [reject("a")])
    with connect(workspace) as database:
        assert database.sql("SELECT item FROM rejects").fetchall() == [("a",)]
        assert any(scratch.iterdir())
    assert not any(scratch.iterdir())


def test_a_part_that_goes_while_it_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = Manifests(workspace)
    listed = [manifests.write(REJECTS, [item], [reject(item)]) for item in ("a", "b")]
    workspace.remove(listed[0])
    with monkeypatch.context() as earlier, ExitStack() as open_:
        earlier.setattr(Manifests, "parts", lambda *_, **__: listed)
        database = open_.enter_context(connect(workspace, ["rejects"]))
        earlier.undo()
        with (
            pytest.raises(UserError, match="parts of rejects changed while they were read"),
            damage_told(workspace),
        ):
            database.sql("SELECT * FROM rejects").fetchall()
