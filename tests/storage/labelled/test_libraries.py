from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from storage.labelled.sets import find_songs
from storage.labelled.song import LabelledSong, StemSource
from tests.storage.labelled.files import SOURCES, message, url, write


def put(root: str, name: str, text: str) -> str:
    fs, folder = fsspec.core.url_to_fs(root)
    fs.makedirs(folder, exist_ok=True)
    fs.pipe_file(f"{folder}/{name}", text.encode())
    return f"{root}/{name}"


def found(songs: list[LabelledSong]) -> list[tuple[str, ...]]:
    assert all(song.split == "train" and song.mixture is None for song in songs)
    return [(song.name, *song.groups) for song in songs]


def test_a_folder_a_source(root: str) -> None:
    folder = write(
        root, "Vocals/a.wav", "vocals/deep/b.flac", "drums/a.wav", "drums/a.txt", "README.md",
        ".cache/x.wav",
    )  # fmt: skip
    fs, songs = find_songs(root, SOURCES)
    assert found(songs) == [
        ("Vocals/a.wav", "vocals"),
        ("drums/a.wav", "drums"),
        ("vocals/deep/b.flac", "vocals"),
    ]
    assert songs[0].stems == {"vocals": (StemSource(f"{folder}/Vocals/a.wav"),)}
    assert fs.cat_file(songs[2].stems["vocals"][0].path) == b"audio"


def test_a_library_by_a_mapping(root: str) -> None:
    write(root, "singers/a.wav", "drums/a.wav", "noise/x.wav")
    assert message(root).startswith(f"{url(root)}/noise/x.wav: unknown source 'noise'")
    songs = find_songs(root, SOURCES, stems="vocals=singers, skip=noise")[1]
    assert found(songs) == [("drums/a.wav", "drums"), ("singers/a.wav", "vocals")]


def test_a_library_holds_no_mixtures(root: str) -> None:
    write(root, "vocals/a.wav", "mixture/a.wav")
    assert message(root) == (
        f"{url(root)}/mixture/a.wav: holds the mixture, and a stem of a library one source, out of "
        "drums, bass, other, vocals; leave it out with --stems (skip=...)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "instrum,path\nvocals,a/1.wav\n\nDrums, a/2.wav\n",
        "path,source,artist\na/1.wav,vocals,me\na/2.wav,drums,you\n",
        "\ufeffvocals,a/1.wav\r\ndrums,a/2.wav\r\n# the end\nvocals,a/1.wav\n",
        "# of a spreadsheet, with a comma\nsource;path\nvocals;a/1.wav\ndrums;a/2.wav\n",
        'vocals\ta/1.wav\n"drums"\t"a/2.wav"\n',
    ],
)
def test_a_csv_file(root: str, text: str) -> None:
    folder = write(root, "a/1.wav", "a/2.wav")
    fs, songs = find_songs(put(root, "list.csv", text), SOURCES)
    assert found(songs) == [("a/1.wav", "vocals"), ("a/2.wav", "drums")]
    assert songs[0].stems["vocals"][0].path == f"{folder}/a/1.wav"
    assert fs.cat_file(songs[0].stems["vocals"][0].path) == b"audio"


def test_absolute_paths_and_urls(tmp_path: Path) -> None:
    write(str(tmp_path), "x/1.wav")
    text = f"vocals,{tmp_path}/x/1.wav\nbass,file://{tmp_path}/x/2.wav"
    songs = find_songs(put(str(tmp_path / "lists"), "l.csv", text), SOURCES)[1]
    assert [song.stems[song.groups[0]][0].path for song in songs] == [
        f"{tmp_path}/x/1.wav",
        f"{tmp_path}/x/2.wav",
    ]
    mixed = put(str(tmp_path), "m.csv", "vocals,memory://a.wav\nbass,x/1.wav")
    assert message(mixed) == f"{mixed}: the paths mix filesystems; make one file of each"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("guitar,a.wav", ", line 1: unknown source 'guitar'; the sources are drums, bass, other, "),
        ("source,path\nvocals", ", line 2: no path; each line needs source,path"),
        ("name,path\nvocals,x", ": no column 'source'; it needs source,path"),
        ("vocals,a.wav\nbass,a.wav", ", line 2: a.wav is named before, for vocals; a file holds "),
        ("source,path\n", ": names no stem; write source,path, one stem a line"),
        ("mixture,a.wav", ", line 1: holds the mixture, and a stem of a library one source"),
    ],
)
def test_csv_files_that_can_not_be_used(root: str, text: str, told: str) -> None:
    where = put(root, "list.csv", text)
    assert message(where).startswith(f"{url(root)}/list.csv{told}")
