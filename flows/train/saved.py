"""The files of a training beside its model: its state while it goes on, and where it ended.

``models/<id>/unfinished.json`` is there from before the first step until the model is: it says what
is trained and how far it is. ``checkpoint.safetensors`` is what it takes to continue, and
``final-state.safetensors`` what it takes to go on with more steps once all are done. It is
taken away once a longer training that went on from it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prefect.logging import get_run_logger

from demucs_core.training.trainer import Trainer
from flows.inputs import networks, registry
from storage.errors import UserError
from storage.weights import load_tensors, save_tensors
from storage.workspace import Workspace

FINAL_STATE = "final-state.safetensors"
CONTINUED_FROM = "continued_from"
"""What a description calls the state of a shorter training that one went on from."""
KIND = "models"


@dataclass(kw_only=True)
class SavedTraining:
    """A training as its folder in a workspace knows it.

    Attributes:
        workspace: where it is.
        name: the model's id.
        progress: what is trained and how far it is, once it has begun. It is not read again: where
            another run of the same training ends first, it takes the file away.
    """

    workspace: Workspace
    name: str
    progress: dict[str, Any] = field(default_factory=dict, init=False)

    def path(self, file: str) -> str:
        """Where one of its files is, relative to the workspace."""
        return f"{KIND}/{self.name}/{file}"

    @property
    def finished(self) -> bool:
        """Whether the model is there, and nothing is at making it anew."""
        of_a_training = (registry.UNFINISHED, registry.CHECKPOINT)
        going_on = any(self.workspace.exists(self.path(file)) for file in of_a_training)
        return registry.finished(self.workspace, KIND, self.name) and not going_on

    @property
    def steps_saved(self) -> int:
        """How many steps an earlier run of it did, and saved."""
        progress = registry.progress_of(self.workspace, self.name)
        return 0 if progress is None else int(progress["step"])

    @property
    def state_path(self) -> str:
        """The file to continue from; empty where the training begins."""
        for file in (registry.CHECKPOINT, FINAL_STATE):
            if self.workspace.exists(self.path(file)):
                return self.path(file)
        return ""

    def begin(
        self, trainer: Trainer, description: Mapping[str, Any], *, anew: bool
    ) -> dict[str, Any]:
        """Say that it is under way, and put the trainer where it was, before the first step.

        Args:
            trainer: at its beginning.
            description: what is trained, of what.
            anew: whether what an earlier training left counts no more.

        Returns:
            What the model's description says of a training that went on from another one.

        Raises:
            UserError: a state is damaged, or of something else.
        """
        own = "" if anew else self.state_path
        before = own or ("" if anew else shorter(self.workspace, description))
        went_on = {} if before == own else {CONTINUED_FROM: before}
        begun = None if anew else registry.progress_of(self.workspace, self.name)
        if begun is None:
            begun = {"description": {**description, **went_on}, "step": 0, "best": None}
            self.workspace.put_json(self.path(registry.UNFINISHED), begun)
        elif own:
            then = begun["description"]
            went_on = {name: then[name] for name in (CONTINUED_FROM,) if name in then}
        self.progress = begun
        if anew:
            for file in (registry.CHECKPOINT, FINAL_STATE):
                self.workspace.remove(self.path(file))
        if before:
            self.load(trainer, before)
            get_run_logger().info("continues at step %d of %s", trainer.step, before)
        if not own:
            self.save(trainer)  # to go back to, and to see that it can be written
        return went_on

    def save(self, trainer: Trainer) -> None:
        """Keep what it takes to continue, and then say how far it is."""
        tensors, state = trainer.state()
        file = FINAL_STATE if trainer.done else registry.CHECKPOINT
        metadata = {"trainer": state}
        save_tensors(self.workspace, self.path(file), networks.to_numpy(tensors), metadata)
        self.progress |= {
            "step": trainer.step,
            "best": None if trainer.best is None else trainer.best.to_json(),
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.workspace.put_json(self.path(registry.UNFINISHED), self.progress)

    def load(self, trainer: Trainer, path: str = "") -> None:
        """Continue from a state, this training's own unless told otherwise.

        Raises:
            UserError: it is damaged, or of something else.
        """
        path = path or self.state_path
        tensors, state = load_tensors(self.workspace, path)
        try:
            trainer.load_state(networks.to_torch(tensors), registry.trainer_state(state))
        except ValueError as error:
            raise UserError(
                f"{self.workspace.url(path)}: {error}; train with what it was made with, or remove "
                "the file to begin anew"
            ) from error

    def end(self, description: Mapping[str, Any]) -> None:
        """Take away what a finished model needs no more, and the state that it went on from.

        Args:
            description: of the model.
        """
        if CONTINUED_FROM in description:
            self.workspace.remove(description[CONTINUED_FROM])
        for file in (registry.CHECKPOINT, registry.UNFINISHED):
            self.workspace.remove(self.path(file))


def shorter(workspace: Workspace, description: Mapping[str, Any]) -> str:
    """The state at the end of the longest training that differs in having fewer steps alone.

    Returns:
        Its path; empty where there is none, or where the steps decide more than the end.
    """
    wanted = dict(description["parameters"])
    steps = wanted.pop("steps")
    found: dict[int, str] = {}
    if wanted.get("schedule") == "cosine":
        return ""  # its rates would have been others from the beginning
    for name in registry.names(workspace, KIND):
        path = f"{KIND}/{name}/{FINAL_STATE}"
        made = registry.describe(workspace, KIND, name)
        parameters = dict(made.get("parameters", {}))
        num_steps = parameters.pop("steps", steps)
        alike = (parameters, made.get("made_from")) == (wanted, description["made_from"])
        if alike and num_steps < steps and workspace.exists(path):
            found[num_steps] = path
    return found[max(found)] if found else ""


def require_no_other_rows(workspace: Workspace, description: Mapping[str, Any]) -> None:
    """Refuse to begin what is under way on the same manifests with other rows.

    Raises:
        UserError: names the training and the manifest, and says what to do.
    """
    for name, progress in registry.unfinished(workspace):
        then = progress["description"]
        if then["parameters"] != description["parameters"]:
            continue
        before, now = then["made_from"], description["made_from"]
        changed = [each for each in now if before.get(each) != now[each]]
        if changed and before.keys() == now.keys():
            raise UserError(
                f"manifest {changed[0]} has changed since training {name} began, which is at step "
                f"{progress['step']}, so that it can't be continued; "
                f"{workspace.command(f'publish {name}')} keeps its best weights as a model, and "
                "--force begins anew with what is there now"
            )
