"""Models and detectors are listed, named, compared and deleted; a name stands where an id does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.cli import main as cli
from flows.cli.network_commands import EXIT_NOT_DONE
from flows.inputs import registry
from flows.inputs.given_names import give_name
from flows.inputs.methods import choose_models, choose_reference
from flows.inputs.paper_table import evaluated_models, paper_table, sdr_of_models
from flows.running.workspace_overview import overview_markdown, shown_runs
from flows.train.start import find_start
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.test_older_workspaces import unpack

PLAIN, REMIXED, DETECTOR = "f2628807e2ad2", "fc2e46fee535c", "fd0744ab144c2"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    unpack(tmp_path, "workspace")
    return Workspace(str(tmp_path / "workspace"))


def test_models_of_0_1_0_are_listed_named_compared_and_deleted(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(status: int, *arguments: str) -> str:
        capsys.readouterr()
        assert cli.main([*arguments, "--workspace", workspace.location]) == status
        told = capsys.readouterr()
        return " ".join((told.out + told.err).split())

    assert f"{REMIXED} demucs 3 songs, 22 remixes 6 " in said(0, "models")
    assert f"{DETECTOR} logmel-crnn 3 songs, stands on songs of labelled 120 " in said(
        0, "detectors"
    )
    assert said(0, "models", "name", REMIXED, "live") == f"live: {REMIXED}"
    assert said(0, "models", "name", "live", "best.1") == f"best.1: {REMIXED}"
    assert f"best.1: {PLAIN}, before {REMIXED}" in said(0, "models", "name", PLAIN, "best.1")
    assert f"{REMIXED} live demucs" in said(0, "models")
    compared = said(0, "models", "compare", "live", PLAIN)
    assert "parameters.weak_share 0.5 0 " in compared
    assert "parameters.steps" not in compared, "what is alike in both is left out"
    for wrong in (PLAIN, "../x", "", "a b", "-x", "ä", "x" * 101):
        assert "name" in said(cli.EXIT_USER_ERROR, "models", "name", REMIXED, f"--name={wrong}")
    assert "no finished model 'nobody'" in said(
        cli.EXIT_USER_ERROR, "models", "name", "nobody", "x"
    )

    assert "model live, which" not in said(EXIT_NOT_DONE, "models", "delete", "live")
    assert "22 remixes of music/" in said(EXIT_NOT_DONE, "detectors", "delete", DETECTOR)
    depends = said(EXIT_NOT_DONE, "detectors", "delete", DETECTOR)
    assert f"model {REMIXED}, which was trained" in depends
    manifests = Manifests(workspace)
    for table, what in (("scores", "scores of"), ("audits", "answers of audit")):
        for found in manifests.partitions(table):
            counted = f"{manifests.count(found)} {what} {found.corpus}/{found.fingerprint}"
            assert f"depends on it: {counted}" in depends
    assert "depends on it: its name live" in said(0, "models", "delete", "live", "--yes")
    assert registry.names(workspace, "models") == [PLAIN]
    assert "no finished model 'live'" in said(cli.EXIT_USER_ERROR, "models", "delete", "live")
    assert "name one of the models" in said(cli.EXIT_USER_ERROR, "models", "delete", "", "--yes")
    assert registry.names(workspace, "models") == [PLAIN]


def test_figures_of_each_corpus_stand_apart(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*command: str) -> list[str]:
        assert cli.main([*command, "--workspace", workspace.location]) == 0
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    manifests = Manifests(workspace)
    give_name(workspace, "models", REMIXED, "live")
    [known] = [found for found, model in evaluated_models(manifests) if model == REMIXED]
    before = paper_table(manifests, known)
    like = [*manifests.rows(known)]
    for song in ("a", "b", "c"):
        rows = [row | {"track_id": song, "sdr_db": 20.5} for row in like[:4]]
        manifests.write(Partition("evaluations", "another", "f-other"), [song], rows)
    figures = [f"{value:.2f}" for value in before.values()]
    cells = [[*figures, "1 song of labelled"], ["20.50"] * 5 + ["3 songs of another"]]
    lines = [line for line in said("models") if line.startswith(f"{REMIXED} live")]
    assert len(lines) == 2
    assert all(any(line.endswith(" ".join(each)) for line in lines) for each in cells)
    told = " ".join(said("status"))
    assert f"model {REMIXED} live (50% remixes): SDR drums 20.50, bass 20.50" in told
    assert f"mean 20.50 (3 songs of another); drums {figures[0]}, " in told
    assert f"mean {figures[-1]} (1 song of labelled)" in told
    compared = " ".join(said("models", "compare", "live", PLAIN))
    assert "SDR mean, 3 songs of another 20.500" in compared
    [run, *_] = manifests.rows(replace(known, table="runs"))
    run |= {"counts": json.dumps({"sdr_mean_db": 20.5}), "run_id": "r"}
    manifests.write(Partition("runs", "another", "f-other"), ["r"], [run])
    page = overview_markdown(manifests, shown_runs(manifests)).splitlines()
    [other, own] = [line for line in page if f"{REMIXED} live" in line]
    assert "| another |" in other
    assert "20.50" in other
    assert "| labelled |" in own
    assert figures[-1] in own


def test_of_two_evaluations_on_a_corpus_the_last_one_holds(workspace: Workspace) -> None:
    manifests = Manifests(workspace)
    [known] = [found for found, model in evaluated_models(manifests) if model == REMIXED]
    for name in ("a", "z"):  # of which no run is known
        rows = [row | {"sdr_db": 50.0} for row in manifests.rows(known)]
        manifests.write(replace(known, fingerprint=name), ["song"], rows)
    assert sdr_of_models(manifests)[REMIXED] == {
        "1 song of labelled": paper_table(manifests, known)
    }


def test_a_name_stands_where_an_id_does(workspace: Workspace) -> None:
    give_name(workspace, "models", REMIXED, "live")
    assert registry.resolve(workspace, "models", "live") == REMIXED
    assert choose_models(workspace, ["live", REMIXED, PLAIN]) == [REMIXED, PLAIN]
    assert choose_reference(workspace, [REMIXED, PLAIN], [], "live") == REMIXED
    start = find_start("live", workspace)
    assert start is not None
    assert start.model == REMIXED
    with pytest.raises(UserError, match=f"several models; name one with --model: live, {PLAIN}"):
        registry.resolve(workspace, "models", "")
    give_name(workspace, "models", PLAIN, "default")
    assert registry.resolve(workspace, "models", "") == PLAIN


def test_of_several_detectors_the_newest_is_taken_unless_one_is_named(workspace: Workspace) -> None:
    for name in ("another", "f0"):  # no run made these: nobody knows when
        workspace.put_json(f"detectors/{name}/{registry.DESCRIPTION}", {})
    assert registry.resolve(workspace, "detectors", "") == DETECTOR
    give_name(workspace, "detectors", "another", "default")
    assert registry.resolve(workspace, "detectors", "") == "another"
