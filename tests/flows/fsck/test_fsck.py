"""Whatever is broken in a workspace is found, named with what it touches, and made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.cli import main as cli
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.fsck.command import examine
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import registry
from flows.running.held_out import require_unheard
from flows.running.rejects import reject_row
from flows.score.flow import score
from flows.score.options import ScoreParameters
from storage.damage import DamagedError
from storage.tables.manifests import Manifests, Partition
from storage.tables.sql import connect
from storage.workspace import Workspace
from tests.flows.conftest import Finished, content, mix, play, write
from tests.flows.test_older_workspaces import unpack


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One of 0.1.0, in which every stage ran."""
    unpack(tmp_path, "workspace")
    return Workspace(str(tmp_path / "workspace"))


def flip(path: Path, place: float = 0.5) -> None:
    whole = bytearray(path.read_bytes())
    whole[round(place * (len(whole) - 1))] ^= 1
    path.write_bytes(bytes(whole))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def only(workspace: Workspace, pattern: str) -> Path:
    return sorted(Path(workspace.root).glob(pattern))[0]


def test_a_whole_workspace_of_before(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fsck", "--workspace", workspace.location, "--audio"]) == 0
    assert capsys.readouterr().out == "no damage found\n"


BROKEN: dict[str, tuple[str, Callable[[Path], object]]] = {
    "audio/music/a0/*.wav": ("damaged_audio", flip),
    "audio/music/c8/*.wav": ("missing_audio", Path.unlink),
    "audio/labelled/*/bass.wav": ("damaged_audio", cut),
    "manifests/tempos/corpus=music/*/*.parquet": ("damaged_part", cut),
    "manifests/audits/*/*/*.parquet": ("damaged_part", lambda path: path.write_bytes(b"")),
    "detectors/*/weights.safetensors": ("damaged_weights", cut),
    "models/fc2e46fee535c/config.json": ("damaged_weights", cut),
    "reports/museval/labelled/*/f2628807e2ad2/test/*.json": ("missing_file", Path.unlink),
}  # fmt: skip
"""What is done to which file, and the kind of what is found."""


def test_whatever_is_broken_is_found(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = set()
    for pattern, (kind, harm) in BROKEN.items():
        path = only(workspace, pattern)
        harm(path)
        what = workspace.relative(str(path))
        is_folder = kind == "damaged_weights"
        named = "/".join(what.split("/")[:2]) if is_folder else what
        expected.add((kind, named))
    workspace.put_bytes("audio/music/a0/stray.wav", b"stray")
    expected.add(("orphan", "audio/music/a0/stray.wav"))
    found = examine(workspace, samples=True)
    assert {(each.kind, each.what) for each in found.findings} == expected
    assert cli.main(["fsck", "--workspace", workspace.location]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("mend: silentmix ingest")]) == 2


def test_what_a_damaged_network_made_is_told(workspace: Workspace) -> None:
    with connect(workspace, retired=True) as database:
        counted = {
            (table, name): count
            for table, column in (
                ("scores", "detector_id"), ("segments", "detector_id"), ("evaluations", "model_id"),
            )
            for name, count in database.sql(
                f"SELECT {column}, count(*) FROM {table} GROUP BY ALL"
            ).fetchall()
        }  # fmt: skip
    for pattern in ("detectors/*/weights.safetensors", "models/fc2e46fee535c/weights.safetensors"):
        cut(only(workspace, pattern))
    found = examine(workspace)
    touched = {
        each.made: touches for each, touches in zip(found.findings, found.touches, strict=True)
    }
    assert len(touched) == 2
    for (table, name), count in counted.items():
        if name in touched:
            assert f"{count} {table}" in touched[name]
    assert all(touched.values())
    harmed = {each.what for each in found.findings}
    examine(workspace, repair=True)
    left = {each.what for each in examine(workspace).findings}
    assert not harmed & left, "what is put away leaves nothing behind that is found again"


def test_references_that_lead_nowhere(workspace: Workspace) -> None:
    """A part that is gone leaves rows of others behind, and a row can be there twice."""
    for pattern in ("manifests/tracks/*/*/*.parquet", "manifests/segments/*/*/*.parquet"):
        only(workspace, pattern).unlink()
    scores = only(workspace, "manifests/scores/corpus=music/*/*.parquet")
    shutil.copy(scores, scores.with_name("part-again.parquet"))
    found = examine(workspace)
    kinds = {(each.kind, each.tables) for each in found.findings if each.kind != "orphan"}
    assert kinds == {
        ("doubled", ("scores",)),
        *(("lost_reference", (table,)) for table in ("scores", "tempos", "remixes", "audits")),
    }
    orphans = [each.what for each in found.findings if each.kind == "orphan"]
    assert orphans == workspace.find("audio/music")


def test_what_is_put_away_is_made_again(tmp_path: Path, workspace: Workspace) -> None:
    made = Workspace(str(tmp_path / "made"), create=True)
    shutil.copytree(only(workspace, "detectors"), Path(made.root) / "detectors")
    music = tmp_path / "songs"
    for number in range(3):
        write(music / f"{number}.wav", mix(play(300 + number)))
    values = {"workspace": made.location, "workers": 1}

    def run() -> None:
        ingest(IngestParameters(source=str(music), **values))
        score(ScoreParameters(**values))

    run()
    whole = content(made), {path: made.read(path) for path in made.find("audio")}
    flipped, lost, _ = (Path(made.root) / path for path in made.find("audio"))
    before = flipped.read_bytes()
    flip(flipped)
    broken = flipped.read_bytes()
    lost.unlink()
    cut(only(made, "manifests/scores/*/*/*.parquet"))
    found = examine(made, samples=True, repair=True)
    assert [each.kind for each in found.findings] == [
        "damaged_part", "damaged_audio", "missing_audio", "lost_reference"
    ]  # fmt: skip
    assert made.read(f"{found.quarantine}/{made.relative(str(flipped))}") == broken != before
    assert [command.split()[1] for command in found.commands] == ["ingest", "score"]
    assert f"--source {music}" in found.commands[0]
    run()
    assert (content(made), {path: made.read(path) for path in made.find("audio")}) == whole
    [songs] = examine(made, samples=True).findings  # of the detector, which came from elsewhere
    assert songs.kind == "lost_reference"
    manifests = Manifests(made)
    [tracks] = manifests.partitions("tracks")
    assert len(manifests.items(Partition("tracks", "music", tracks.fingerprint))) == 3

    only(made, "manifests/tracks/*/*/*.parquet").unlink()
    why = "1 of 2 parts that ingest left there are missing"
    with pytest.raises(DamagedError, match=why):
        score(ScoreParameters(**values))
    found = examine(made)
    [missing] = [each for each in found.findings if each.kind == "lost_part"]
    assert (missing.what, missing.why) == (tracks.folder, why)
    assert "ingest" in {command.split()[1] for command in found.commands}
    run()
    assert content(made) == whole[0]

    (music / "broken.wav").write_bytes(b"no music")
    run()
    whole_rows = content(made)
    only(made, "manifests/rejects/*/*/*.parquet").unlink()
    found = examine(made)
    [missing] = [each for each in found.findings if each.kind == "lost_part"]
    assert missing.tables == ("rejects",)
    assert any(command.endswith("--retry rejected") for command in found.commands)
    ingest(IngestParameters(source=str(music), retry="rejected", **values))
    assert content(made) == whole_rows


def test_a_track_whose_file_was_moved_is_put_away_and_made_again(tmp_path: Path) -> None:
    """Its row lies in the part of the file that it was first."""
    made = Workspace(str(tmp_path / "made"), create=True)
    music = tmp_path / "songs"
    first, last = music / "first.wav", music / "last.wav"

    def run() -> None:
        ingest(IngestParameters(source=str(music), workspace=made.location, workers=1))

    def files() -> dict[str, str]:
        manifests = Manifests(made)
        [partition] = manifests.partitions("tracks")
        return {row["track_id"]: row["source_url"] for row in manifests.rows(partition)}

    write(first, mix(play(300)))
    run()
    first.rename(last)
    write(music / "other.wav", mix(play(301)))
    run()
    whole = files()
    [damaged] = [track_id for track_id, url in whole.items() if url == str(last)]
    flip(only(made, f"audio/music/*/{damaged}.wav"))
    found = examine(made, samples=True, repair=True)
    parts = made.find(f"{found.quarantine}/manifests/tracks")
    put_away = [row for path in parts for row in pq.read_table(made.resolve(path)).to_pylist()]
    assert damaged in {row["track_id"] for row in put_away}
    assert files().keys() == whole.keys() - {damaged}
    last.rename(first)  # with its time, so that it looks as it did
    run()
    assert files() == {**whole, damaged: str(first)}
    assert examine(made, samples=True).findings == []


def test_scores_are_made_again_by_who_made_them(workspace: Workspace) -> None:
    """Those of the held-out songs have the fingerprint of the music's, and another maker."""
    for corpus, stage in {"labelled": "fit-detector", "music": "score"}.items():
        part = only(workspace, f"manifests/scores/corpus={corpus}/*/*.parquet")
        whole = part.read_bytes()
        cut(part)
        found = examine(workspace)
        assert [each.kind for each in found.findings if each.put_away] == ["damaged_part"]
        assert [command.split()[1] for command in found.commands] == [stage], corpus
        part.write_bytes(whole)


def test_what_was_refused_is_looked_at_again_by_who_refused_it(workspace: Workspace) -> None:
    """What ``extract`` refused counts as done because of the rejects, and of its segments."""
    manifests = Manifests(workspace)
    segments = manifests.latest("segments", "music")
    path, items = next(iter(manifests.covered(segments)))
    rejects = Partition("rejects", "music", segments.fingerprint)
    manifests.write(rejects, items, [reject_row("extract", min(items), "bad_scores", "none")])
    [part] = manifests.parts(rejects)
    cut(Path(workspace.root, part))
    found = examine(workspace)
    [damaged] = [each for each in found.findings if each.put_away]
    assert set(damaged.put_away) == {part, path}
    assert [command.split()[1] for command in found.commands] == ["extract"]


def test_lost_scores_of_held_out_songs_are_missed(finished: Finished, tmp_path: Path) -> None:
    """They lie where a run of another name looks, and are made again by who made them."""
    shutil.copytree(finished.workspace.location, tmp_path / "w")
    workspace = Workspace(str(tmp_path / "w"))
    part = only(workspace, "manifests/scores/corpus=labelled/*/*.parquet")
    part.unlink()
    why = "1 of 1 parts that fit-detector left there are missing"
    found = examine(workspace)
    [missing] = [each for each in found.findings if each.kind == "lost_part"]
    assert (missing.what, missing.why) == (str(part.parent.relative_to(tmp_path / "w")), why)
    assert [command.split()[1] for command in found.commands] == ["fit-detector"]
    asked = ExtractParameters(
        workspace=workspace.location, corpus="music", min_duration_s=1.0, target_precision=0.55,
        min_songs=2, allow_insufficient_evidence=True, workers=1,
    )  # fmt: skip
    with pytest.raises(DamagedError, match=why):
        extract(asked)


SQL_READERS = (
    ["lineage", "x"],
    ["forget", "--source", "*", "--dry-run"],
    ["manifests", "query", "SELECT * FROM segments"],
)


@pytest.mark.parametrize("command", SQL_READERS)
def test_sql_readers_name_what_is_damaged(
    workspace: Workspace, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """They ended in a traceback of DuckDB."""
    cut(only(workspace, "manifests/segments/*/*/*.parquet"))
    assert cli.main([*command, "--workspace", workspace.location]) == 2
    said = capsys.readouterr().err
    assert ".parquet: damaged (" in said


def test_a_model_of_which_nobody_knows_what_it_heard(workspace: Workspace) -> None:
    """It could be tested with what it was trained on: it is not, and its training says it again."""
    manifests = Manifests(workspace)
    for kind, stage in registry.MADE_BY.items():
        name = registry.names(workspace, kind)[-1]
        part = only(workspace, f"manifests/heard/*/fingerprint={name}/*.parquet")
        whole = part.read_bytes()
        part.unlink()
        [missing] = examine(workspace).findings
        assert (missing.kind, missing.what) == ("lost_part", f"{kind}/{name}")
        [command] = examine(workspace).commands
        assert command.split()[1] == stage
        assert command.endswith("--force")
        if kind == "models":
            with pytest.raises(DamagedError, match="what it heard is on no record"):
                require_unheard(manifests, name, {})
        part.write_bytes(whole)
        cut(part)
        assert examine(workspace, repair=True).commands == [command]
        part.write_bytes(whole)
        assert not examine(workspace).findings
        if kind == "models":
            require_unheard(manifests, name, {})


@pytest.mark.parametrize("told", ["{}", '{"of": [1], "training": {}}', '{"made_from": 3}'])
def test_a_description_that_lacks_what_each_has(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], told: str
) -> None:
    name = registry.names(workspace, "models")[-1]
    only(workspace, f"models/{name}/config.json").write_text(told)
    for command in (["status"], ["models"], ["lineage", name]):
        cli.main([*command, "--workspace", workspace.location])
    assert "damaged (it" in "".join(capsys.readouterr())
