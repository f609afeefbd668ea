"""A workspace's training data as a dataset of PyTorch, for any trainer."""

from __future__ import annotations

from collections.abc import Sequence

from demucs_core.training.crops import Augmentation
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from flows.inputs.recipes import RecipeTable
from flows.inputs.songs import learning_corpora, load_learning_songs
from flows.train.examples import training_cache
from flows.train.options import CACHE_GB
from storage.reading import CropReader
from storage.tables.manifests import Manifests
from storage.workspace import Workspace


def training_examples(
    workspace: str,
    *,
    crop_s: float,
    labelled: str = "labelled",
    libraries: Sequence[str] = (),
    corpora: Sequence[str] = ("music",),
    weak_share: float = StreamConfig.weak_share,
    batch_size: int = StreamConfig.batch_size,
    seed: int = StreamConfig.seed,
    augmentation: Augmentation | None = None,
    cache_gb: float = CACHE_GB,
) -> ExampleStream:
    """The examples that ``silentmix train`` trains on, by index: labelled crops and remixes.

    An example has a mixture ``(C, T)``; targets ``(G, C, T)``, each the sum of a group of sources;
    the membership ``(G, S)`` of sources in groups; a mask ``(G, T)`` of where that is known, and a
    weight. Stacked, they are what :func:`demucs_core.training.weak_loss.grouped_l1` takes.

    Args:
        workspace: a folder or URL.
        crop_s: length of an example in seconds.
        labelled: corpus of labelled songs.
        libraries: corpora of further stems.
        corpora: those whose remixes are drawn from.
        weak_share: share of remixes in a batch.
        batch_size: examples in a row that keep to that share.
        seed: decides every example.
        augmentation: random changes to the audio; those of training without it.
        cache_gb: how much of recipes and remote audio is kept on this disk.

    Raises:
        UserError: a corpus was not ingested, or there is nothing to train on.
    """
    found = Workspace(workspace)
    manifests = Manifests(found)
    stems = learning_corpora(manifests, labelled, libraries)
    cache = training_cache(cache_gb)
    remixes = [manifests.latest("remixes", corpus) for corpus in corpora] if weak_share > 0 else []
    digests = {partition: manifests.digest(partition) for partition in remixes}
    config = StreamConfig(
        crop_samples=max(1, round(crop_s * found.music.sample_rate)),
        batch_size=batch_size,
        weak_share=weak_share,
        seed=seed,
        augmentation=augmentation or Augmentation(),
    )
    return ExampleStream(
        config,
        tracks=[song.stem_track() for song in load_learning_songs(manifests, stems, "training")],
        remixes=RecipeTable(found, digests, cache) if digests else None,
        read=CropReader(found.location, cache),
        num_sources=len(found.music.sources),
    )
