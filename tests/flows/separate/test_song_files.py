"""Where stems go: inside the folder for them, whatever a file is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.separate.song_files import find_songs

NAMES = ["...wav", "..wav", "....mp3", ".. .wav", "a.wav", "...", "a..wav"]


@pytest.mark.parametrize("how", ["file", "list", "folder"])
def test_stems_stay_in_the_output_folder(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(b"x")
    (folder / "all.txt").write_text("\n".join(NAMES))
    named = {
        "file": [str(folder / name) for name in NAMES],
        "list": [str(folder / "all.txt")],
        "folder": [str(folder)],
    }[how]
    output = tmp_path / "output"
    songs, problems = find_songs(named, output)
    assert not problems
    assert songs
    places = [(output / song.place).resolve() for song in songs]
    assert all(place.parent == output.resolve() for place in places)
    assert len(set(places)) == len(places)


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for file in ("x/one.wav", "x/sub/one.wav", "y/one.wav"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()

    def names(*named: str) -> list[str]:
        songs, _ = find_songs([str(tmp_path / name) for name in named], tmp_path / "out")
        return [song.name for song in songs]

    assert names("x") == ["one.wav", "sub/one.wav"]
    assert names("x/one.wav") == ["one.wav"]
    assert names("x/one.wav", "y/one.wav") == [f"{tmp_path}/x/one.wav", f"{tmp_path}/y/one.wav"]


def test_a_list_that_names_no_file(tmp_path: Path) -> None:
    """Found by ``benchmarks.fuzz``: a line ``/`` ended ``separate`` in a traceback."""
    (tmp_path / "list.txt").write_text("/\n")
    [song], problems = find_songs([str(tmp_path / "list.txt")], tmp_path / "stems")
    assert (str(song.place), problems) == ("_", [])


@pytest.mark.parametrize("output", ["{music}/../music/stems", "{link}/stems"])
def test_stems_are_no_songs_however_their_folder_is_named(tmp_path: Path, output: str) -> None:
    music, link = tmp_path / "music", tmp_path / "link"
    for file in ("one.wav", "stems/one/drums.wav"):
        (music / file).parent.mkdir(parents=True, exist_ok=True)
        (music / file).touch()
    link.symlink_to(music)
    songs, _ = find_songs([str(music)], Path(output.format(music=music, link=link)))
    assert [song.name for song in songs] == ["one.wav"]
