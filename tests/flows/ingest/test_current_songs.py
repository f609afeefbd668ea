"""One row a song, and no song in two splits, whatever came first."""

from __future__ import annotations

import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.ingest.current_songs import Version, settle
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs.songs import load_activity, load_songs
from flows.running.stage import StageResult
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import SAMPLE_RATE, SOURCES, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A labelled set of three songs."""
    for number, song in enumerate(("train/A", "train/B", "valid/V", "test/T")):
        write_song(tmp_path / "set" / song, number)
    return tmp_path / "set"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


def write_song(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for source in SOURCES:
        noise = 0.05 * rng.standard_normal((round(3.2 * SAMPLE_RATE), 1))
        # vocals of most songs are silent, and silence is like silence
        write(folder / f"{source}.wav", noise * (source != "vocals"))


def take(workspace: Workspace, source: Path, **fields: Any) -> StageResult:
    values = {"workspace": workspace.location, "source": str(source), **fields}
    return ingest(IngestParameters.model_validate(values))


def label(workspace: Workspace, root: Path, **fields: Any) -> StageResult:
    return take(workspace, root, corpus="labelled", labelled=True, **fields)


def stems_of(workspace: Workspace, name: str = "") -> Partition:
    return Manifests(workspace).latest("stems", "labelled", name or None)


def current(workspace: Workspace) -> list[str]:
    """What every stage sees: songs by split, each with activity and nothing beside it."""
    manifests, stems = Manifests(workspace), stems_of(workspace)
    activity = Partition("activity", "labelled", stems.fingerprint)
    found = []
    for split in ("train", "valid", "test"):
        songs = load_songs(manifests, stems, split)
        assert {song.track_id for song in songs} == set(load_activity(manifests, activity, split))
        found += [f"{split}/{song.name}" for song in songs]
    rows = list(manifests.rows(stems, ["song", "split", "source"]))
    assert len(rows) == 5 * len(found) == manifests.count(stems)
    return sorted(found)


def rejects(workspace: Workspace, corpus: str = "labelled") -> dict[str, tuple[str, str]]:
    manifests = Manifests(workspace)
    return {
        row["item"]: (row["reason"], row["detail"])
        for partition in manifests.partitions("rejects", corpus)
        for row in manifests.rows(partition)
    }


def retired(workspace: Workspace, corpus: str = "labelled") -> dict[tuple[str, str], str]:
    keys = Manifests(workspace).retired().of_corpus(corpus)
    return {(key.split, key.name): why.reason for key, why in keys.items()
            if key.manifest in ("stems", "tracks")}  # fmt: skip


SONGS = ["test/T", "train/A", "train/B", "valid/V"]


@pytest.mark.parametrize("late", [False, True])
def test_of_equal_songs_the_held_out_one_stays(
    workspace: Workspace, root: Path, late: bool
) -> None:
    if late:
        label(workspace, root)
    shutil.copytree(root / "test/T", root / "train/copy of T")
    shutil.copytree(root / "test/T", root / "valid/T")
    shutil.copytree(root / "valid/V", root / "train/0 V")
    shutil.copytree(root / "train/A", root / "train/A again")
    result = label(workspace, root)
    assert current(workspace) == SONGS
    assert result.counts["songs"] == 4
    assert result.counts["rejected"] == 4
    assert result.counts["duplicate_songs"] == 4
    for item, owner in (
        ("train/copy of T", "test song T"),
        ("valid/T", "test song T"),
        ("train/0 V", "valid song V"),
        ("train/A again", "train song A"),
    ):
        detail = f"same audio as labelled {owner}; remove one of them"
        assert rejects(workspace)[item] == ("duplicate", detail)
    assert label(workspace, root).already_done
    shutil.rmtree(root / "test/T")
    shutil.rmtree(root / "valid/T")
    assert not label(workspace, root).already_done
    assert current(workspace) == ["train/A", "train/B", "train/copy of T", "valid/V"]
    assert "train/copy of T" not in rejects(workspace)


def test_the_winner_may_come_last(workspace: Workspace, root: Path) -> None:
    shutil.move(root / "test/T", root / "train/T")
    label(workspace, root)
    digest = Manifests(workspace).digest(stems_of(workspace))
    assert current(workspace) == ["train/A", "train/B", "train/T", "valid/V"]
    shutil.copytree(root / "train/T", root / "test/T")
    label(workspace, root)
    assert current(workspace) == SONGS
    assert rejects(workspace)["train/T"][0] == "duplicate"
    assert Manifests(workspace).digest(stems_of(workspace)) != digest


def test_one_stem_of_a_test_song_is_enough(workspace: Workspace, root: Path) -> None:
    shutil.copy(root / "test/T/bass.wav", root / "train/A/bass.wav")
    shutil.copy(root / "train/B/bass.wav", root / "train/A/drums.wav")  # in one split, as it may be
    label(workspace, root)
    assert current(workspace) == ["test/T", "train/B", "valid/V"]


def test_a_song_is_in_the_split_where_it_lies_now(workspace: Workspace, root: Path) -> None:
    label(workspace, root)
    digests = {Manifests(workspace).digest(stems_of(workspace))}
    for moved, back in (("train", "test"), ("test", "valid"), ("valid", "train")):
        shutil.move(root / moved / "A", root / back / "A")
        result = label(workspace, root)
        assert result.counts["moved_songs"] == 1
        assert current(workspace) == sorted([f"{back}/A", *(s for s in SONGS if s != "train/A")])
        assert not rejects(workspace)
        assert label(workspace, root).already_done
        digests.add(Manifests(workspace).digest(stems_of(workspace)))
    assert len(digests) == 4
    shutil.move(root / "train/A", root / "train/Z")
    label(workspace, root)
    assert current(workspace) == ["test/T", "train/B", "train/Z", "valid/V"]


def test_a_corrected_song_takes_the_place_of_the_old_one(workspace: Workspace, root: Path) -> None:
    label(workspace, root)
    [old] = load_songs(Manifests(workspace), stems_of(workspace), "test")
    shutil.copytree(root / "test/T", root.parent / "old")
    write_song(root / "test/T", 9)
    result = label(workspace, root)
    assert result.counts["replaced_songs"] == result.counts["new_songs"] == 1
    assert current(workspace) == SONGS
    [new] = load_songs(Manifests(workspace), stems_of(workspace), "test")
    assert new.track_id != old.track_id
    assert all(workspace.exists(path) for path in old.paths.values())
    assert label(workspace, root).already_done
    shutil.rmtree(root / "test/T")
    shutil.copytree(root.parent / "old", root / "test/T")
    label(workspace, root)
    assert load_songs(Manifests(workspace), stems_of(workspace), "test") == [old]
    assert current(workspace) == SONGS


def test_a_song_is_mended_in_place(workspace: Workspace, root: Path) -> None:
    good = (root / "train/B/bass.wav").read_bytes()
    (root / "train/B/bass.wav").write_bytes(b"<html>404</html>")
    assert label(workspace, root).counts["rejected"] == 1
    [(reason, detail)] = rejects(workspace).values()
    assert reason == "corrupt"
    assert detail.startswith("bass, bass.wav: ")
    assert label(workspace, root).already_done
    (root / "train/B/bass.wav").write_bytes(good)
    result = label(workspace, root)
    assert result.counts["rejected"] == 0
    assert current(workspace) == SONGS


def test_a_set_that_grows_moves_no_song(workspace: Workspace, tmp_path: Path) -> None:
    root, before = tmp_path / "set", set[str]()
    write_song(root / "test/T", 100)
    for count in (7, 11):
        for number in range(count):
            if not (root / f"train/t{number}").exists():
                write_song(root / f"train/t{number}", number)
        label(workspace, root, valid_share=0.3)
        songs = set(current(workspace))
        assert len(songs) == count + 1
        assert before <= songs
        before = songs
    assert any(song.startswith("valid/") for song in before)
    assert not retired(workspace)


def test_a_set_that_was_moved_as_a_whole_is_done(workspace: Workspace, root: Path) -> None:
    label(workspace, root)
    shutil.move(root, root.parent / "elsewhere")
    assert label(workspace, root.parent / "elsewhere").already_done
    assert current(workspace) == SONGS


def test_a_set_beside_it_takes_no_song_away(workspace: Workspace, root: Path) -> None:
    """Of two sets in one corpus, each is listed without the other."""
    label(workspace, root, valid_share=0)
    other = root.parent / "other"
    shutil.copytree(root / "test/T", other / "train/leak")
    write_song(other / "train/C", 20)
    label(workspace, other, valid_share=0)
    assert current(workspace) == sorted([*SONGS, "train/C"])
    assert rejects(workspace)["train/leak"][0] == "duplicate"


def test_force_makes_the_same_rows(workspace: Workspace, root: Path) -> None:
    shutil.copytree(root / "test/T", root / "train/copy")
    label(workspace, root)
    manifests, stems = Manifests(workspace), stems_of(workspace)
    before = sorted(map(repr, manifests.rows(stems, retired=True)))
    shutil.move(root / "train/A", root / "test/A")
    label(workspace, root, force=True)
    assert current(workspace) == ["test/A", "test/T", "train/B", "valid/V"]
    after = sorted(map(repr, Manifests(workspace).rows(stems, retired=True)))
    assert set(before) <= set(after)
    assert len(after) == len(before) + 5


ORDERS = list(permutations(("music", "more", "labelled")))


@pytest.mark.parametrize("order", ORDERS)
def test_music_of_the_labelled_set_is_left_out_in_any_order(
    workspace: Workspace, root: Path, tmp_path: Path, order: tuple[str, ...]
) -> None:
    for song in ("train/A", "valid/V", "test/T"):
        for source in ("bass", "drums"):
            target = tmp_path / ("more" if source == "bass" else "music") / f"{song[-1]}.wav"
            target.parent.mkdir(exist_ok=True)
            shutil.copy(root / song / f"{source}.wav", target)
    write(tmp_path / "music/free.wav", 0.1 * np.random.default_rng(50).standard_normal((150000, 2)))
    for name in order:
        if name == "labelled":
            label(workspace, root)
        else:
            take(workspace, tmp_path / name, corpus=name)
    manifests = Manifests(workspace)
    tracks = [
        Path(row["source_url"]).name
        for partition in manifests.partitions("tracks")
        for row in manifests.rows(partition)
    ]
    assert tracks == ["free.wav"]
    for name in ("music", "more"):
        reasons = [why.reason for why in manifests.retired().of_corpus(name).values()]
        reasons += [reason for reason, _ in rejects(workspace, name).values()]
        assert sorted(reasons) == ["duplicate", "labelled_test", "labelled_valid"]
    assert label(workspace, root).already_done
    assert take(workspace, tmp_path / "music").already_done


@pytest.mark.parametrize("order", list(permutations(("library", "labelled"))))
def test_stems_of_held_out_songs_are_in_no_library_in_any_order(
    workspace: Workspace, root: Path, tmp_path: Path, order: tuple[str, ...]
) -> None:
    library = tmp_path / "library"
    for song, source in (("test/T", "bass"), ("valid/V", "drums"), ("train/A", "other")):
        (library / source).mkdir(parents=True)
        shutil.copy(root / song / f"{source}.wav", library / source / f"of {song[-1]}.wav")
    for name in order:
        place = root if name == "labelled" else library
        last = take(workspace, place, corpus=name, labelled=True)
    told = (
        "left out from now on (labelled_test), such as train song bass/of T.wav of library: it is "
    )
    assert any(told in note for note in last.notes)
    manifests = Manifests(workspace)

    def left() -> list[str]:
        stems = manifests.latest("stems", "library")
        activity = Partition("activity", "library", stems.fingerprint)
        songs = load_songs(manifests, stems, "train")
        assert {song.track_id for song in songs} == set(load_activity(manifests, activity, "train"))
        return sorted(song.name for song in songs)

    assert left() == ["other/of A.wav"]
    held = "same audio as labelled {} of corpus labelled; it is held out, so not heard"
    assert rejects(workspace, "library") == {
        "train/bass/of T.wav": ("labelled_test", held.format("test song T (bass)")),
        "train/drums/of V.wav": ("labelled_valid", held.format("valid song V (drums)")),
    }
    again = take(workspace, library, corpus="library", labelled=True)
    assert again.already_done
    assert (again.counts["songs"], again.counts["rejected"]) == (1, 2)
    assert label(workspace, root).already_done
    shutil.move(root / "test/T", root / "train/T")
    label(workspace, root)
    manifests = Manifests(workspace)
    assert left() == ["bass/of T.wav", "other/of A.wav"]
    assert list(rejects(workspace, "library")) == ["train/drums/of V.wav"]


def version(split: str, song: str, *sounds: str, **fields: Any) -> Version:
    return Version(split=split, song=song, track_id="+".join(sounds), mixture=sounds[0],
                   sounds=frozenset(sounds), **fields)  # fmt: skip


versions = st.lists(
    st.builds(
        version,
        st.sampled_from(["train", "valid", "test"]),
        st.sampled_from("abcdef"),
        st.sampled_from("123456"),
        st.sampled_from("123456"),
        lies_there=st.booleans(),
    ),
    unique_by=lambda found: (found.split, found.song),
    max_size=12,
)


@given(versions, st.randoms(use_true_random=False))
def test_no_sound_is_in_two_splits(found: list[Version], random: Any) -> None:
    gone = settle(found)
    kept = [one for one in found if one not in gone]
    for one in kept:
        for other in kept:
            if one.split != other.split:
                assert not one.sounds & other.sounds
            elif one != other:
                assert one.mixture != other.mixture
    random.shuffle(found)
    assert settle(found) == gone
    for one, why in gone.items():
        assert why.reason == ("duplicate" if one.lies_there else "moved")
        owner = next(other for other in kept if str(other) == why.superseded_by)
        assert one.sounds & owner.sounds
        assert owner.lies_there >= one.lies_there


def test_one_file_as_two_single_stems_is_two() -> None:
    one, two = (
        Version("train", song, song, "", frozenset({"sound"})) for song in ("bass.csv", "other.csv")
    )
    assert not settle([one, two])
    again = Version("train", "copy", one.track_id, "", one.sounds)
    assert list(settle([one, two, again])) == [again]
