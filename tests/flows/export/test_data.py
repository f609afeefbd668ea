"""Training data goes elsewhere: what is known is written, adds up, and says what it was made of."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from demucs_core.training.recipes import AddedStem, Recipe
from flows.cli import main as cli
from flows.export.data import export_data
from flows.export.options import ExportDataParameters
from flows.export.pieces import Clip, Wanted
from flows.inputs.songs import Song
from storage.errors import UserError
from storage.tables.manifests import Manifests
from tests.flows.conftest import Finished

SOURCES = ("drums", "bass", "other", "vocals")
EXAMPLE = Path(__file__).parents[3] / "examples" / "music_source_separation_training.py"


def wanted(target: str = "", *, whole: bool = True) -> Wanted:
    return Wanted(sources=SOURCES, target=target, rest="rest", whole=whole)


def recipe(silent: tuple[int, ...], *added: int) -> Recipe:
    return Recipe(
        remix_id="r1", track_path="track.wav", track_num_samples=900, segment_start_sample=100,
        segment_stop_sample=400, silent=silent,
        added=tuple(
            AddedStem(source=source, path=f"{source}.wav", num_samples=500, start_sample=50,
                      excerpt_samples=200 + source, gain_db=-3.0)
            for source in added
        ),
    )  # fmt: skip


def test_a_remix_knows_what_was_added_and_the_rest_as_a_sum() -> None:
    piece = wanted("bass").of_recipe(recipe((1, 3), 1, 3))
    assert piece is not None
    assert piece.num_samples == 201
    segment = Clip(path="track.wav", start_sample=100)
    bass, vocals = (Clip(path=f"{n}.wav", start_sample=50, gain_db=-3.0) for n in (1, 3))
    assert piece.stems == {"bass": (bass,), "rest": (segment, vocals)}
    assert wanted("drums").of_recipe(recipe((1,), 1)) is None
    # silent, and nothing added
    assert wanted("vocals").of_recipe(recipe((1, 3), 1)) is None


def test_of_a_remix_all_is_known_where_one_source_sounds() -> None:
    piece = wanted().of_recipe(recipe((0, 1, 3), 1))
    assert piece is not None
    stem = Clip(path="1.wav", start_sample=50, gain_db=-3.0)
    segment = Clip(path="track.wav", start_sample=100)
    assert piece.stems == {"drums": (), "bass": (stem,), "other": (segment,), "vocals": ()}
    assert wanted().of_recipe(recipe((0, 1), 1)) is None
    known = wanted(whole=False).of_recipe(recipe((0, 1, 3), 1))
    assert known is not None
    assert list(known.stems) == ["bass", "other"]


def test_a_song_of_which_some_is_known_as_a_sum() -> None:
    paths = {"mixture": "m", "drums": "d", "bass+other": "b", "vocals": "v"}
    song = Song("t1", "Song", 800, paths, SOURCES)
    piece = wanted("vocals").of_song(song, "Song")
    assert piece is not None
    assert piece.stems == {"vocals": (Clip(path="v"),), "rest": (Clip(path="d"), Clip(path="b"))}
    assert wanted("bass").of_song(song, "Song") is None
    assert wanted().of_song(song, "Song") is None
    apart = wanted(whole=False).of_song(song, "Song")
    assert apart is not None
    assert list(apart.stems) == ["drums", "vocals"]


def exported(finished: Finished, output: Path, **told: Any) -> tuple[Path, list[dict[str, str]]]:
    parameters = ExportDataParameters.model_validate(
        {"workspace": finished.workspace.location, "output": str(output), **told}
    )
    lines: list[str] = []
    folder = export_data(parameters, lines.append)
    assert "songs" in lines[0]
    with (folder / "lineage.csv").open(newline="") as file:
        return folder, list(csv.DictReader(file))


def test_pairs_of_a_target_and_the_rest(finished: Finished, tmp_path: Path) -> None:
    manifests = Manifests(finished.workspace)
    remixes = list(manifests.rows(manifests.latest("remixes", "music")))
    target = remixes[0]["added"][0]["source"]
    rest = "rest" if target == "other" else "other"
    folder, lineage = exported(finished, tmp_path / "a" / "out", target=target, rest=rest)
    having = [row for row in remixes if target in {stem["source"] for stem in row["added"]}]
    assert {row["id"] for row in lineage if row["kind"] == "remix"} == {
        row["remix_id"] for row in having
    }
    for song in (folder / "train").iterdir():
        assert sorted(path.name for path in song.iterdir()) == sorted(
            [f"{target}.wav", f"{rest}.wav"]
        )
    [valid, *_] = (folder / "valid").iterdir()
    stems = {path.stem: soundfile.read(path)[0] for path in valid.iterdir()}
    np.testing.assert_allclose(stems["mixture"], stems[target] + stems[rest], atol=1e-6)
    first = having[0]
    [stem] = [each for each in first["added"] if each["source"] == target]
    audio, rate = soundfile.read(folder / "train" / f"remix-{first['remix_id']}" / f"{target}.wav")
    assert rate == finished.workspace.music.sample_rate
    source, _ = soundfile.read(Path(finished.workspace.root) / stem["path"])
    begin = stem["start_sample"]
    expected = source[begin : begin + len(audio)] * 10 ** (stem["gain_db"] / 20)
    np.testing.assert_allclose(audio, expected, atol=1e-6)
    origin = json.loads((folder / "silentmix.json").read_text("utf-8"))
    assert any(name.startswith("remixes/music/") for name in origin["made_from"])
    assert not list(tmp_path.glob("a/.*"))


def test_folders_of_stems_and_a_list_of_them(finished: Finished, tmp_path: Path) -> None:
    folder, lineage = exported(finished, tmp_path / "out", layout="csv", max_remixes=0)
    assert {path.name for path in (folder / "train").iterdir()} == set(
        finished.workspace.music.sources
    )
    with (folder / "train.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert all(Path(row["path"]).parent.name == row["type"] for row in listed)
    assert all(Path(row["path"]).is_file() for row in listed)
    told = {row["file"] for row in lineage}
    assert told == {str(path.relative_to(folder)) for path in folder.rglob("*.wav")}


def test_what_can_not_be_exported_is_refused(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="target: there is no 'flute'; there are drums, bass"):
        exported(finished, tmp_path / "out", target="flute")
    with pytest.raises(UserError, match="rest: 'other' is the target; call the rest no_other"):
        exported(finished, tmp_path / "out", target="other")
    command = ["export", "data", "--workspace", finished.workspace.location]
    assert cli.main([*command, "--output", str(tmp_path)]) == 2
    assert "exists; name another folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_another_trainer_has_it_in_ten_lines(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    example = runpy.run_path(str(EXAMPLE))
    config = SimpleNamespace(
        training=SimpleNamespace(num_steps=2, batch_size=4),
        audio=SimpleNamespace(chunk_size=4096, sample_rate=finished.workspace.music.sample_rate),
    )
    dataset = example["HalfKnown"](config, finished.workspace.location, weak_share=0.5)
    assert len(dataset) == 8
    torch.manual_seed(0)
    # as its train_one_epoch goes through it
    epochs = [list(DataLoader(dataset, batch_size=4, shuffle=True)) for _ in range(2)]
    batch, mixtures = epochs[0][0]
    assert mixtures.shape == (4, 2, 4096)
    known = batch.to("cpu")
    memberships = torch.cat([known["membership"] for known, _ in epochs[0]])
    # of remixes, not every source is a group of its own
    assert (memberships.sum(-1) > 1).any()
    heard = [mixture.sum().item() for epoch in epochs for _, many in epoch for mixture in many]
    assert len(set(heard)) == 16
    estimates = torch.zeros(4, 4, 2, 4096, requires_grad=True)
    loss = example["half_known_loss"](estimates, known, mixtures)
    loss.backward()
    assert loss > 0
    assert estimates.grad is not None
