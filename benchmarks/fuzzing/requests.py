"""What a run is asked to do: its parameters, and SQL over the manifests."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from benchmarks.fuzzing.mutation import mutated_value
from benchmarks.fuzzing.target import Bytes, CrashError, in_short
from benchmarks.fuzzing.texts import inside
from flows.catalogue import CATALOGUE
from flows.cli.query import print_query
from flows.running.parameters import Options, option_words
from flows.running.wrong_values import describe
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

LIMIT_S = 10.0
"""What SQL may take."""


class Forms(Bytes):
    """The parameters of a run, as anybody's program posts them."""

    name = "forms"

    def seeds(self) -> list[bytes]:
        """The defaults of every flow, as JSON, with its name."""
        needed = {"corpus": "music", "source": "/music", "labelled": "/set", "unlabelled": "/music"}
        found = []
        for entry in CATALOGUE:
            fields = entry.load_parameters().model_fields
            told = {
                name: field.get_default(call_default_factory=True)
                for name, field in fields.items()
                if not field.is_required()
            }
            told |= {name: value for name, value in needed.items() if name in fields}
            found.append(json.dumps([entry.name, _plain(told)]).encode())
        return found

    def mutated(
        self, draws: random.Random, content: bytes, tokens: Sequence[bytes], pool: Sequence[bytes]
    ) -> bytes:
        """Other values, in one of five cases other bytes."""
        if draws.random() < 0.2:
            return super().mutated(draws, content, tokens, pool)
        try:
            told = json.loads(content)
            values = [token.decode() for token in tokens]
            return json.dumps([told[0], mutated_value(draws, told[1], values)]).encode()
        except (ValueError, LookupError, TypeError, RecursionError):
            return super().mutated(draws, content, tokens, pool)

    def run(self, content: bytes, draws: random.Random) -> str:  # noqa: ARG002
        """Validate them, and take from what is valid what a run would."""
        try:
            name, given = json.loads(content)
            entry = next(entry for entry in CATALOGUE if entry.name == name)
        except (ValueError, TypeError, RecursionError, StopIteration):
            return "not tried: no JSON of parameters"
        config = given.get("architecture_config", "") if isinstance(given, dict) else ""
        if config and "{" not in str(config):
            return "not tried: names a file that is to be read"
        try:
            told = entry.load_parameters().model_validate(given)
        except ValidationError as error:
            return in_short(describe(error))
        except UserError as error:
            return in_short(error)
        assert isinstance(told, Options)
        fingerprint(entry.name, 1, **told.content())
        told.model_validate_json(told.model_dump_json())
        for field, value in told.model_dump(mode="json").items():
            option_words(field, value)
        for field in ("corpus", "labelled_corpus"):
            if corpus := getattr(told, field, ""):
                inside(PurePosixPath(Partition("tracks", corpus, "0").folder))
        return f"{name}: valid"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class Sql(Bytes):
    """SQL over the manifests, as whoever can post a query writes it."""

    name = "sql"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.rmtree(folder / "workspace", ignore_errors=True)
        self._workspace = Workspace(str(folder / "workspace"), create=True)
        row = {"stage": "ingest", "item": "a", "source_bytes": 1, "reason": "x", "detail": "y"}
        partition = Partition("rejects", "music", "0123456789abcdef")
        self._part = Manifests(self._workspace).write(partition, ["a"], [row])
        self._whole = self._workspace.read(self._part)
        names = (
            "read_csv",
            "read_text",
            "read_blob",
            "read_json",
            "read_parquet",
            "glob",
            "sniff_csv",
        )
        place = "/../sentinel/secret.txt"
        self.own_tokens = (
            *(f" {name}('{folder}{place}') ".encode() for name in names),
            f" '{folder}{place}' ".encode(),
            f"COPY rejects TO '{folder}/../sentinel/out' ".encode(),
            f"ATTACH '{folder}/../sentinel/db' AS x;".encode(),
            b"SET enable_external_access=true;", b"SET lock_configuration=false;",
            b"INSTALL httpfs;", b"LOAD httpfs;", b"PRAGMA ", b"EXPORT DATABASE ",
            b"CREATE TABLE x AS ", b"INSERT INTO ", b"SELECT ", b" FROM rejects ", b" UNION ALL ",
            b" ORDER BY ALL ", b"(SELECT 1)", b"range(10)", b"getenv('HOME')",
            b"CREATE MACRO m(a) AS ", b"CALL ", b"EXPLAIN ANALYZE ", b"duckdb_settings()", b";",
            b"--",
        )  # fmt: skip

    def seeds(self) -> list[bytes]:
        """Queries that are right."""
        return [
            b"SELECT reason, count(*) FROM rejects GROUP BY reason",
            b"SELECT * FROM rejects r LEFT JOIN tracks t ON item = source_url WHERE reason = 'x'",
            b"WITH a AS (SELECT item, rank() OVER (ORDER BY item) n FROM rejects) SELECT * FROM a",
        ]

    def run(self, content: bytes, draws: random.Random) -> str:  # noqa: ARG002
        """Run it as the command line does, and see that the manifest is what it was."""
        console = Console(file=io.StringIO())
        try:
            print_query(
                self._workspace.location,
                content.decode("utf-8", "replace"),
                console,
                limit_s=LIMIT_S,
            )
            said = "a result"
        except UserError as error:
            said = in_short(error)
        if self._workspace.read(self._part) != self._whole:
            raise CrashError("SQL changed a part")
        return said
