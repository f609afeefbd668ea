"""The model that a training begins with, refused before the first step where it won't do."""

from __future__ import annotations

from demucs_core.separators.imported import check_contract
from demucs_core.separators.registry import build_model
from demucs_core.separators.separator import SeparationModel
from flows.train.options import TrainOptions
from storage.errors import UserError
from storage.music_format import MusicFormat


def first_model(options: TrainOptions, music: MusicFormat) -> SeparationModel:
    """Build the model with the weights that it is trained from.

    Raises:
        UserError: its configuration, its package or its class won't do; says what to change.
    """
    try:
        model = build_model(
            options.describe_model(music, crop_s=options.crop_s),
            seed=options.seed,
            allow_import=options.allowed,
        )
        if options.is_imported:
            check_contract(model, max(1, round(options.crop_s * music.sample_rate)))
    except ValueError as error:
        raise UserError(f"architecture: {error}") from error
    return model
