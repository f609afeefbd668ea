"""How precise a detector is on labelled music that nobody generated.

Labelled sets are small, and in most of their songs everything sounds most of the time. So every
song is heard as it was mixed, and with every set of its sources left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from demucs_core.activity import FLOOR_DB, ActivityConfig, active_frames, frame_level_db
from demucs_core.detector.config import SilenceDetector
from demucs_core.detector.scoring import score_chunks
from demucs_core.extraction.segments import ExtractionPolicy, extracted_frames
from flows.inputs.songs import Song, load_songs
from flows.studies.truth import SourceQuality
from storage.labelled.song import SPLITS
from storage.music_format import MIXTURE, MusicFormat
from storage.reading import CropReader
from storage.tables.manifests import Manifests


def quality_on_real_music(
    manifests: Manifests,
    corpus: str,
    detector: SilenceDetector,
    thresholds: Sequence[float],
    policy: ExtractionPolicy,
) -> dict[str, SourceQuality]:
    """What would be extracted of the mixtures of a labelled corpus, against their stems.

    Args:
        manifests: of the workspace.
        corpus: name of the corpus; all of its splits are heard.
        detector: the detector.
        thresholds: probabilities at which a silence opens, a source.
        policy: the extraction policy.
    """
    music = manifests.workspace.music
    hop, rate = music.hop_samples, music.sample_rate
    stems = manifests.latest("stems", corpus)
    read = CropReader(manifests.workspace.location)
    quality = {source: SourceQuality() for source in music.sources}
    for split in SPLITS:
        for song in load_songs(manifests, stems, split):
            for mixture, active in _mixtures(song, read, music):
                level_db = frame_level_db(mixture, hop)
                probability = score_chunks(
                    detector,
                    lambda start, count, audio=mixture: audio[:, start : start + count],  # type: ignore[misc]
                    mixture.shape[1],
                )
                found = extracted_frames(
                    probability, level_db, thresholds, policy, hop_samples=hop, sample_rate=rate
                )
                for index, source in enumerate(music.sources):
                    quality[source].judge(found[index], active[index], level_db, policy, music)
    return quality


def _mixtures(
    song: Song, read: CropReader, music: MusicFormat
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """A song as it was mixed, and the sums of some of its stems ``(C, T)``, each once.

    With each, where the sources are active in it, ``(S, F)``. Stems that the song does not have
    are not left out again.
    """
    hop, rate = music.hop_samples, music.sample_rate
    whole, *stems = (
        read(song.paths[name], 0, song.num_samples) for name in (MIXTURE, *music.sources)
    )
    whole_db, *levels_db = (frame_level_db(audio, hop) for audio in (whole, *stems))
    heard = [
        place
        for place, level_db in enumerate(levels_db)
        if active_frames(level_db, whole_db, ActivityConfig(), hop, rate).any()
    ]
    for num_kept in range(len(heard), 0, -1):
        for kept in combinations(heard, num_kept):
            is_whole = num_kept == len(heard)
            mixture = whole if is_whole else np.sum([stems[place] for place in kept], axis=0)
            mixture_db = frame_level_db(mixture, hop)
            silent_db = np.full_like(mixture_db, FLOOR_DB)
            yield (
                mixture,
                np.stack(
                    [
                        active_frames(
                            levels_db[place] if place in kept else silent_db,
                            mixture_db,
                            ActivityConfig(),
                            hop,
                            rate,
                        )
                        for place in range(len(music.sources))
                    ]
                ),
            )
