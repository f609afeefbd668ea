"""What the command line says and returns; in this process, so that it stays quick."""

from __future__ import annotations

import errno
import importlib.metadata
import inspect
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import pytest
import yaml
from aiohttp import ClientPayloadError

from flows.catalogue import BY_NAME, CATALOGUE, CHAIN
from flows.cli import app as commands
from flows.cli import main as cli
from flows.cli import run_help
from flows.cli.commands import COMMANDS
from flows.cli.pipeline_commands import run_command
from flows.pipeline import flow as chain
from flows.pipeline.options import PipelineParameters
from flows.running.stage import StageResult
from flows.studies import demo
from flows.studies.demo_options import DemoParameters
from storage.errors import UserError
from storage.workspace import FORMAT, MARKER, Workspace
from tests.flows.conftest import Corpus, Finished, play, write


@pytest.fixture(autouse=True)
def no_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own server is there already."""
    monkeypatch.setattr(cli, "configure_prefect", lambda *_: False)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command with something wrong prints; it must exit with status 2."""
    capsys.readouterr()
    assert cli.main(arguments) == cli.EXIT_USER_ERROR
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("silentmix:")]
    assert len(lines) == 1, lines
    return lines[0]


def run_with(corpus: Corpus, tmp_path: Path, **changes: object) -> list[str]:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**corpus.settings(tmp_path / "w"), **changes}))
    return ["run", "--config", str(config)]


def test_a_missing_path(corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, *run_with(corpus, tmp_path, labelled="/no/such/set"))
    assert "/no/such/set" in said
    said = complaint(capsys, *run_with(corpus, tmp_path, unlabelled="/no/such/music"))
    assert "/no/such/music: no such file or folder; check the path" in said


def test_run_refuses_before_it_waits_for_a_server(
    corpus: Corpus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NeverUp:
        def __init__(self, *_: object) -> None:
            """It starts, and takes its time."""

        def wait(self) -> None:
            raise AssertionError("waited for a server")

    monkeypatch.setattr(cli, "configure_prefect", lambda *_: True)
    monkeypatch.setattr(cli, "standing_server", lambda *_: "")
    monkeypatch.setattr(cli, "WorkspaceServer", NeverUp)
    said = complaint(capsys, *run_with(corpus, tmp_path, unlabelled="/no/such/music"))
    assert "/no/such/music: no such file or folder; check the path" in said
    with pytest.raises(AssertionError, match="waited for a server"):
        cli.main(run_with(corpus, tmp_path))


def test_an_empty_folder(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    said = complaint(capsys, *run_with(corpus, tmp_path, unlabelled=str(tmp_path / "empty")))
    assert str(tmp_path / "empty") in said
    said = complaint(capsys, *run_with(corpus, tmp_path, labelled=str(tmp_path / "empty")))
    assert str(tmp_path / "empty") in said


def labelled_song(folder: Path, *extra: str) -> None:
    for source, audio in play(1).items():
        write(folder / f"{source}.wav", audio)
    for name in extra:
        write(folder / name, np.zeros((10, 2)))


def test_a_labelled_set_without_a_test_split(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled_song(tmp_path / "set" / "train" / "Song")
    said = complaint(capsys, *run_with(corpus, tmp_path, labelled=str(tmp_path / "set")))
    assert "test" in said
    assert str(tmp_path / "set") in said


def test_a_source_nobody_knows(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled_song(tmp_path / "set" / "train" / "Song", "guitar.wav")
    labelled_song(tmp_path / "set" / "test" / "Song")
    said = complaint(capsys, *run_with(corpus, tmp_path, labelled=str(tmp_path / "set")))
    assert "guitar" in said
    assert "drums, bass, other, vocals" in said


def test_a_workspace_of_a_newer_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Workspace(str(tmp_path / "w"), create=True).put_json(MARKER, {"format": FORMAT + 1})
    for command in (["score"], ["status"]):
        said = complaint(capsys, *command, "--workspace", str(tmp_path / "w"))
        assert f"format {FORMAT + 1} is newer" in said


MISSING = [
    *([entry.name] for entry in CATALOGUE if not (entry.creates or entry.own_command)),
    *(["run", *first] for first in (["--only", "score"], ["--from=extract"])),
    *(["manifests", *what] for what in (["list"], ["show", "tracks"], ["query", "SELECT 1"])),
    ["status"],
]


@pytest.mark.parametrize("command", MISSING, ids=" ".join)
def test_a_missing_workspace(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, *command, "--workspace", str(tmp_path / "nowhere"))
    assert "no silentmix workspace here" in said
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("command", [["run"], ["ingest", "--source", "x"], ["demo"]], ids=" ".join)
def test_what_can_be_no_workspace_is_left_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    said = complaint(capsys, *command, "--workspace", str(tmp_path))
    assert f"{tmp_path}: holds files but is no silentmix workspace" in said
    said = complaint(capsys, *command, "--workspace", str(tmp_path / "thesis.txt"))
    assert "thesis.txt: is a file" in said
    said = complaint(capsys, *command, "--workspace", "moon://crater")
    assert "moon://crater: no place for a workspace" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_marker_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"not JSON", b"[]", b"{}", b'{"format": "x"}'):
        (tmp_path / MARKER).write_bytes(content)
        said = complaint(capsys, "status", "--workspace", str(tmp_path))
        assert f"{tmp_path}: {MARKER} is not what silentmix writes" in said


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"colour": 1}, "colour"),
        ({"score": {"colour": 1}}, "score has no field 'colour'"),
        ({"train": {"steps": 0}}, "steps must be at least 1"),
        ({"until_stage": "mix"}, "until_stage must be 'ingest'"),
        ({"train": 3}, "train is a section with fields, not 3"),
        ({"1": 2}, "unknown field '1'"),
        ({"labelled": ""}, "labelled is required for the stage ingest"),
    ],
)
def test_a_configuration_that_is_wrong(
    settings: dict[str, object],
    expected: str,
    corpus: Corpus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = complaint(capsys, *run_with(corpus, tmp_path, **settings))
    assert expected.lower() in said.lower()


def test_a_flag_that_is_wrong(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    location = finished.workspace.location
    said = complaint(capsys, "extract", "--workspace", location, "--guard-s", "-1")
    assert "guard_s must be at least 0, not -1" in said
    assert "--gaurd-s" in complaint(capsys, "extract", "--workspace", location, "--gaurd-s", "1")
    said = complaint(capsys, "score", "--workspace", location, "--corpus", "live")
    assert "no tracks of corpus 'live'" in said
    said = complaint(capsys, "score", "--workspace", location, "--detector", "ears")
    assert "no finished detector 'ears'; there are f" in said
    said = complaint(capsys, "run", "--workspace", location, "--from=train", "--until=score")
    assert "until_stage 'score' comes before from_stage 'train'" in said
    assert "--config wants a value" in complaint(capsys, "run", "--config")
    said = complaint(capsys, "run", "--config", "/no/such.yaml")
    assert "/no/such.yaml: no configuration file to read" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scroe"], "no command 'scroe'; did you mean 'score'?"),
        (["doctr"], "did you mean 'doctor'?"),
        (["study", "detektor"], "did you mean 'detector'?"),
        (["xyz"], "no command 'xyz'; there are "),
        (["up", "now"], "up: nothing takes 'now'; values follow their options"),
        (["run", "--labelled", "a", "b"], "run: nothing takes 'b'"),
        (
            ["run", "--libraries", "a", "b"],
            "takes 'b'; values follow their options, those of a list",
        ),
        (
            ["init", "--sources", "a", "b"],
            "sources are a: a workspace has 2 to 16 of them, with comm",
        ),
        (["demo", "here"], "demo: nothing takes 'here'"),
        (["ingest", "mus"], "ingest: nothing takes 'mus'; did you mean --source mus? See"),
        (["ingest", "a b", "--workers", "1"], "nothing takes 'a b'; did you mean --source 'a b'?"),
        (["score", "ws", "--corpus", "music"], "score: nothing takes 'ws'; values follow their"),
        (["score", "--corpus", "music"], "workspace: no silentmix workspace here"),
    ],
    ids=str,
)
def test_words_that_are_wrong(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in complaint(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def test_stray_words_are_no_fields(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    location = finished.workspace.location
    said = complaint(capsys, "score", "--workspace", location, "music", "detector")
    assert "score: nothing takes 'music detector'" in said


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == importlib.metadata.version("silentmix")


def test_flags_win_over_the_configuration(finished: Finished, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    extract = finished.parameters.extract.model_dump() | {"min_duration_s": 90.0}
    config.write_text(
        yaml.safe_dump({"workspace": finished.workspace.location, "workers": 1, "extract": extract})
    )
    before = len(finished.manifests.partitions("segments", "music"))
    assert cli.main(["extract", "--config", str(config), "--min-duration-s", "1.75"]) == 0
    assert len(finished.manifests.partitions("segments", "music")) == before + 1
    durations = [
        row["duration_s"]
        for row in finished.rows("segments")
        if '"min_duration_s": 1.75' in row["policy"]
    ]
    assert durations
    assert min(durations) >= 1.75


def write_config(tmp_path: Path, **fields: object) -> str:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(fields))
    return str(tmp_path / "c.yaml")


def test_sections_reach_their_stages(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PipelineParameters] = []

    def noting(parameters: PipelineParameters) -> list[StageResult]:
        asked.append(parameters)
        return []

    monkeypatch.setattr(chain, "pipeline", noting)
    fields = {
        "workspace": finished.workspace.location,
        "fit_detector": {"steps": 5},
        "train": {"steps": 7, "channels": 8},
        "extract": None,
        "from_stage": "score",
    }
    config = ["--config", write_config(tmp_path, **fields)]
    assert cli.main(["run", *config, "--train.steps", "9", "--until", "train"]) == 0
    assert cli.main(["run", *config, "--from", "remix", "--fit-detector.steps=6"]) == 0
    assert cli.main(["run", *config, "--only", "train"]) == 0
    first, second, third = asked
    assert (first.train.steps, first.train.channels, first.fit_detector.steps) == (9, 8, 5)
    assert first.stages == ("score", "extract", "remix", "train")
    assert second.stages == ("remix", "train", "evaluate")
    assert second.fit_detector.steps == 6
    assert third.stages == ("train",)
    assert {each.workspace for each in asked} == {fields["workspace"]}


def test_a_stage_alone_is_configured_as_in_the_chain(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(
        tmp_path,
        workspace=finished.workspace.location,
        extract={"min_songs": 3, "guard_s": 0.5},
        fit_detector={"steps": 5, "guard_s": 0.25},
        demo={"seed": 8},
    )
    fields = commands._from_config(config, "fit-detector")
    assert fields == {"min_songs": 3, "guard_s": 0.25, "steps": 5,
                      "workspace": finished.workspace.location}  # fmt: skip
    policy = {"min_songs": 3, "guard_s": 0.5, "workspace": finished.workspace.location}
    for command in ("yields", "forecast"):
        assert commands._from_config(config, command) == policy
    asked: list[DemoParameters] = []
    monkeypatch.setattr(demo, "run_demo", lambda parameters, _: asked.append(parameters))
    assert cli.main(["demo", "--config", config]) == 0
    assert (asked[0].seed, asked[0].workspace) == (8, finished.workspace.location)


def test_looking_into_a_workspace_that_the_configuration_names(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, workspace=finished.workspace.location, train={"steps": 1})
    for command in (["status"], ["manifests", "list"], ["manifests", "show", "tracks"]):
        capsys.readouterr()
        assert cli.main([*command, "--config", config]) == 0
        assert "music" in capsys.readouterr().out


def test_status_and_manifests(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    location = ["--workspace", finished.workspace.location]
    assert cli.main(["status", *location]) == 0
    said = capsys.readouterr().out
    assert "music" in said
    assert all(result.fingerprint in said for result in finished.results if result.stage == "train")
    assert cli.main(["manifests", "list", *location]) == 0
    assert finished.only("tracks", "music").fingerprint in capsys.readouterr().out
    assert cli.main(["manifests", "show", "rejects", *location]) == 0
    assert "labelled_test" in capsys.readouterr().out
    sql = "SELECT corpus, count(*) AS n FROM tracks GROUP BY corpus ORDER BY corpus"
    assert cli.main(["manifests", "query", sql, *location]) == 0
    assert "music" in capsys.readouterr().out
    said = complaint(capsys, "manifests", "query", "SELECT nothing FROM nowhere", *location)
    assert "nowhere" in said


def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which no name of an option is broken over two lines."""
    monkeypatch.setenv("COLUMNS", "250")


@pytest.mark.parametrize("stage", [entry.name for entry in CATALOGUE if entry.name != "pipeline"])
def test_help_names_every_field(
    stage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide_terminal(monkeypatch)
    assert cli.main([stage, "--help"]) == 0
    said = capsys.readouterr().out
    for field in BY_NAME[stage].load_parameters().model_fields:
        assert f"--{field.replace('_', '-')}" in said


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ([], "Begin with silentmix demo"),
        (["run"], "silentmix STAGE --help lists them"),
        (["run"], "--until"),
        (["demo"], "--unlabelled-songs"),
        (["separate"], "--model"),
        (["yields"], "--thresholds"),
        (["forecast"], "--sample"),
        (["status"], "--workspace"),
        (["up"], "--port"),
        (["down"], "--workspace"),
        (["doctor"], "--workspace"),
        (["manifests"], "query"),
        (["manifests", "query"], "SELECT"),
    ],
)
def test_every_command_has_help(
    command: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide_terminal(monkeypatch)
    assert cli.main([*command, "--help"]) == 0
    assert expected in capsys.readouterr().out.replace("`", "")


def test_the_help_is_not_looked_for_in_sources(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That takes most of the time of the help of a command with many parameters."""

    def looked(_: object) -> str:
        raise AssertionError("a source is read")

    monkeypatch.setattr(inspect, "getsource", looked)
    wide_terminal(monkeypatch)
    assert cli.main(["train", "--help"]) == 0
    assert "--learning-rate" in capsys.readouterr().out


def test_the_help_of_the_chain_has_what_its_command_takes_beside_the_stages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide_terminal(monkeypatch)
    assert cli.main(["run", "--help"]) == 0
    said = capsys.readouterr().out
    of_stages = {entry.field for entry in CHAIN}
    for field in PipelineParameters.model_fields.keys() - of_stages:
        assert f"--{field.replace('_', '-')}" in said
    assert inspect.signature(run_help.run).parameters.keys() == (
        inspect.signature(run_command).parameters.keys()
    )


def test_a_command_is_listed_by_the_first_line_of_its_help() -> None:
    for command in COMMANDS:
        found = command.load()
        if command.entry is None:
            help_text = found.help if isinstance(found, cyclopts.App) else inspect.getdoc(found)
            assert (help_text or "").startswith(command.says), command.name


LIGHT = """
import sys
from flows.cli.commands import COMMANDS
from flows.cli.main import main
at = ["--workspace", sys.argv[1]]
helps = [[command.name, "--help"] for command in COMMANDS]
helps += [["export", "data", "--help"], ["study", "paper", "--help"]]
of_sql = [[name, "--help"] for name in ("lineage", "forget")]
queries = [
    ["lineage", "x", *at], ["manifests", "query", "SELECT 1", *at], ["forget", "x", *at], *of_sql
]
looks = [["--help"], ["status", *at], ["manifests", "list", *at]]
looks += [each for each in helps if each not in of_sql]
heavy = {"torch", "prefect", "dask", "distributed", "scipy", "matplotlib"}
for arguments in [*looks, *queries]:
    main(arguments)
    unwanted = heavy | {"duckdb"} if arguments in looks else heavy
    assert not unwanted & set(sys.modules), (arguments, unwanted & set(sys.modules))
print("none")
"""


def test_who_looks_or_reads_the_help_waits_for_no_library_of_the_work(finished: Finished) -> None:
    command = [sys.executable, "-c", LIGHT, finished.workspace.location]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("none\n"), done.stderr


def failing_in(module: str, error: Exception) -> Callable[..., None]:
    """A function of a module of that name that raises an error."""
    there: dict[str, Any] = {"__name__": module, "error": error}
    exec("def fail(*_): raise error", there)  # noqa: S102  a traceback tells in which module it was
    made: Callable[..., None] = there["fail"]
    return made


def test_a_store_that_fails_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {
        "[Errno 16] Slow down": OSError(errno.EBUSY, "Slow down"),
        "cut off": ClientPayloadError("cut off"),
    }
    for text, error in told.items():
        monkeypatch.setattr(demo, "run_demo", failing_in("s3fs.core", error))
        said = complaint(capsys, "demo", "--workspace", str(tmp_path / "w"))
        assert said.startswith(f"silentmix: a store fails ({text}); what was done is kept")
    monkeypatch.setattr(demo, "run_demo", failing_in("flows.remix.flow", OSError("Slow down")))
    with pytest.raises(OSError, match="Slow down"):
        cli.main(["demo", "--workspace", str(tmp_path / "w")])


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "let this user read and write there"),
        (errno.EACCES, "let this user read and write there"),
    ],
)
def test_what_a_disk_refuses_is_said_in_one_line(
    number: int,
    way_out: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number), "song.wav")

    monkeypatch.setattr(demo, "run_demo", refused)
    said = complaint(capsys, "demo", "--workspace", str(tmp_path / "w"))
    assert f"{os.strerror(number)}: 'song.wav'; {way_out}" in said


class Thing:
    """What a frame holds, such as a connection to a database."""


@pytest.mark.parametrize(
    "error", [UserError("no"), OSError(errno.ENOSPC, "no"), KeyboardInterrupt()]
)
def test_an_error_that_somebody_keeps_holds_nothing(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Thing]] = []

    def deeper() -> None:
        thing = Thing()
        held.append(weakref.ref(thing))
        raise error

    def run(*_: object, **__: object) -> int:
        thing = Thing()
        held.append(weakref.ref(thing))
        try:
            deeper()
        except BaseException as first:
            raise UserError("said otherwise") from first
        return 0

    monkeypatch.setattr(commands, "run", run)
    assert cli.main(["init"]) == cli.EXIT_USER_ERROR
    assert [found() for found in held] == [None, None]
