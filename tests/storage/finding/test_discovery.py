from __future__ import annotations

import codecs
import glob
import json
import os
import tempfile
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.finding.discovery import MISSING, DiscoveryError, SourceFile, find_audio
from tests.storage.s3_server import s3_bucket


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL or path of a place of the test's own."""
    if request.param == "local":
        return str(tmp_path)
    base = "memory:/" if request.param == "memory" else request.getfixturevalue("bucket")
    return f"{base}/{uuid.uuid4().hex}"


def write(root: str, files: dict[str, bytes]) -> None:
    fs, folder = fsspec.core.url_to_fs(root)
    for name, content in files.items():
        path = f"{folder}/{name}"
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        fs.pipe_file(path, content)


def found(source: str, root: str) -> list[str]:
    """Paths that were found, relative to the root."""
    folder = fsspec.core.url_to_fs(root)[1]
    return [file.path.removeprefix(folder + "/") for file in find_audio(source)[1]]


def message(source: str) -> str:
    with pytest.raises(DiscoveryError) as refused:
        find_audio(source)
    assert "\n" not in str(refused.value)
    return str(refused.value)


LIBRARY = {
    "b/2.MP3": b"22",
    "b/1.flac": b"1",
    "b/deep/er/3.ogg": b"333",
    "a.wav": b"4444",
    "cover.jpg": b"no music",
    "b/notes.txt": b"no music",
    ".hidden.wav": b"hidden",
    ".trash/old.wav": b"hidden",
    "b/.cache/x/old.wav": b"hidden",
    "wav": b"no extension",
}
MUSIC = ["a.wav", "b/1.flac", "b/2.MP3", "b/deep/er/3.ogg"]


def test_folder(root: str) -> None:
    write(root, LIBRARY)
    fs, files = find_audio(root)
    assert found(root, root) == MUSIC
    assert found(root + "/", root) == MUSIC
    for file, name in zip(files, MUSIC, strict=True):
        assert fs.cat_file(file.path) == LIBRARY[name]
        assert file.num_bytes == len(LIBRARY[name])
        assert find_audio(file.url)[1] == [file]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", MUSIC),
        ("*.wav", ["a.wav"]),
        ("*/*", MUSIC[1:]),
        ("*/[0-1].*", ["b/1.flac"]),
        ("b/?.MP3", ["b/2.MP3"]),
        ("**/*.ogg", ["b/deep/er/3.ogg"]),
        ("**", MUSIC),
        ("b/**/er", ["b/deep/er/3.ogg"]),
        ("*/deep", ["b/deep/er/3.ogg"]),
        ("[!b]*", ["a.wav"]),
    ],
)
def test_glob(root: str, pattern: str, expected: list[str]) -> None:
    write(root, LIBRARY)
    assert found(f"{root}/{pattern}", root) == expected


NAMES = st.sampled_from(["a", "b", "ab", "a.wav", "b.wav", "ab.wav", ".a", ".b.wav", "c.txt"])
PARTS = st.sampled_from(["*", "**", "a", "a*", "*.wav", "?", "[ab]", "[!a]*", "b", "?b*"])


@settings(max_examples=80, deadline=None)
@given(
    st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=8),
    st.lists(PARTS, min_size=1, max_size=4),
)
@example({("a", "a"), ("a", "a.wav")}, ["*", "*", "**"])
def test_globs_match_what_the_shell_would(paths: set[tuple[str, ...]], pattern: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        for path in sorted(paths):
            target = Path(root, *path)
            if not any(Path(root, *path[:end]).is_file() for end in range(1, len(path))):
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    target.touch()
        everything = {
            str(path.relative_to(root))
            for path in Path(root).rglob("*.wav")
            if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
        }
        matches = glob.glob("/".join(pattern), root_dir=root, recursive=True)  # noqa: PTH207
        matched = [os.path.normpath(match) for match in matches]
        expected = sorted(
            name
            for name in everything
            if any(m == "." or name == m or name.startswith(m + "/") for m in matched)
        )
        source = f"{root}/{'/'.join(pattern)}"
        if expected:
            assert found(source, root) == expected
        else:
            message(source)


def test_a_glob_enters_only_what_can_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("yes/a.wav", "yes/deep/b.wav", "no/c.wav"):
        write(str(tmp_path), {name: b"x"})
    entered = []
    scandir = os.scandir

    def noting(path: str) -> Any:
        entered.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    find_audio(f"{tmp_path}/y*/*.wav")
    assert entered == [str(tmp_path), f"{tmp_path}/yes"]


def test_existing_names_are_no_patterns(root: str) -> None:
    write(root, {"[live]/1.wav": b"", "[live]/2.mp3": b"", "l/3.wav": b"", "[x].wav": b""})
    assert found(f"{root}/[live]", root) == ["[live]/1.wav", "[live]/2.mp3"]
    assert found(f"{root}/[live]/*.wav", root) == ["[live]/1.wav"]
    assert found(f"{root}/[x].wav", root) == ["[x].wav"]
    assert found(f"{root}/[l]", root) == ["l/3.wav"]
    assert found(f"{root}/*", root) == ["[live]/1.wav", "[live]/2.mp3", "[x].wav", "l/3.wav"]
    shown = message(f"{root}/[live]/none.wav")
    assert shown == f"{root}/[live]/none.wav: the pattern matches no file; check it"


@pytest.mark.parametrize("name", ["star*.wav", "what?.mp3", "a::b.wav", "~.wav", "a\nb.wav"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    expected = [SourceFile(str(tmp_path / name), str(tmp_path / name), 1)]
    assert find_audio(str(tmp_path / name))[1] == expected
    assert find_audio(str(tmp_path))[1] == expected


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    try:
        Path(path).write_bytes(b"x")
    except OSError:
        pytest.skip("this filesystem takes no such names")
    fs, files = find_audio(str(tmp_path))
    assert files == [SourceFile(f"{tmp_path}/caf\\xe9.wav", path, 1)]
    assert fs.cat_file(files[0].path) == b"x"
    assert message(path + "x").startswith(f"{tmp_path}/caf\\xe9.wavx: no such file")


def test_dangling_links_and_pipes_are_to_be_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "b.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "c.txt").symlink_to(tmp_path / "nowhere.txt")
    os.mkfifo(tmp_path / "d.wav")
    sizes = {Path(file.path).name: file.num_bytes for file in find_audio(str(tmp_path))[1]}
    assert sizes == {"a.wav": 1, "b.wav": MISSING, "d.wav": MISSING}


def test_list(root: str) -> None:
    write(root, LIBRARY)
    url = f"{root}/lists/my.m3u8"
    lines = [
        "#EXTM3U",
        "",
        "../b/2.MP3",
        "  ../a.wav  ",
        "../b/../a.wav",
        "../b/none.wav",
        "../cover.jpg",
        "../b",
        f"{root}/b/1.flac",
    ]
    write(root, {"lists/my.m3u8": codecs.BOM_UTF8 + "\r\n".join(lines).encode()})
    fs, files = find_audio(url)
    assert found(url, root) == ["a.wav", "b", "b/1.flac", "b/2.MP3", "b/none.wav", "cover.jpg"]
    assert [file.num_bytes for file in files] == [4, MISSING, 1, 2, MISSING, 8]
    assert fs.cat_file(files[0].path) == LIBRARY["a.wav"]


def test_a_list_of_nothing_but_missing_files_is_returned(root: str) -> None:
    write(root, {"list.txt": b"one.wav\ntwo.wav\n"})
    assert [file.num_bytes for file in find_audio(f"{root}/list.txt")[1]] == [MISSING, MISSING]


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n  \n", codecs.BOM_UTF8])
def test_an_empty_list(root: str, content: bytes) -> None:
    write(root, {"list.txt": content})
    assert message(f"{root}/list.txt") == (
        f"{root}/list.txt: the list is empty; write one path or URL a line"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_lists(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "Für Elise.wav").write_bytes(b"x")
    (tmp_path / "list.m3u").write_text("Für Elise.wav\n", encoding)
    assert found(str(tmp_path / "list.m3u"), str(tmp_path)) == ["Für Elise.wav"]


def test_a_list_in_another_encoding_names_the_same_bytes(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    (tmp_path / "list.m3u").write_bytes(b"caf\xe9.wav\n")
    [file] = find_audio(str(tmp_path / "list.m3u"))[1]
    assert file == SourceFile(f"{tmp_path}/caf\\xe9.wav", path, MISSING)


def test_a_player_writes_encoded_urls(tmp_path: Path) -> None:
    (tmp_path / "my song.wav").write_bytes(b"x")
    (tmp_path / "100%25.wav").write_bytes(b"xx")
    lines = [f"file://{tmp_path}/my%20song.wav", f"file://{tmp_path}/100%25.wav"]
    (tmp_path / "list.m3u").write_text("\n".join(lines))
    files = find_audio(str(tmp_path / "list.m3u"))[1]
    assert [(Path(file.path).name, file.num_bytes) for file in files] == [
        ("100%25.wav", 2),
        ("my song.wav", 1),
    ]


def test_a_local_list_of_remote_files(tmp_path: Path) -> None:
    there = f"memory://{uuid.uuid4().hex}"
    write(there, {"a.wav": b"x"})
    (tmp_path / "list.txt").write_text(f"{there}/none.wav\n{there}/a.wav\n")
    fs, files = find_audio(str(tmp_path / "list.txt"))
    assert [file.num_bytes for file in files] == [1, MISSING]
    assert fs.cat_file(files[0].path) == b"x"


def test_a_list_of_several_filesystems(tmp_path: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("a.wav\nmemory://x/b.wav\n")
    assert message(str(source)) == (
        f"{source}: the list mixes filesystems; make one list of each: a.wav, memory://x/b.wav"
    )


def test_a_list_with_a_secret_in_it_is_refused_by_its_own_name(tmp_path: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("a.wav\nftp://me:geheim@host/a.wav\n")
    said = message(str(source))
    assert said.startswith(f"{source}: in this list: an address with a password or token in it")
    assert "geheim" not in said


def test_missing(root: str) -> None:
    write(root, {"a.wav": b""})
    assert message(f"{root}/none") == f"{root}/none: no such file or folder; check the path"
    assert message(f"{root}/n*/a.wav") == (
        f"{root}/n*/a.wav: the pattern matches no file; check it"
    )
    assert message(f"{root}/none/*.wav") == (
        f"{root}/none/*.wav: no folder {url(root)}/none; check the path"
    )


def url(root: str) -> str:
    """The root as messages show it."""
    fs, folder = fsspec.core.url_to_fs(root)
    return folder if "://" not in root else str(fs.unstrip_protocol(folder))


@pytest.mark.s3
def test_a_missing_bucket(bucket: str) -> None:
    assert bucket
    assert message("s3://no-such-bucket/a") == (
        "s3://no-such-bucket/a: no such file or folder; check the path"
    )


def test_folders_without_music(root: str) -> None:
    write(root, {"sub/one.txt": b"", "sub/two.jpg": b"", ".hidden.wav": b"", "sub2/x.md": b""})
    told = message(root)
    assert told.startswith(f"{root}: no music here (1 ")
    assert all(f"1 {kind}" in told for kind in ("txt", "jpg", "md"))
    assert message(f"{root}/sub2").startswith(f"{root}/sub2: no music here (1 md); music is known")
    assert message(f"{root}/s*/*.txt").startswith(f"{root}/s*/*.txt: no music here (1 txt)")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert message(str(tmp_path)).startswith(f"{tmp_path}: no music here (no files); ")


def test_a_file_that_is_no_music(root: str) -> None:
    write(root, {"cover.jpg": b""})
    assert message(f"{root}/cover.jpg").startswith(
        f"{root}/cover.jpg: neither music nor a list of music by its extension; name a folder, "
        "a glob, a list (m3u, m3u8, txt) or music (3g2, "
    )


OURS = json.dumps({"format": 1, "music": {}}).encode()


def test_what_silentmix_wrote_and_bins_are_no_music(root: str) -> None:
    files = {
        "a.wav": b"x",
        "results/workspace.json": OURS,
        "results/audio/music/ab/a.wav": b"x",
        "deep/er/w/workspace.json": OURS,
        "deep/er/w/reports/r/clip.mp3": b"x",
        "deep/b.wav": b"x",
        "other/workspace.json": b"[1]",
        "other/c.wav": b"x",
        "$RECYCLE.BIN/S-1-5-21/$R1.wav": b"x",
        "b/lost+found/d.wav": b"x",
        "notes.txt": b"x",
        "a.pdf": b"x",
        "b.pdf": b"x",
        "Makefile": b"x",
    }
    write(root, files)
    passed_over: Counter[str] = Counter()
    find_audio(root, passed_over)
    names = found(root, root)
    assert names == ["a.wav", "deep/b.wav", "other/c.wav"]
    assert passed_over == {
        "pdf": 2, "txt": 1, "json": 1, "without extension": 1,
        "silentmix workspace": 2, "folder of the system": 2,
    }  # fmt: skip
    assert found(f"{root}/**/*.wav", root) == names
    for ours in ("results", "results/audio", "results/audio/music/ab/a.wav", "results/*/*/*/*"):
        assert "silentmix workspace" in message(f"{root}/{ours}") or "no file" in message(
            f"{root}/{ours}"
        )


@pytest.mark.parametrize(
    "entry",
    [
        "Album/01%20-%20Ma%C3%B1ana%20%281%29.wav",
        "Album/01 - Mañana (1).wav",
        unicodedata.normalize("NFC", "Album/01 - Mañana (1).wav"),
        "Album\\01 - Mañana (1).wav",
        "album/01 - MAÑANA (1).WAV",
        "./Album/../Album/01%20-%20Ma%f1ana%20(1).wav".replace("%f1", "%C3%B1"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_entries_as_players_write_them(tmp_path: Path, entry: str, form: str) -> None:
    name = unicodedata.normalize("NFC" if form == "NFC" else "NFD", "01 - Mañana (1).wav")
    path = tmp_path / "Album" / name
    path.parent.mkdir()
    path.write_bytes(b"x")
    (tmp_path / "a.m3u8").write_text(f"{entry}\n", "utf-8")
    [file] = find_audio(str(tmp_path / "a.m3u8"))[1]
    assert (file.path, file.num_bytes) == (str(path), 1)


@pytest.mark.parametrize(
    ("encoding", "name"), [("cp1252", "Für Elise.wav"), ("cp932", "夜.wav"), ("cp1251", "Ночь.wav")]
)
def test_lists_in_the_encoding_of_a_system(tmp_path: Path, encoding: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.m3u").write_bytes(f"# {name}\r\n{name}\r\n".encode(encoding))
    [file] = find_audio(str(tmp_path / "a.m3u"))[1]
    assert (file.path, file.num_bytes) == (str(tmp_path / name), 1)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="/.", codec="utf-8"), min_size=1))
def test_any_source_is_answered_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    message(f"{tmp_path_factory.getbasetemp()}/nowhere/{name}")
