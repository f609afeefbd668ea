"""Labelled sets in each of their forms, from files to manifests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs.songs import load_activity, load_songs
from flows.provenance.forget import forget
from flows.provenance.lineage import lineage
from flows.running.stage import StageResult
from storage.decoding.prints import can_print
from storage.errors import UserError
from storage.labelled.song import LabelledSetError
from storage.music_format import MusicFormat
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import mix, play, write

SOURCES = MusicFormat().sources
SAMPLE_RATE = MusicFormat().sample_rate
ROUNDING = 2**-15
REST = "drums+bass+other"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return tmp_path / "set/train/Song"


def put(folder: Path, files: Mapping[str, np.ndarray]) -> None:
    for name, audio in files.items():
        write(folder / f"{name}.wav", audio)


def take(workspace: Workspace, source: Path, **fields: object) -> StageResult:
    values = {"workspace": workspace.location, "source": str(source), "corpus": "labelled",
              "labelled": True, "valid_share": 0.0, **fields}  # fmt: skip
    return ingest(IngestParameters.model_validate(values))


def rows(workspace: Workspace, result: StageResult, table: str = "stems") -> list[dict[str, Any]]:
    return list(Manifests(workspace).rows(Partition(table, result.corpus, result.fingerprint)))


def audio(workspace: Workspace, result: StageResult) -> dict[str, np.ndarray]:
    """The canonical audio ``(T, 2)`` of the one song, by what it is."""
    read = CropReader(workspace.location)
    return {
        row["source"]: read(row["path"], 0, row["num_samples"]).T for row in rows(workspace, result)
    }


def assert_adds_up(found: dict[str, np.ndarray]) -> None:
    total = sum(stem for name, stem in found.items() if name != "mixture")
    assert np.abs(total - found["mixture"]).max() <= len(found) * ROUNDING


def test_takes_are_summed(workspace: Workspace, song: Path) -> None:
    stems, more = play(1), play(2)
    put(song, {name: stems[name] for name in ("drums", "bass", "other")})
    put(song / "Vocals", {"lead": stems["vocals"], "choir": more["vocals"]})
    result = take(workspace, song.parents[1])
    found = audio(workspace, result)
    assert list(found) == ["mixture", *SOURCES]
    np.testing.assert_allclose(
        found["vocals"], stems["vocals"] + more["vocals"], rtol=0, atol=3 * ROUNDING
    )
    assert_adds_up(found)
    [vocals] = [row for row in rows(workspace, result) if row["source"] == "vocals"]
    assert vocals["source_url"] == str(song / "Vocals/choir.wav")
    assert vocals["take_urls"] == str(song / "Vocals/lead.wav")
    assert can_print() == (not result.notes)  # there is nothing else to note
    for take_url in (vocals["source_url"], vocals["take_urls"]):
        found_by_it = lineage(workspace, take_url)
        assert found_by_it.songs.first == [vocals["track_id"]]
        assert take_url in found_by_it.files.first
        assert forget(workspace, [take_url], dry_run=True).names == {vocals["track_id"]: "Song"}


def test_a_mapping_is_in_the_fingerprint_and_no_spaces_of_it(
    workspace: Workspace, song: Path
) -> None:
    stems = play(1)
    put(song, {**{name: stems[name] for name in SOURCES[:3]}, "lead": stems["vocals"]})
    with pytest.raises(LabelledSetError, match="unknown source 'lead'"):
        take(workspace, song.parents[1])
    result = take(workspace, song.parents[1], stems="vocals=lead*")
    assert list(audio(workspace, result)) == ["mixture", *SOURCES]
    again = take(workspace, song.parents[1], stems=" VOCALS = Lead* ")
    assert again.fingerprint == result.fingerprint
    assert again.already_done
    assert take(workspace, song.parents[1], stems="vocals=l*").fingerprint != result.fingerprint


def test_vocals_and_accompaniment(workspace: Workspace, song: Path) -> None:
    stems = play(1)
    band = stems["drums"] + stems["bass"] + stems["other"]
    put(song, {"vocals": stems["vocals"], "accompaniment": band})
    result = take(workspace, song.parents[1])
    found = audio(workspace, result)
    assert list(found) == ["mixture", REST, "vocals"]
    assert_adds_up(found)
    np.testing.assert_allclose(found[REST], band, rtol=0, atol=ROUNDING)
    assert [row["source"] for row in rows(workspace, result, "activity")] == ["mixture", "vocals"]
    assert result.counts["partially_labelled"] == 1
    assert "train/Song" in result.notes[0]
    manifests = Manifests(workspace)
    stems_partition = manifests.latest("stems", "labelled")
    [loaded] = load_songs(manifests, stems_partition, "train")
    assert loaded.stem_track().groups == ((0, 1, 2), (3,))
    assert loaded.sums == (REST,)
    [activity] = load_activity(
        manifests, Partition("activity", "labelled", result.fingerprint), "train"
    ).values()
    assert activity.known == (False, False, False, True)
    assert not activity.active[:3].any()
    assert activity.active[3].any()


@pytest.mark.parametrize(
    ("given", "computed"), [(("vocals",), REST), (SOURCES[:2], "other+vocals")]
)
def test_what_the_mixture_holds_besides(
    workspace: Workspace, song: Path, given: tuple[str, ...], computed: str
) -> None:
    stems = play(1)
    put(song, {"mixture": mix(stems), **{name: stems[name] for name in given}})
    found = audio(workspace, take(workspace, song.parents[1]))
    expected = sum(stems[name] for name in SOURCES if name not in given)
    np.testing.assert_allclose(found[computed], expected, rtol=0, atol=4 * ROUNDING)
    assert_adds_up(found)


def test_the_rest_is_a_source_like_any_other(workspace: Workspace, song: Path) -> None:
    stems = play(1)
    known = {name: stems[name] for name in SOURCES if name != "other"}
    put(song, {"mixture": mix(stems), **known})
    result = take(workspace, song.parents[1])
    found = audio(workspace, result)
    assert list(found) == ["mixture", *SOURCES]
    np.testing.assert_allclose(found["other"], stems["other"], rtol=0, atol=4 * ROUNDING)
    assert len(rows(workspace, result, "activity")) == 5
    assert "partially_labelled" not in result.counts


def test_absent_sources_may_be_silent(workspace: Workspace, song: Path) -> None:
    stems = play(1)
    put(song, {name: stems[name] for name in ("drums", "bass")})
    with pytest.raises(LabelledSetError, match="no other and no vocals"):
        take(workspace, song.parents[1])
    result = take(workspace, song.parents[1], absent="silent")
    found = audio(workspace, result)
    assert not found["vocals"].any()
    assert_adds_up(found)
    silent = {row["source"]: not any(row["active"]) for row in rows(workspace, result, "activity")}
    assert silent["vocals"]
    assert silent["other"]
    assert not silent["drums"]


def test_stems_of_unlike_lengths(workspace: Workspace, song: Path) -> None:
    stems = play(1)
    stems["vocals"] = stems["vocals"][: 4 * SAMPLE_RATE]
    stems["drums"] = stems["drums"][:, :1]  # mono
    put(song, stems)
    result = take(workspace, song.parents[1])
    found = audio(workspace, result)
    assert {len(stem) for stem in found.values()} == {len(stems["bass"])}
    assert not found["vocals"][4 * SAMPLE_RATE :].any()
    assert_adds_up(found)
    padded = {row["source"]: row["padded_s"] for row in rows(workspace, result)}
    assert padded == {name: 3.0 if name == "vocals" else 0.0 for name in ("mixture", *SOURCES)}
    assert result.counts["unlike_lengths"] == 1
    assert "vocals ends 3.0 s before the song" in result.notes[0]


def test_a_mixture_that_is_not_the_sum(workspace: Workspace, song: Path) -> None:
    stems = play(1)
    applause = 0.01 * np.random.default_rng(0).standard_normal(stems["bass"].shape)
    mixture = sum(stems.values()) + applause
    put(song, {**stems, "mixture": mixture})
    level_db = 10 * np.log10(np.square(applause).sum() / np.square(mixture).sum())
    given = take(workspace, song.parents[1])
    found = audio(workspace, given)
    np.testing.assert_allclose(found["mixture"], mixture, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(found["other"], stems["other"], rtol=0, atol=ROUNDING)
    assert rows(workspace, given)[0]["residual_db"] == pytest.approx(level_db, abs=0.05)
    assert given.counts["not_the_sum"] == 1
    assert f"{level_db:.1f} dB" in given.notes[0]

    by_stems = take(workspace, song.parents[1], truth="stems")
    found = audio(workspace, by_stems)
    assert_adds_up(found)
    np.testing.assert_allclose(found["other"], stems["other"], rtol=0, atol=ROUNDING)

    by_mixture = take(workspace, song.parents[1], truth="mixture")
    found = audio(workspace, by_mixture)
    assert_adds_up(found)
    np.testing.assert_allclose(found["mixture"], mixture, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(found["other"], stems["other"] + applause, rtol=0, atol=5 * ROUNDING)
    assert len({given.fingerprint, by_stems.fingerprint, by_mixture.fingerprint}) == 3


def test_the_mixture_is_no_truth_without_a_rest(tmp_path: Path, song: Path) -> None:
    stems = play(1)
    put(song, {"vocals": stems["vocals"], "band": stems["drums"]})
    values = {"workspace": str(tmp_path / "two"), "source": str(song.parents[1])}
    with pytest.raises(UserError, match="adds what a mixture holds beside its stems to the source"):
        ingest(
            IngestParameters(**values, labelled=True, truth="mixture", sources=["vocals", "band"])
        )
    assert not (tmp_path / "two").exists()


def test_a_library_of_single_stems(workspace: Workspace, tmp_path: Path) -> None:
    one, two = play(1), play(2)
    put(tmp_path / "library/vocals", {"a": one["vocals"], "b": two["vocals"]})
    put(tmp_path / "library/Drums", {"a": one["drums"], "silent": 0 * one["drums"]})
    result = take(workspace, tmp_path / "library", valid_share=0.9)
    assert result.counts["songs"] == result.counts["single_stems"] == 3
    assert result.counts["rejected"] == 1
    found = {(row["song"], row["source"]): row for row in rows(workspace, result)}
    assert set(found) == {
        ("vocals/a.wav", "vocals"), ("vocals/b.wav", "vocals"), ("Drums/a.wav", "drums"),
    }  # fmt: skip
    assert {row["split"] for row in found.values()} == {"train"}
    assert {row["source"] for row in rows(workspace, result, "activity")} == {"vocals", "drums"}
    lines = f"instrum,path\nvocals,library/vocals/a.wav\ndrums,{tmp_path}/library/Drums/a.wav\n"
    (tmp_path / "list.csv").write_text(lines + "bass,gone.wav\n")
    listed = take(workspace, tmp_path / "list.csv", corpus="listed")
    assert listed.counts["songs"] == 2
    [gone] = rows(workspace, listed, "rejects")
    assert (gone["reason"], gone["item"]) == ("missing", "train/gone.wav")
    assert any(note.startswith("1 rejected (1 missing), such as train/gone.wav: ")
               for note in listed.notes)  # fmt: skip
    (tmp_path / "gone.csv").write_text("bass;gone.wav\ndrums;gone too.wav\n")
    for _ in range(2):  # again, since nothing is left to do
        with pytest.raises(UserError, match=r"^corpus 'gone' has nothing .*: 2 rejected \(2 miss"):
            take(workspace, tmp_path / "gone.csv", corpus="gone")
    hashes = {row["source"]: row["content_hash"] for row in rows(workspace, listed)}
    assert hashes["vocals"] == found["vocals/a.wav", "vocals"]["content_hash"]


def test_the_same_audio_as_two_sources_is_two_stems(workspace: Workspace, tmp_path: Path) -> None:
    stem = play(1)["vocals"]
    put(tmp_path / "library/vocals", {"a": stem})
    put(tmp_path / "library/other", {"a": stem})
    result = take(workspace, tmp_path / "library")
    assert len({row["track_id"] for row in rows(workspace, result)}) == 2


def test_a_partially_labelled_test_song_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    stems = play(1)
    put(tmp_path / "set/train/A", stems)
    put(tmp_path / "set/test/B", {"vocals": stems["vocals"], "no_vocals": stems["drums"]})
    with pytest.raises(LabelledSetError, match="test/B: drums, bass, other are known as a sum"):
        take(workspace, tmp_path / "set")
    assert not Manifests(workspace).partitions("stems")
