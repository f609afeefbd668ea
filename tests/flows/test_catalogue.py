"""Every row of the catalogue says what is there, and nothing is there that no row says."""

from __future__ import annotations

import subprocess
import sys
from typing import get_type_hints

import pytest

from flows.catalogue import BY_NAME, CATALOGUE, CHAIN, FOLLOWING, POOLS, Entry, load
from flows.pipeline.options import PipelineParameters
from flows.running.parameters import Options
from storage.tables.schemas import HEARD, REJECTS, RUNS, TABLES

NAMED = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)


@NAMED
def test_a_row_names_a_flow_and_its_parameters(entry: Entry) -> None:
    found = entry.load_flow()
    assert found.name == entry.name
    assert get_type_hints(found.fn)["parameters"] is entry.load_parameters()
    assert entry.flow == f"flows.{entry.field}.flow.{entry.field}", "a folder a stage"
    assert entry.pool in POOLS
    assert not entry.prints or callable(entry.beside_flow(entry.prints))


@NAMED
def test_a_row_names_manifests_and_what_follows(entry: Entry) -> None:
    assert set(entry.writes) <= TABLES.keys()
    assert set(entry.unlisted) <= set(entry.writes)
    assert not entry.then or entry.then in BY_NAME


def test_every_manifest_is_written_by_a_flow() -> None:
    by_all = {REJECTS.name, HEARD.name, RUNS.name}
    assert by_all | {table for entry in CATALOGUE for table in entry.writes} == TABLES.keys()


@pytest.mark.parametrize("entry", CHAIN, ids=lambda entry: entry.name)
def test_a_stage_of_the_chain_takes_its_options(entry: Entry) -> None:
    options = load(entry.options)
    assert issubclass(options, Options)
    assert issubclass(entry.load_parameters(), options)
    assert callable(entry.beside_flow("in_chain"))
    assert PipelineParameters.model_fields[entry.field].default == options()


def test_what_follows_comes_later() -> None:
    names = list(BY_NAME)
    assert len(names) == len(CATALOGUE)
    for name, following in FOLLOWING.items():
        assert names.index(name) < names.index(following)


def test_reading_it_imports_nothing() -> None:
    script = "import sys, flows.catalogue as c; print(*(set(sys.modules) & set(sys.argv[1:])))"
    done = subprocess.run(
        [sys.executable, "-c", script, "prefect", "pydantic", "torch", "numpy", "storage"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == []
