"""What training hears: labelled songs, recipes and validation crops, manifests in, examples out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demucs_core.separators.separator import SeparationModel
from demucs_core.training.crops import Augmentation
from demucs_core.training.mixit import MixtureStream, MixtureTrack
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.validation import ValidationCrop, validation_crops
from flows.inputs.recipes import RecipeTable
from flows.inputs.songs import Song, load_learning_songs, load_songs
from flows.inputs.usable_tracks import usable_tracks
from flows.running.held_out import SILENCE_DB
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.labelled.song import sources_of
from storage.local_cache import LocalCache, cache_folder
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import ManifestError
from storage.tables.sql import any_of, reading


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a training hears.

    Attributes:
        examples: the stream of them.
        crops: to validate on.
        counts: how much of what there is.
    """

    examples: ExampleStream
    crops: list[ValidationCrop]
    counts: dict[str, int]


def build_examples(
    parameters: TrainParameters,
    manifests: Manifests,
    stems: Sequence[Partition],
    remixes: Mapping[Partition, str],
    *,
    validates: bool = True,
) -> Material:
    """Find what a training hears.

    Args:
        parameters: of the run.
        manifests: that are read.
        stems: of the labelled songs, then of libraries.
        remixes: partitions of recipes, each with its digest.
        validates: whether this process does; else there are no crops.

    Raises:
        UserError: there are no songs, or no recipes for the weak share; no song is as long as the
            crop; or a source never sounds.
    """
    workspace = manifests.workspace
    music = workspace.music
    songs = songs_to_learn_from(manifests, stems, parameters.crop_s)
    held_out = load_songs(manifests, stems[0], "valid") if validates else []
    cache = training_cache(parameters.cache_gb)
    recipes = RecipeTable(
        workspace, remixes, cache, confidence_weighting=parameters.confidence_weighting
    )
    if parameters.weak_share > 0 and not recipes:
        raise UserError(
            f"corpora {', '.join(parameters.corpora) or '(none)'}: no remixes to train on; extract "
            "more (see `silentmix extract --help`), or set weak_share to 0"
        )
    stream = _stream_config(parameters, music.sample_rate)
    reader = CropReader(workspace.location, cache)
    examples = ExampleStream(
        stream,
        tracks=[song.stem_track() for song in songs],
        remixes=recipes,
        read=reader,
        num_sources=len(music.sources),
    )
    crops = validation_crops(
        [song.stem_track() for song in held_out],
        reader,
        num_sources=len(music.sources),
        crop_samples=stream.crop_samples,
        crops_per_track=parameters.validation_crops,
    )
    return Material(
        examples=examples, crops=crops, counts={"songs": len(songs), "remixes": len(recipes)}
    )


def build_mixtures(
    parameters: TrainParameters,
    manifests: Manifests,
    tracks: Sequence[Partition],
    model: SeparationModel,
) -> Material:
    """Find what a training hears of mixtures of two tracks. Songs held out are none of them.

    Raises:
        UserError: there is no track, or none is as long as the crop.
    """
    workspace = manifests.workspace
    rate = workspace.music.sample_rate
    mixtures = {
        row["track_id"]: MixtureTrack(path=row["path"], num_samples=row["num_samples"])
        for partition in tracks
        for row in usable_tracks(manifests, partition)[0]
    }
    try:
        examples = MixtureStream(
            _stream_config(parameters, rate),
            mixtures=[mixtures[track_id] for track_id in sorted(mixtures)],
            read=CropReader(workspace.location, training_cache(parameters.cache_gb)),
            num_outputs=len(model.config.sources),
        )
    except ValueError as error:
        raise UserError(f"corpora {', '.join(parameters.corpora) or '(none)'}: {error}") from error
    lengths = {track.path: track.num_samples for track in mixtures.values()}
    _require_length(lengths, parameters.crop_s, rate, "track of these corpora")
    return Material(examples=examples, crops=[], counts={"tracks": len(mixtures)})


def _stream_config(parameters: TrainParameters, sample_rate: int) -> StreamConfig:
    """What was asked of the examples, at a sample rate."""
    return parameters.configure(
        StreamConfig,
        crop_samples=max(1, round(parameters.crop_s * sample_rate)),
        augmentation=parameters.configure(Augmentation),
        batch_augmentation=parameters.batch_augmentation(sample_rate),
        stretching=parameters.stretching(sample_rate),
        lossy_codec=parameters.lossy_codec(sample_rate),
    )


def training_cache(cache_gb: float) -> LocalCache:
    """Where all trainings of this user keep recipes and remote audio, on this machine's disk."""
    return LocalCache(cache_folder("training"), round(cache_gb * 2**30))


def remixes_to_learn_from(parameters: TrainParameters, manifests: Manifests) -> list[Partition]:
    """The recipes that were chosen; there need not be any in them.

    Raises:
        UserError: there are none.
    """
    found = []
    for corpus, made in parameters.chosen_remixes:
        try:
            found.append(manifests.latest("remixes", corpus, made))
        except ManifestError as error:
            raise UserError(
                f"{error}; draw them with {manifests.workspace.command(f'remix --corpus {corpus}')}"
                " (there are none where nothing was extracted), or set weak_share to 0 to train on "
                "labelled songs alone"
            ) from error
    return found


def songs_to_learn_from(
    manifests: Manifests, stems: Sequence[Partition], crop_s: float
) -> list[Song]:
    """The songs to train on.

    Raises:
        UserError: there are none, none is as long as the crop, or a source never sounds.
    """
    songs = load_learning_songs(manifests, stems, "training")
    sample_rate = manifests.workspace.music.sample_rate
    lengths = {song.name: song.num_samples for song in songs}
    _require_length(lengths, crop_s, sample_rate, "training song")
    _require_sound(manifests, stems)
    return songs


def _require_length(lengths: Mapping[str, int], crop_s: float, rate: int, what: str) -> None:
    """Refuse a crop that is longer than all there is: all examples would end in silence.

    Args:
        lengths: in samples, by name.
        crop_s: length of the crop.
        rate: samples a second.
        what: each of them is, for the message.
    """
    longest = max(lengths, key=lambda name: lengths[name])
    if lengths[longest] < round(crop_s * rate):
        raise UserError(
            f"crop_s is {crop_s:g} s, and no {what} is as long: {longest} has "
            f"{lengths[longest] / rate:.2f} s and is the longest; lower crop_s, or ingest longer "
            "music"
        )


def _require_sound(manifests: Manifests, corpora: Sequence[Partition]) -> None:
    """Refuse sources that sound in no training song: the model would learn that they never do.

    Of a sum nobody knows which of its sources sound, so it speaks for all of them.
    """
    activity = [Partition("activity", stems.corpus, stems.fingerprint) for stems in corpora]
    with reading(manifests.workspace, ("stems", "activity")) as database:
        heard = database.sql(
            f"SELECT source FROM activity WHERE {any_of(activity)} AND split = 'train' "
            "AND list_contains(active, true) UNION "
            f"SELECT source FROM stems WHERE {any_of(corpora)} AND split = 'train' "
            f"AND level_db > {SILENCE_DB} AND contains(source, '+')"
        ).fetchall()
    sounding = {source for [name] in heard for source in sources_of(name)}
    silent = [source for source in manifests.workspace.music.sources if source not in sounding]
    if silent:
        raise UserError(
            f"corpora {', '.join(stems.corpus for stems in corpora)}: no training song has a stem "
            f"of {', '.join(silent)} that sounds; ingest songs that have, name a library of such "
            "stems in libraries, or begin a workspace without the source (`silentmix init`)"
        )
