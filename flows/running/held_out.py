"""The last line of defence: no stage calibrates, validates or tests on what was heard.

Ingest keeps a song in one split, and music of the labelled set out. Here it does not matter how it
got there: compared are the hashes of what is about to be read with those of what is held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flows.inputs import registry
from flows.inputs.recipe_music import RecipeMusic
from storage.damage import damaged
from storage.errors import UserError
from storage.fingerprint import ID_DIGITS
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import DUPLICATES, STEMS
from storage.tables.sql import any_of, quoted, reading

SILENCE_DB = -80.0
"""A stem below this level, in dBFS, is silent but for a converter's last bits. Such are alike."""
MENDING = (
    "ingest the labelled set again: tracks and single stems that it holds out are then heard no "
    "more; a whole song of another set is left out once it lies in that set's test/ too"
)


def sounds_of(manifests: Manifests, corpora: Sequence[Partition], *splits: str) -> dict[str, str]:
    """The audio of the songs of some splits, by its hash, and what a person calls it.

    Tracks that are known to hold their music in another sound are among it.
    """
    columns = ["track_id", "song", "split", "source", "level_db", "content_hash"]
    sounds, songs = {}, {}
    for stems in corpora:
        for row in manifests.rows(stems, columns):
            if row["split"] in splits and row["level_db"] > SILENCE_DB:
                name = f"{row['split']} song {row['song']} ({row['source']}) of {stems.corpus}"
                sounds[row["content_hash"][:ID_DIGITS]] = name
                songs[row["track_id"], row["source"]] = name
    return _copies_of(manifests, songs) | sounds


def _copies_of(manifests: Manifests, songs: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """The tracks that ingest found to hold music of songs, in another sound: they are those too."""
    columns = ["track_id", "other_id", "other_source"]
    return {
        row["track_id"]: f"{songs[song]}, in another sound,"
        for partition in manifests.partitions(DUPLICATES.name)
        for row in manifests.rows(partition, columns)
        if (song := (row["other_id"], row["other_source"])) in songs
    }


def sounds_of_recipes(manifests: Manifests, music: RecipeMusic) -> dict[str, str]:
    """The audio that recipes draw from: their tracks, and the songs whose stems they add."""
    named = {track: f"track {track} of {corpus}" for track, corpus in music.tracks.items()}
    return named | (_sounds_of_songs(manifests, music.songs) if music.songs else {})


def require_apart(
    held_out: Mapping[str, str], heard: Mapping[str, str], purpose: str, way_out: str = MENDING
) -> None:
    """Refuse what is held out and heard.

    Raises:
        UserError: names one such song, what it is heard as, and the way out.
    """
    both = sorted(held_out.keys() & heard.keys(), key=lambda sound: held_out[sound])
    if both:
        raise UserError(
            f"{purpose}: the {held_out[both[0]]} is held out, and has the audio of "
            f"{heard[both[0]]}, which is heard; {way_out}"
        )


def require_unheard(manifests: Manifests, model: str, held_out: Mapping[str, str]) -> None:
    """Refuse to test a model with what it, or the detector that found its segments, has heard.

    Raises:
        UserError: names the model, the song, and the way out.
        DamagedError: what it heard is on no record any more.
    """
    workspace = manifests.workspace
    partitions = [
        Partition(*name.split("/"))
        for each in (model, *registry.began_with(workspace, model))
        for name in registry.describe(workspace, "models", each).get("made_from", {})
        if name.count("/") == 2
    ]
    remixes = [partition for partition in partitions if partition.table == "remixes"]
    with reading(workspace, ("remixes", "segments", "heard"), retired=True) as database:
        detectors = database.sql(
            "SELECT DISTINCT detector_id FROM segments WHERE (corpus, fingerprint) IN "
            f"(SELECT (corpus, segments_fingerprint) FROM remixes WHERE {any_of(remixes)})"
        ).fetchall()
        taught = database.sql(
            f"SELECT DISTINCT model_id FROM remixes WHERE {any_of(remixes)} AND model_id <> ''"
        ).fetchall()
        teachers = {name for [name] in taught}
        hearers = {
            model: f"model {model}",
            **{name: f"its teacher {name}" for name in sorted(teachers)},
            **{name: f"detector {name}" for [name] in detectors},
        }
        names = ", ".join(map(quoted, hearers))
        rows = database.sql(
            f"SELECT DISTINCT fingerprint, track_id, labelled FROM heard WHERE fingerprint IN "
            f"({names}) ORDER BY ALL"
        ).fetchall()
    for hearer, told in hearers.items():
        kind = "detectors" if told.startswith("detector ") else "models"
        here = registry.finished(workspace, kind, hearer)
        if here and not registry.is_heard_known(manifests, kind, hearer):
            raise damaged(workspace.url(f"{kind}/{hearer}"), "what it heard is on no record")
        tracks = {track: f"track {track}" for name, track, labelled in rows
                  if name == hearer and not labelled}  # fmt: skip
        songs = {track for name, track, labelled in rows if name == hearer and labelled}
        heard = tracks | _sounds_of_songs(manifests, songs)
        anew = "fit a detector, score, extract, remix and train"
        if hearer == model:
            anew = "train it"
        elif hearer in teachers:
            anew = "train that, pseudo-label and train"
        require_apart(
            held_out, heard, f"testing model {model} ({told} was trained on it)",
            f"{anew} anew, and name with models those to evaluate",
        )  # fmt: skip


def _sounds_of_songs(manifests: Manifests, track_ids: set[str]) -> dict[str, str]:
    """The audio of songs of any corpus and split, those that are not current among them."""
    columns = ["track_id", "song", "source", "level_db", "content_hash"]
    return {
        row["content_hash"][:ID_DIGITS]: f"song {row['song']} ({row['source']})"
        for partition in manifests.partitions(STEMS.name)
        for row in manifests.rows(partition, columns, retired=True)
        if row["track_id"] in track_ids and row["level_db"] > SILENCE_DB
    }
