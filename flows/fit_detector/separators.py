"""A detector made of a model of the workspace, and what that model learnt from."""

from __future__ import annotations

from dataclasses import asdict
from typing import NoReturn

from demucs_core.detector.registry import SEPARATOR, build_detector, new_detector_config
from demucs_core.detector.separator_detector import SeparatorDetector
from demucs_core.separators.imported import ImportedConfig
from demucs_core.separators.registry import config_of
from flows.inputs import networks, registry
from flows.inputs.recipe_music import music_of
from flows.running.held_out import sounds_of, sounds_of_recipes
from storage.errors import UserError
from storage.fingerprint import ID_DIGITS
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace


def refuse_imported(models: str) -> NoReturn:
    """Refuse to make a detector of models of a class of the user's.

    Args:
        models: which, with the verb.

    Raises:
        UserError: says why.
    """
    raise UserError(
        f"{models} made of a class that is imported, which a detector would import wherever it "
        "scores; train one of the registered architectures"
    )


def made_of(workspace: Workspace, model: str) -> SeparatorDetector:
    """A detector that listens to what a model leaves of each source.

    Raises:
        UserError: the model is of other music, of a class that is imported, or takes shorter
            pieces only.
    """
    separator = networks.load_model(workspace, model, "cpu")
    if isinstance(separator.config, ImportedConfig):
        refuse_imported(f"model {model} is")
    music = workspace.music
    try:
        config = new_detector_config(
            SEPARATOR,
            hop_samples=music.hop_samples,
            **asdict(music),
            separator=config_of(separator),
        )
        detector = build_detector(config, seed=0)
    except ValueError as error:
        raise UserError(f"model {model}: {error}") from error
    assert isinstance(detector, SeparatorDetector)
    detector.separator.load_state_dict(separator.state_dict())
    return detector.eval()


def learnt_from(manifests: Manifests, model: str) -> dict[str, str]:
    """The audio that a model, and those that it began with, were trained on, by its hash.

    Validation songs are not among it: by them the best weights were chosen, no more.
    """
    workspace = manifests.workspace
    sounds: dict[str, str] = {}
    for each in (model, *registry.began_with(workspace, model)):
        made_from = registry.describe(workspace, "models", each).get("made_from", {})
        for partition in (Partition(*name.split("/")) for name in made_from):
            if partition.table == "stems":
                sounds |= sounds_of(manifests, [partition], "train")
            elif partition.table == "remixes":
                sounds |= sounds_of_recipes(manifests, music_of(manifests, [partition]))
            elif partition.table == "tracks":
                sounds |= {
                    row["content_hash"][:ID_DIGITS]: f"track {row['track_id']}"
                    for row in manifests.rows(partition, ["track_id", "content_hash"])
                }
    return sounds
