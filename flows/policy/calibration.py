"""Thresholds of a detector for an extraction policy, from the songs it was not trained on."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from contextlib import suppress

import numpy as np

from demucs_core.extraction.calibration import InsufficientEvidenceError, ScoredSong, calibrate
from demucs_core.extraction.calibration_result import Calibration
from demucs_core.extraction.precision_bound import largest_promise, songs_needed
from flows.inputs import registry
from flows.inputs.made_for import require_hears
from flows.inputs.songs import load_activity
from flows.policy.options import PolicyOptions
from flows.policy.typed_options import typed
from flows.running.parameters import recorded
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import maker, require_all_parts
from storage.workspace import Workspace

VERSION = 1
MIN_SONGS = 2
"""Fewer can't be asked for."""


def require_evidence_of_each(
    held_out: Sequence[Collection[str]],
    sources: Sequence[str],
    corpus: str,
    options: PolicyOptions,
) -> None:
    """:func:`require_evidence` for the source that the fewest songs held out know by itself.

    Where insufficient evidence is allowed, for the one that most know.

    Args:
        held_out: what each song held out has by itself.
        sources: of the workspace.
        corpus: of the songs.
        options: how much evidence is wanted.
    """
    counts = {source: sum(source in song for song in held_out) for source in sources}
    fewest = min(counts, key=lambda source: counts[source])
    if options.allow_insufficient_evidence:
        require_evidence(max(counts.values()), corpus, options)
    else:
        known = f" that know {fewest} by itself" if counts[fewest] < len(held_out) else ""
        require_evidence(counts[fewest], corpus, options, known)


def as_promised(precision: float) -> str:
    """A precision as a promise: rounded down.

    >>> as_promised(0.9519)
    '0.951'
    """
    return f"{math.floor(precision * 1000) / 1000:g}"


def what_songs_promise(num_songs: int, options: PolicyOptions) -> str:
    """What songs held out can promise, in words, before anything was trained.

    >>> print(what_songs_promise(14, PolicyOptions()))  # doctest: +NORMALIZE_WHITESPACE
    14 songs are held out to calibrate on; without an error in them they promise a precision of
    0.951 (0.95 is asked for, at a confidence of 0.95)
    """
    best = largest_promise(num_songs, options.bound)
    return (
        f"{num_songs} songs are held out to calibrate on; without an error in them they promise a "
        f"precision of {as_promised(best)} ({options.target_precision:g} is asked "
        f"for, at a confidence of {options.confidence:g})"
    )


def require_evidence(num_songs: int, corpus: str, options: PolicyOptions, which: str = "") -> None:
    """Refuse, before a detector is trained, what no detector could promise with so few songs.

    Raises:
        UserError: says how many more songs it takes.
    """
    needed = max(songs_needed(options.target_precision, options.bound), options.min_songs)
    what = _typed("target_precision", options.target_precision)
    if options.allow_insufficient_evidence:
        needed, what = 1, "any threshold"
    if num_songs < needed:
        few = (
            f"corpus {corpus!r}: {num_songs} songs{which} are held out to calibrate on, and {what} "
            f"takes at least {needed}"
        )
        more = (
            f"add {needed - num_songs} to valid/ and ingest again (a set without valid/ holds out "
            f"more with a larger {typed('ingest', 'valid_share')}"
        )
        if not num_songs:
            raise UserError(
                f"{few}: {more}, or with more songs), or train on labelled songs alone, which "
                "takes no detector: run --until ingest, then train --weak-share 0"
            )
        best = largest_promise(num_songs, options.bound)
        raise UserError(
            f"{few} (they promise {as_promised(best)} at best): {more}), "
            f"{_what_goes(num_songs, best, options)}or set "
            f"{_typed('allow_insufficient_evidence', True)} (which needs one)"
        )


def _typed(name: str, value: object = None) -> str:
    if isinstance(value, float):
        value = f"{value:g}"
    return typed("extract", name, value)


def _what_goes(num_songs: int, best: float, options: PolicyOptions) -> str:
    """The target that so few songs can meet, as options; one song is no evidence."""
    if num_songs < MIN_SONGS:
        return ""
    target = min(options.target_precision, math.floor(best * 100) / 100)
    fewer = f" {_typed('min_songs', num_songs)}" if num_songs < options.min_songs else ""
    return f"ask for less with {_typed('target_precision', target)}{fewer}, "


def calibrated(
    workspace: Workspace,
    detector: str,
    options: PolicyOptions,
    *,
    anew: bool = False,
    keep: bool = True,
) -> Calibration:
    """The detector's thresholds for these options: computed once, kept, and read back from then on.

    Args:
        workspace: where the detector and its songs are.
        detector: its id.
        options: the policy, and how sure one must be.
        anew: compute them though they are there.
        keep: write what was computed.

    Raises:
        UserError: the detector is a foreign one, or the songs held out are too few for the
            target; says how many more it takes.
    """
    require_hears(workspace, detector)
    path = calibration_path(detector, options)
    if workspace.exists(path) and not anew:
        try:
            return Calibration.from_json(workspace.read_json(path))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{workspace.url(path)}: no calibration that this silentmix knows ({error}); "
                "remove the file to calibrate anew"
            ) from error
    manifests = Manifests(workspace)
    held_out = registry.describe(workspace, "detectors", detector)["held_out"]
    if not anew:
        scores = Partition("scores", held_out["corpus"], held_out["scores"])
        require_all_parts(manifests, scores, made_by=detector)
    try:
        calibration = calibrate(
            _held_out_songs(manifests, held_out),
            options.policy,
            workspace.music.sources,
            target_precision=options.target_precision,
            bound=options.bound,
            min_songs=options.min_songs,
            surest_share=options.surest_share,
            allow_insufficient_evidence=options.allow_insufficient_evidence,
            hop_samples=workspace.music.hop_samples,
            sample_rate=workspace.music.sample_rate,
        )
    except InsufficientEvidenceError as error:
        raise UserError(
            f"detector {detector}: {error} (add songs to valid/, lower "
            f"{_typed('target_precision')}, or set {_typed('allow_insufficient_evidence', True)})"
        ) from error
    if keep:
        workspace.put_json(path, calibration.to_json())
    return calibration


def calibration_path(detector: str, options: PolicyOptions) -> str:
    """Where the thresholds of a detector for some options are kept, relative to the workspace."""
    alone = PolicyOptions(**{name: getattr(options, name) for name in PolicyOptions.model_fields})
    name = fingerprint("calibrate", VERSION, detector=detector, **alone.content())
    return f"detectors/{detector}/calibrations/{name}.json"


def _held_out_songs(manifests: Manifests, held_out: dict[str, str]) -> list[ScoredSong]:
    corpus = held_out["corpus"]
    activity = load_activity(
        manifests, Partition("activity", corpus, held_out["activity"]), "valid"
    )
    scores = Partition("scores", corpus, held_out["scores"])
    return [
        ScoredSong(
            track_id=row["track_id"],
            probability=np.array(row["silence_probability"], dtype=np.float32),
            level_db=np.array(row["level_db"], dtype=np.float32),
            active=activity[row["track_id"]].active,
            known=activity[row["track_id"]].known,
        )
        for row in manifests.rows(scores)
        if row["track_id"] in activity
    ]


def fitted_calibration(manifests: Manifests, detector: str) -> Calibration | None:
    """The thresholds that a detector was fitted with: those of the run that made it.

    None where nobody knows them, or they were written by another version.
    """
    fitted, workspace = maker(manifests, detector), manifests.workspace
    if fitted is None:
        return None
    policy = recorded(PolicyOptions, json.loads(fitted.parameters))
    with suppress(TypeError, ValueError):  # of another version, as `extract` will say
        path = calibration_path(detector, PolicyOptions.model_validate(policy))
        if workspace.exists(path):
            return Calibration.from_json(workspace.read_json(path))
    return None
