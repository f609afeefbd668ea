from __future__ import annotations

from typing import Any

import pytest

from storage.labelled.sets import find_songs
from storage.labelled.song import LabelledSong, StemSource
from tests.storage.labelled.files import SOURCES, message, url, write, write_songs

SONG = "train/Song"


def song(
    root: str, *files: str, sources: tuple[str, ...] = SOURCES, **options: Any
) -> LabelledSong:
    """The one song that has these files."""
    write(root, *(f"{SONG}/{name}" for name in files))
    fs, [found] = find_songs(root, sources, require_test=False, valid_share=0, **options)
    for parts in found.stems.values():
        assert all(fs.cat_file(part.path) == b"audio" for part in parts)
    return found


def parts(found: LabelledSong) -> dict[str, list[str]]:
    """What is summed for each group, as paths inside the song's folder."""
    return {
        group: [part.path.partition(f"{SONG}/")[2] for part in stems]
        for group, stems in found.stems.items()
    }


def refused(root: str, *files: str, **options: Any) -> str:
    write(root, *(f"{SONG}/{name}" for name in files))
    told = message(root, require_test=False, **options)
    assert told.startswith(f"{url(root)}/{SONG}")
    return told.removeprefix(f"{url(root)}/{SONG}").lstrip("/: ")


BAND = ("drums.wav", "bass.wav", "other.wav")


def test_takes_in_folders(root: str) -> None:
    found = song(
        root, "Drums/snare.wav", "Drums/kick/in.flac", "Drums/notes.txt", "bass/1.wav",
        "lead_vocals/a.wav", "backing vocals/b.wav", "other.wav",
    )  # fmt: skip
    assert parts(found) == {
        "drums": ["Drums/kick/in.flac", "Drums/snare.wav"],
        "bass": ["bass/1.wav"],
        "other": ["other.wav"],
        "vocals": ["backing vocals/b.wav", "lead_vocals/a.wav"],
    }
    assert found.mixture is None
    assert not found.rest


def test_files_with_words_around_the_name(root: str) -> None:
    found = song(root, *BAND, "lead_vocals.wav", "Backing Vocals 2.wav", "Mixture.wav")
    assert parts(found)["vocals"] == ["Backing Vocals 2.wav", "lead_vocals.wav"]
    assert found.mixture is not None


def test_folders_beside_files_of_all_sources_are_what_these_were_made_of(root: str) -> None:
    found = song(root, *BAND, "VOCALS.wav", "takes/guitar.wav", "drums/kick.wav")
    assert parts(found)["drums"] == ["drums.wav"]


def test_a_mapping(root: str) -> None:
    found = song(
        root, "Kit/kick.wav", "Lead.wav", "choir_backing.wav", "Bass.wav", "synth.wav",
        "click.wav", "full.wav",
        stems="vocals=lead*|*backing, drums=kit, skip=click, mixture=full, other=*",
    )  # fmt: skip
    assert parts(found) == {
        "drums": ["Kit/kick.wav"],
        "bass": ["Bass.wav"],
        "other": ["synth.wav"],
        "vocals": ["Lead.wav", "choir_backing.wav"],
    }
    assert found.mixture == StemSource(f"{write(root)}/{SONG}/full.wav")


def test_a_stem_file_as_other_sources(root: str) -> None:
    folder = write(root, f"{SONG}.stem.mp4")
    sources = ("vocals", "accompaniment")
    _, [found] = find_songs(
        root, sources, stems="accompaniment=drums|bass|other", require_test=False, valid_share=0
    )
    path = f"{folder}/{SONG}.stem.mp4"
    assert found.stems == {
        "vocals": (StemSource(path, 4),),
        "accompaniment": (StemSource(path, 1), StemSource(path, 2), StemSource(path, 3)),
    }


@pytest.mark.parametrize("name", ["accompaniment", "Accompaniment", "no_vocals"])
def test_vocals_and_accompaniment(root: str, name: str) -> None:
    found = song(root, "vocals.wav", f"{name}.wav")
    assert parts(found) == {
        "drums+bass+other": [f"{name}.wav"],
        "vocals": ["vocals.wav"],
    }


def test_a_mixture_and_one_stem(root: str) -> None:
    found = song(root, "vocals.wav", "mixture.wav")
    assert parts(found) == {"vocals": ["vocals.wav"]}
    assert found.rest == "drums+bass+other"
    assert found.groups == ("vocals", "drums+bass+other")


def test_the_one_source_without_a_file_is_the_mixture_less_the_others(root: str) -> None:
    assert song(root, "drums.wav", "bass.wav", "vocals.wav", "mixture.wav").rest == "other"


def test_a_mapping_names_sums_and_the_rest(root: str) -> None:
    found = song(root, "rhythm.wav", "band.wav", stems="drums+bass=rhythm, rest=band")
    assert parts(found) == {"drums+bass": ["rhythm.wav"], "other+vocals": ["band.wav"]}


def test_what_is_absent_may_be_silent(root: str) -> None:
    found = song(root, "drums.wav", "other.wav", absent="silent")
    assert parts(found) == {
        "drums": ["drums.wav"],
        "bass": [],
        "other": ["other.wav"],
        "vocals": [],
    }
    assert message(write(root, "train/Empty/notes.txt") and root, absent="silent").startswith(
        f"{url(root)}/train/Empty: no drums and no bass"
    )


def test_a_test_song_needs_every_source(root: str) -> None:
    write_songs(root, "train/A", "test/B")
    write(root, "test/C/vocals.wav", "test/C/no_vocals.wav")
    assert message(root) == (
        f"{url(root)}/test/C: drums, bass, other are known as a sum alone, and a test song needs "
        "each source by itself; add the missing stems, or move the song to train/ or valid/"
    )
    write(root, "test/C/drums.wav")
    assert "which sources it holds can't be told" in message(root)


def test_a_test_song_may_have_its_rest_computed(root: str) -> None:
    write(root, *(f"test/A/{name}.wav" for name in ("drums", "bass", "vocals", "mixture")))
    write_songs(root, "train/B")
    assert find_songs(root, SOURCES, valid_share=0)[1][-1].rest == "other"


def test_a_source_that_is_there_twice(root: str) -> None:
    assert refused(root, *BAND, "vocals.wav", "lead_vocals.wav") == (
        "vocals is there as lead_vocals.wav and vocals.wav, and one may hold the other; remove "
        "one, or leave one out with --stems, such as skip=lead_vocals"
    )


def test_a_file_beside_a_folder_of_the_same_source(root: str) -> None:
    told = refused(root, "drums.wav", "drums/kick.wav", "vocals.wav", "no_vocals.wav")
    assert told == "drums is there twice, as drums and drums.wav; remove one"


def test_sums_that_overlap(root: str) -> None:
    told = refused(root, *BAND, "rhythm.wav", stems="drums+bass=rhythm")
    assert told == (
        "bass is in bass and in drums+bass; a song's stems may hold each source once, so leave one "
        "out with --stems (skip=...)"
    ) or told.startswith("drums is in ")


def test_a_rest_that_can_not_be_told(root: str) -> None:
    assert refused(root, "vocals.wav", "drums.wav", "accompaniment.wav") == (
        "accompaniment.wav beside drums, vocals: which sources it holds can't be told; say it with "
        "--stems, such as rest=accompaniment"
    )


def test_a_rest_of_another_source(root: str) -> None:
    assert "can't be told" in refused(root, "drums.wav", "no_vocals.wav")


def test_a_rest_of_nothing(root: str) -> None:
    assert refused(root, *BAND, "vocals.wav", "accompaniment.wav") == (
        "accompaniment.wav holds what the other stems don't, but they hold all sources; remove it, "
        "or say with --stems what it holds (skip=... leaves it out)"
    )


def test_a_rest_alone(root: str) -> None:
    assert "but there is no other stem" in refused(root, "accompaniment.wav")


def test_a_folder_that_no_source_is_named_after(root: str) -> None:
    told = refused(root, *BAND, "guitar/1.wav", "mixture.wav")
    assert told.startswith("guitar/1.wav: unknown source 'guitar'")


def test_two_mixtures(root: str) -> None:
    told = refused(root, *BAND, "vocals.wav", "mixture.wav", "mixture_2.wav")
    assert told == "mixture is there twice, as mixture.wav and mixture_2.wav; remove one"
