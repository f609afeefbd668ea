"""Every manifest's schema, in one place: types, units and a description for each field.

Positions in audio are in samples at the canonical rate; ``*_frame`` and list columns with one value
a frame are on the analysis grid of ``hop_samples`` samples. Levels are RMS in dB re full scale.
The Hive partition columns ``corpus`` and ``fingerprint`` come on top of the fields listed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

PARTITION_FIELDS = ("corpus", "fingerprint")

_text, _int, _float, _flag = pa.string(), pa.int64(), pa.float32(), pa.bool_()
_time = pa.timestamp("us", tz="UTC")
_Fields = tuple[tuple[str, pa.DataType, str], ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A manifest's name, version, key columns and Arrow schema.

    Attributes:
        rows_a_group: rows in a Parquet row group: few where a row holds a value a frame.
        added: columns that came later, and the value that rows of before have. So that old
            workspaces stay readable, the version says only what a default can't bridge.
        music: columns that name tracks or songs by their ``track_id``, or are lists of structs
            that do: a row goes when any of that music is forgotten. None where rows stay for good.
    """

    name: str
    version: int
    description: str
    key: tuple[str, ...]
    fields: _Fields
    rows_a_group: int = 16_384
    added: Mapping[str, Any] = field(default_factory=dict)
    music: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with the version and the descriptions as metadata."""
        fields = [
            pa.field(name, kind, nullable=False, metadata={"description": text})
            for name, kind, text in self.fields
        ]
        assert self.added.keys() <= {name for name, _, _ in self.fields}, self.name
        metadata: dict[str | bytes, str | bytes] = {
            "silentmix.table": self.name,
            "silentmix.version": str(self.version),
            "description": self.description,
        }
        return pa.schema(fields, metadata=metadata)


TRACKS = Table(
    name="tracks",
    version=1,
    description="Unlabelled music in canonical form, a row a track.",
    key=("track_id",),
    music=("track_id",),
    fields=(
        ("track_id", _text, "Name of the track: the first digits of content_hash"),
        ("path", _text, "Canonical audio, relative to the workspace"),
        ("source_url", _text, "The file it was decoded from"),
        ("source_bytes", _int, "Size of that file in bytes"),
        ("num_samples", _int, "Length in samples a channel, as decoded"),
        ("sample_rate", pa.int32(), "Samples a second of the canonical audio"),
        ("duration_s", pa.float64(), "Length in seconds"),
        ("peak", _float, "Largest absolute sample value as decoded; 1 is full scale"),
        ("gain_db", _float, "Gain applied to bring a peak above full scale back to it"),
        ("level_db", _float, "RMS level of the whole canonical track"),
        ("truncated", _flag, "Whether the file broke off and only its beginning was used"),
        ("content_hash", _text, "SHA-256 of the canonical samples"),
    ),
)

REJECTS = Table(
    name="rejects",
    version=1,
    description="What a stage could not use, and why.",
    key=("stage", "item"),
    fields=(
        ("stage", _text, "Stage that refused it"),
        ("item", _text, "The file (ingest) or track_id (later stages)"),
        ("source_bytes", _int, "Size of the file in bytes, 0 for a track"),
        ("reason", _text, "Short name of the reason, to count by"),
        ("detail", _text, "What exactly was wrong"),
    ),
)

STEMS = Table(
    name="stems",
    version=1,
    description="The labelled set in canonical form, a row a song and stem, mixture included.",
    key=("track_id", "source"),
    music=("track_id",),
    fields=(
        ("track_id", _text, "Name of the song: a hash of its stems' content hashes"),
        ("song", _text, "Name of the song in the labelled set"),
        ("split", _text, "train, valid or test"),
        (
            "source",
            _text,
            "A source of the workspace, the names of several with + between them for their sum, or "
            "mixture",
        ),
        ("path", _text, "Canonical audio, relative to the workspace"),
        ("source_url", _text, "The file it was decoded from; the first where it is a sum of files"),
        ("take_urls", _text, "The other files of such a sum, one a line"),
        ("num_samples", _int, "Length of the song in samples a channel: that of its mixture"),
        ("sample_rate", pa.int32(), "Samples a second of the canonical audio"),
        ("duration_s", pa.float64(), "Length of the song in seconds"),
        (
            "padded_s",
            _float,
            "Silence after the stem's end up to the song's; below 0 what it is longer than that",
        ),
        (
            "residual_db",
            _float,
            "Level of what the mixture's file holds beside the sum of the stems, relative to it; "
            "-120 where that is nothing, or there is no such file",
        ),
        ("gain_db", _float, "Gain applied to all stems of the song alike"),
        ("level_db", _float, "RMS level of the whole stem"),
        ("content_hash", _text, "SHA-256 of the canonical samples"),
    ),
    added={"take_urls": "", "padded_s": 0.0, "residual_db": -120.0},
)

ACTIVITY = Table(
    name="activity",
    version=1,
    description="Where each stem sounds that is one source or a mixture, a row a song and stem.",
    key=("track_id", "source"),
    rows_a_group=64,
    music=("track_id",),
    fields=(
        ("track_id", _text, "Song, as in stems"),
        ("split", _text, "train, valid or test"),
        ("source", _text, "A source of the workspace, or mixture"),
        ("hop_samples", pa.int32(), "Samples in a frame"),
        ("active", pa.list_(_flag), "Whether the source is heard, a value a frame"),
        ("level_db", pa.list_(_float), "RMS level of the stem, a value a frame"),
        ("relative_db", _float, "Threshold relative to the mixture that was used"),
        ("absolute_db", _float, "Absolute floor that was used"),
        ("close_gap_s", _float, "Silences shorter than this count as active"),
        ("context_s", _float, "Stretch over which the mixture's level is averaged for relative_db"),
    ),
    added={"context_s": 1.0},
)

LABELLED_FILES = Table(
    name="labelled_files",
    version=1,
    description="Which files each labelled song was made of, a row each time that they were looked "
    "at and had changed; the last one holds.",
    key=("split", "song", "identity", "seen_at"),
    music=("track_id",),
    fields=(
        ("split", _text, "train, valid or test"),
        ("song", _text, "Name of the song in the labelled set"),
        ("identity", _text, "Hash of its files' names, sizes and times; empty if they are gone"),
        ("track_id", _text, "Song, as in stems; empty where it could not be used"),
        ("seen_at", _time, "When they were looked at"),
    ),
)

SOURCE_FILES = Table(
    name="source_files",
    version=1,
    description="What each file of unlabelled music was found to be, a row each time that it was "
    "looked at; the last one holds.",
    key=("source_url", "item", "seen_at"),
    music=("track_id",),
    fields=(
        ("source_url", _text, "The file"),
        ("source_bytes", _int, "Its size in bytes; -1 where it could not be read"),
        ("stamp", _text, "Its time of change, or what its store calls that"),
        ("item", _text, "What the partition covers it as"),
        ("track_id", _text, "The audio in it, as in tracks, perhaps of another file; or empty"),
        ("reason", _text, "Why it was rejected, as in rejects; or empty"),
        ("seen_at", _time, "When it was looked at"),
    ),
)

PRINTS = Table(
    name="prints",
    version=1,
    description="Acoustic fingerprints, by which the same music is known in another encoding: a "
    "row a track, and a row a stem of a labelled song that sounds.",
    key=("track_id", "source"),
    rows_a_group=256,
    music=("track_id",),
    fields=(
        ("track_id", _text, "Track, as in tracks; or song, as in stems"),
        ("source", _text, "mixture, or which stem of a song"),
        ("algorithm", pa.int32(), "Of Chromaprint; numbers of another one are not alike"),
        ("item_s", _float, "Seconds from one number to the next"),
        ("items", pa.list_(pa.uint32()), "The fingerprint: a number every item_s"),
    ),
)

MEASURES = Table(
    name="measures",
    version=1,
    description="What each track is like as a whole, and what its file says of it, a row a track: "
    "the columns that `--where` knows beside those of tracks.",
    key=("track_id",),
    music=("track_id",),
    fields=(
        ("track_id", _text, "Track, as in tracks"),
        ("loudness_lufs", _float, "Integrated loudness after ITU-R BS.1770, at least -70"),
        ("clipped_share", _float, "Share of the samples in runs of three or more at full scale"),
        (
            "silent_share",
            _float,
            "Share of the time that is below -60 dB, a tenth of a second each",
        ),
        (
            "bandwidth_hz",
            _float,
            "Highest frequency that is there; lossy encoders cut what is above",
        ),
        ("side_db", _float, "Level of left less right against left and right; -120 is mono"),
        ("dc_offset", _float, "Largest mean of a channel; 1 is full scale"),
        ("title", _text, "Title in the file's tags, or empty"),
        ("artist", _text, "Artist in them, or empty"),
        ("album", _text, "Album in them, or empty"),
        ("year", pa.int32(), "Year in them, or 0"),
        ("genre", _text, "Genre in them, or empty"),
        ("licence", _text, "Licence or copyright in them, or empty"),
        ("isrc", _text, "International Standard Recording Code in them, or empty"),
    ),
)

DUPLICATES = Table(
    name="duplicates",
    version=1,
    description="Music that another track or a labelled song holds too, in whatever encoding: a "
    "row a pair, the one that came later first.",
    key=("track_id", "other_id", "other_source"),
    music=("track_id", "other_id"),
    fields=(
        ("track_id", _text, "Track that came later, as in tracks; or that was rejected for it"),
        ("other_id", _text, "Track that was there before, as in tracks; or song, as in stems"),
        ("other_corpus", _text, "Its corpus"),
        ("other_source", _text, "mixture, or which stem of the song"),
        ("reason", _text, "near_duplicate, labelled_test or labelled_valid"),
        ("start_s", _float, "Where in the track the longest stretch begins that both hold"),
        ("other_start_s", _float, "Where it begins in the other"),
        ("overlap_s", _float, "How long it is"),
        ("share", _float, "How much of the track it is, from 0 to 1"),
        ("error_rate", _float, "Share of the bits of their fingerprints that differ in it"),
    ),
)

RETURNED = "returned"
"""The reason of a row of ``retired`` that says: it is current again."""

RETIRED = Table(
    name="retired",
    version=1,
    description="Rows of tracks, stems, activity and rejects that are not current any more, and "
    "whose segments and remixes are not either. They stay for the lineage of what heard them. Rows "
    "are events, of which the last one holds.",
    key=("manifest", "track_id", "split", "name", "decided_at"),
    music=("track_id",),
    fields=(
        ("manifest", _text, "tracks, stems, activity or rejects"),
        ("track_id", _text, "Track or song"),
        ("split", _text, "Split that the song was in; empty for a track"),
        ("name", _text, "Name of the song, item of the reject; or empty"),
        (
            "reason",
            _text,
            "replaced, moved, duplicate, labelled_test or labelled_valid; or returned",
        ),
        ("superseded_by", _text, "What is current in its place"),
        ("decided_at", _time, "When ingest found it"),
    ),
)

SCORES = Table(
    name="scores",
    version=1,
    description="How likely each source is silent, frame by frame, a row a track.",
    key=("track_id",),
    rows_a_group=64,
    music=("track_id",),
    fields=(
        ("track_id", _text, "Track, as in tracks"),
        ("detector_id", _text, "Detector that made the scores"),
        ("path", _text, "Canonical audio, relative to the workspace"),
        ("num_samples", _int, "Length in samples a channel"),
        ("sources", pa.list_(_text), "Order of the sources in silence_probability"),
        ("hop_samples", pa.int32(), "Samples in a frame"),
        ("num_frames", _int, "Frames in the track"),
        ("silence_probability", pa.list_(pa.list_(_float)), "A list a source, a value a frame"),
        ("level_db", pa.list_(_float), "RMS level of the track, a value a frame"),
    ),
)

SEGMENTS = Table(
    name="segments",
    version=1,
    description="Stretches of unlabelled music in which some sources are silent.",
    key=("segment_id",),
    music=("track_id",),
    fields=(
        ("segment_id", _text, "Name of the segment: track, samples and silent sources hashed"),
        ("track_id", _text, "Track, as in tracks"),
        ("path", _text, "Canonical audio of the track, relative to the workspace"),
        ("track_num_samples", _int, "Length of the track in samples"),
        ("start_sample", _int, "First sample"),
        ("stop_sample", _int, "One past the last sample"),
        ("duration_s", pa.float64(), "Length in seconds"),
        ("silent_sources", pa.list_(_text), "Every source that is silent throughout"),
        ("mean_probability", pa.list_(_float), "Mean probability of silence a silent source"),
        ("min_probability", pa.list_(_float), "Least probability of silence a silent source"),
        ("level_db", _float, "RMS level of the segment"),
        ("detector_id", _text, "Detector whose scores it came from"),
        ("scores_fingerprint", _text, "Partition of scores it came from"),
        ("policy", _text, "Extraction policy and thresholds, as JSON"),
    ),
)

REMIXES = Table(
    name="remixes",
    version=2,
    description="Recipes: a segment, and what is added where it is silent. Rendered on the fly.",
    key=("remix_id",),
    music=("track_id", "added"),
    fields=(
        ("remix_id", _text, "Name of the recipe"),
        ("segment_id", _text, "Segment, as in segments"),
        ("segments_fingerprint", _text, "Partition of segments it came from"),
        ("track_id", _text, "Track of the segment"),
        ("path", _text, "Canonical audio of the track, relative to the workspace"),
        ("track_num_samples", _int, "Length of the track in samples"),
        ("start_sample", _int, "First sample of the segment"),
        ("stop_sample", _int, "One past the last sample of the segment"),
        ("silent_sources", pa.list_(_text), "The silent sources that the remix makes use of"),
        (
            "confidence",
            _float,
            "How sure the detector is of them all: the product of their mean probabilities",
        ),
        (
            "added",
            pa.list_(
                pa.struct(
                    [
                        ("source", _text),
                        ("track_id", _text),
                        ("path", _text),
                        ("track_num_samples", _int),
                        ("start_sample", _int),
                        ("num_samples", _int),
                        ("gain_db", _float),
                        ("tempo_ratio", _float),
                        ("key_steps", pa.int32()),
                    ]
                )
            ),
            "Stem excerpts to add: source, song, where the excerpt starts, its length, its gain; "
            "tempo over the segment's, halved or doubled to be nearest 1, and steps between their "
            "keys on the circle of fifths, each null where it was not matched",
        ),
        (
            "model_id",
            _text,
            "Model whose estimates of tracks are added in place of stems, so that all sources "
            "count as silent and there is no segment; else empty",
        ),
    ),
    added={"model_id": ""},
)

TEMPOS = Table(
    name="tempos",
    version=1,
    description="Tempo and key of unlabelled tracks and of labelled songs, a row a track.",
    key=("track_id",),
    music=("track_id",),
    fields=(
        ("track_id", _text, "Track, as in tracks; or song, as in stems"),
        ("tempo_bpm", _float, "Tempo in beats a minute"),
        ("key_tonic", pa.int32(), "Pitch class of the key's tonic: 0 is C, 11 is B"),
        ("key_mode", _text, "major or minor"),
    ),
)

HEARD = Table(
    name="heard",
    version=1,
    description="What a detector or a model was trained on: its id is the fingerprint. Kept when "
    "music is forgotten.",
    key=("track_id",),
    fields=(
        ("heard_by", _text, "detectors or models"),
        ("track_id", _text, "Track, as in tracks, or labelled song, as in stems"),
        ("labelled", _flag, "Whether it is a labelled song, from the splits train and valid"),
    ),
)

STEPS = Table(
    name="steps",
    version=1,
    description="How a training went, a row a step: the fingerprint is the model's id. A figure "
    "that there is none of is NaN.",
    key=("step",),
    fields=(
        ("step", _int, "Optimiser steps done, this one included"),
        ("loss", _float, "Loss of the batch, before the step"),
        ("labelled_loss", _float, "Its mean over the labelled examples"),
        ("weak_loss", _float, "Its mean over the remixes"),
        ("gradient_norm", _float, "Norm of all gradients together, before they were clipped"),
        ("learning_rate", pa.float64(), "That the step was taken with"),
        ("wait_s", _float, "Time that the step waited for its examples"),
        ("step_s", _float, "Time that it took in all, without a validation"),
        ("examples_per_s", _float, "Examples of the step over that time"),
        ("memory_bytes", _int, "Most memory used so far: of the GPU, or else of the process"),
        ("validation_loss", _float, "Loss of the validation after the step"),
        (
            "validation_sdr_db",
            pa.list_(_float),
            "SDR of that validation, a value a source of the workspace; empty without one",
        ),
    ),
    added={"examples_per_s": math.nan},
)

EVALUATIONS = Table(
    name="evaluations",
    version=1,
    description="BSSEval v4 of a model on the test songs, a row a song and source.",
    key=("model_id", "track_id", "source"),
    music=("track_id",),
    fields=(
        ("model_id", _text, "Model, as in models/"),
        ("track_id", _text, "Song, as in stems"),
        ("song", _text, "Name of the song"),
        ("source", _text, "A source of the workspace"),
        ("sdr_db", pa.float64(), "Median over frames of the signal-to-distortion ratio"),
        ("isr_db", pa.float64(), "Median over frames of the image-to-spatial-distortion ratio"),
        ("sir_db", pa.float64(), "Median over frames of the signal-to-interference ratio"),
        ("sar_db", pa.float64(), "Median over frames of the signal-to-artifacts ratio"),
        ("song_sdr_db", pa.float64(), "Whole-song ratio of the Music Demixing Challenge"),
        ("museval_path", _text, "Frame-by-frame scores as museval JSON, relative to the workspace"),
    ),
)

AUDITS = Table(
    name="audits",
    version=1,
    description="What a person heard in extracted segments, a row a segment and source.",
    key=("segment_id", "source"),
    music=("track_id",),
    fields=(
        ("segment_id", _text, "Segment, as in segments"),
        ("track_id", _text, "Track of the segment"),
        ("source", _text, "Source that should be silent"),
        ("segments_fingerprint", _text, "Partition of segments that was audited"),
        ("score", _float, "Mean probability of silence in the segment"),
        ("duration_s", pa.float64(), "Length of the segment in seconds"),
        ("draws", _int, "How often the segment was drawn, with replacement"),
        ("stratum", pa.int32(), "Class of score that it was drawn from, from the least on"),
        ("stratum_least_score", _float, "Least score in the stratum"),
        ("stratum_s", pa.float64(), "Seconds of all segments in the stratum"),
        ("answer", _text, "silent, heard, or can't tell"),
    ),
)

RUNS = Table(
    name="runs",
    version=1,
    description="What ran: a row a stage run.",
    key=("run_id",),
    fields=(
        ("run_id", _text, "Name of the run"),
        ("stage", _text, "Stage that ran"),
        ("flow_run_id", _text, "Prefect flow run, or empty"),
        ("parameters", _text, "Parameters, as JSON"),
        ("versions", _text, "Versions of silentmix, Python and the libraries that matter, as JSON"),
        ("git_revision", _text, "Revision of the code, or empty"),
        ("started_at", _time, "When it started"),
        ("duration_s", pa.float64(), "How long it took"),
        ("counts", _text, "What went in and what came out, as JSON"),
        ("outcome", _text, "completed, failed, cancelled or paused"),
        ("message", _text, "Why it failed, or empty"),
    ),
)

TABLES = {
    table.name: table
    for table in (
        TRACKS, REJECTS, STEMS, ACTIVITY, LABELLED_FILES, SOURCE_FILES, PRINTS, MEASURES,
        DUPLICATES, RETIRED, SCORES, SEGMENTS, TEMPOS, REMIXES, HEARD, STEPS, AUDITS, EVALUATIONS,
        RUNS,
    )
}  # fmt: skip
"""All manifests by name."""
