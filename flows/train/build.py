"""The trainer of a run, of its parameters and manifests; the same in all of a run's processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from demucs_core.separators.separator import SeparationModel
from demucs_core.training.ranks import Ranks
from demucs_core.training.trainer import Trainer
from demucs_core.training.training_config import TrainingConfig
from flows.train.examples import build_examples, build_mixtures
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition


def build_trainer(
    parameters: TrainParameters,
    manifests: Manifests,
    stems: Sequence[Partition],
    remixes: Mapping[Partition, str],
    tracks: Sequence[Partition],
    model: SeparationModel,
    device: str,
    ranks: Ranks,
) -> tuple[Trainer, dict[str, int]]:
    """Build the trainer of a model, and count what it hears.

    Args:
        parameters: of the run.
        manifests: that are read.
        stems: of the labelled songs, then of libraries.
        remixes: partitions of recipes, each with its digest.
        tracks: of unlabelled music, where the training is on its mixtures alone.
        model: with the weights that it begins with.
        device: of this process.
        ranks: the processes that train together.

    Raises:
        UserError: something of it won't do.
    """
    if parameters.objective == "mixit":
        material = build_mixtures(parameters, manifests, tracks, model)
    else:
        material = build_examples(parameters, manifests, stems, remixes, validates=ranks.is_first)
    try:
        trainer = Trainer(
            model,
            parameters.configure(TrainingConfig),
            material.examples,
            material.crops,
            execution=parameters.execution(device),
            ranks=ranks,
        )
    except ValueError as error:
        raise UserError(f"train: {error}") from error
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"train: the model does not fit into the memory of {device}: take a smaller one "
            f"(channels, depth), or another device ({error})"
        ) from error
    return trainer, material.counts
