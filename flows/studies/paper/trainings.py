"""The trainings of the study: which there are, what each asks of the stages, and what is done.

Each is one run of the flow ``train`` and one of ``evaluate``, found again by their fingerprints.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demucs_core.training.validation import Validation
from flows.evaluate.flow import evaluate
from flows.evaluate.options import EvaluateParameters
from flows.inputs import registry
from flows.inputs.methods import Method, evaluated_model
from flows.pseudo_label.flow import pseudo_label
from flows.pseudo_label.options import PseudoLabelParameters
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.running.stage_result import StageResult
from flows.studies.paper.arms import ARMS, BEFORE, FIRST, ORDER, Arm
from flows.studies.paper.data import PaperData
from flows.studies.paper.parameters import PaperParameters
from flows.studies.side_by_side import Job, planned
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

SHARED = (
    "crop_s", "batch_size", "learning_rate", "validate_every", "validation_crops", "precision",
)  # fmt: skip
"""Parameters of the study that ``train`` has by the same name: the same for every arm."""
CHECKPOINT_EVERY = 250
"""Steps between checkpoints on a CPU, where that many take long; on a GPU, each validation."""
ALL = {**ARMS, **BEFORE}

Key = tuple[str, int]
"""Number of an arm, and a seed."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One model of the study: of an arm, with a seed.

    Attributes:
        arm: which.
        seed: of its weights and its examples.
    """

    arm: Arm
    seed: int

    @property
    def key(self) -> Key:
        """What tells it from the others."""
        return self.arm.key, self.seed

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"arm {self.arm.key} ({self.arm.name}), seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class State:
    """What has come of a training.

    Attributes:
        model: its name; empty where it can't be told yet.
        problem: why it can't be made, or empty.
        waits: for another training, whose model it takes.
        trained: whether the model is there.
        history: its validations, if it is.
        scores: of the test songs, if they are there.
        remixes: recipes that it was trained on.
        job: what makes it; None where it can't be made, or not yet.
        elsewhere: number of the other workspace in which it ended, whose figures are in the
            study's files; 0 for none.
    """

    model: str = ""
    problem: str = ""
    waits: Training | None = None
    trained: bool = False
    history: Sequence[Validation] = ()
    scores: Method | None = None
    remixes: int = 0
    job: Job | None = None
    elsewhere: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        if self.elsewhere:
            return True
        if self.job is None or not self.trained:
            return False
        return self.job.evaluate is None or self.scores is not None


def in_order(seeds: int, arms: Sequence[str] = ()) -> list[Training]:
    """All trainings in the order in which they begin; ``arms`` leaves the others out.

    What is trained for other arms alone is among them where one of those is.

    >>> [training.label[4:5] + str(training.seed) for training in in_order(2)][:6]
    ['30', '50', '31', '51', '10', '11']
    """
    needed = {ARMS[key].after for key in arms}
    keys = [key for key in ORDER if not arms or key in arms or (key in BEFORE and key in needed)]
    first = [key for key in keys if key in ORDER[:FIRST]]
    turns = [(key, seed) for seed in range(seeds) for key in first]
    turns += [(key, seed) for key in keys if key not in first for seed in range(seeds)]
    return [Training(arm=ALL[key], seed=seed) for key, seed in turns]


def left_to_do(wanted: Sequence[Training], done: Collection[Key]) -> list[Training]:
    """What of it is to be trained, where some was done elsewhere: there the models are not.

    >>> wanted = in_order(1, ["3", "5", "7"])
    >>> [training.arm.key for training in left_to_do(wanted, [("3", 0), ("5", 0)])]
    ['3', '7']
    """
    left = {training.key for training in wanted if training.key not in done}
    awaited = {(training.arm.after, training.seed) for training in wanted if training.key in left}
    return [training for training in wanted if training.key in left | awaited]


class Trainings:
    """Looks up what has come of the trainings of a study.

    Args:
        parameters: of the study.
        data: what they read.
        device: of all of them.
    """

    def __init__(self, parameters: PaperParameters, data: PaperData, device: str) -> None:
        self.parameters, self.data, self.device = parameters, data, device
        self._remixes: dict[str, tuple[str, int]] = {}
        self._done: dict[Key, State] = {}

    def state(self, training: Training) -> State:
        """What has come of a training so far."""
        if training.key not in self._done:
            state = self._look(training)
            if not state.done:
                return state
            self._done[training.key] = state
        return self._done[training.key]

    def _look(self, training: Training) -> State:
        workspace, before = Workspace(self._place(training.arm)), ""
        if training.arm.after:
            first = Training(arm=ALL[training.arm.after], seed=training.seed)
            found = self.state(first)
            if not found.trained:
                return State(problem=found.problem, waits=first)
            before = found.model
        labels = None
        try:
            if training.arm.use_of_after == "teacher":
                labels = self._labels(before)
            wish, remixes = self._wish(training, before, labels)
            is_there = labels is None or planned_labels(labels).already_done
            name = planned(wish).fingerprint if is_there else ""
        except UserError as error:
            return State(problem=str(error))
        scored = self._evaluation(training.arm, name)
        job = Job(
            label=training.label,
            log=f"arm-{training.arm.key}-seed-{training.seed}.log",
            train=wish,
            evaluate=scored,
            labels=labels,
        )
        if not name or not registry.finished(workspace, "models", name):
            return State(model=name, remixes=remixes, job=job)
        described = registry.describe(workspace, "models", name)
        return State(
            model=name,
            trained=True,
            history=[Validation.from_json(entry) for entry in described["history"]],
            scores=scores_of(scored, name),
            remixes=remixes,
            job=job,
        )

    def _place(self, arm: Arm) -> str:
        return self.data.all_labelled if arm.all_labelled else self.data.workspace

    def _labels(self, teacher: str) -> PseudoLabelParameters:
        """What ``pseudo-label`` is told."""
        return PseudoLabelParameters.model_validate(
            {
                "workspace": self.data.workspace,
                "workers": 1,
                "corpus": self.data.music,
                "into": f"{self.data.music}-pseudo",
                "labelled": self.data.labelled,
                "model": teacher,
                "device": self.device,
            }
        )

    def _wish(
        self, training: Training, before: str, labels: PseudoLabelParameters | None
    ) -> tuple[TrainParameters, int]:
        """What ``train`` is told, and the number of recipes.

        Args:
            training: which.
            before: the model of the arm that comes before, if there is one.
            labels: where its recipes come from, if it is a teacher.

        Raises:
            UserError: the data can't make the arm; says why.
        """
        parameters, data, arm = self.parameters, self.data, training.arm
        if (arm.all_labelled or arm.segments in ("audited", "true")) and not data.all_labelled:
            raise UserError("nobody knows the stems of the unlabelled music")
        on_cpu = self.device == "cpu"
        fields: dict[str, Any] = {
            "workspace": self._place(arm),
            "labelled": data.labelled,
            "steps": parameters.steps,
            "weak_share": 0.0,
            "seed": training.seed,
            "device": self.device,
            "threads": 1 if on_cpu else 0,
            "cuda_graph": parameters.cuda_graph and arm.architecture != "open_unmix",
            "checkpoint_every": CHECKPOINT_EVERY if on_cpu else parameters.validate_every,
            "listen_every": 0,  # nobody listens to so many; their reports play at the end
            **{name: getattr(parameters, name) for name in SHARED},
            **_model_of(parameters, arm),
        }
        num_remixes = 0
        if arm.all_labelled:
            fields["libraries"] = [data.stems]
        if arm.segments:
            drawn, num_remixes = self._drawn(arm)
            fields |= {
                "weak_share": parameters.weak_share,
                "masked": not arm.whole_crops,
                "corpora": [data.music],
                "remixes": [drawn],
            }
        if labels is not None:
            plan = planned_labels(labels)
            num_remixes = int(plan.counts["remixes"])
            if plan.already_done and not num_remixes:
                raise UserError("the teacher is sure of nothing in the unlabelled music")
            fields |= {
                "weak_share": parameters.weak_share,
                "corpora": [labels.into],
                "remixes": [plan.fingerprint],
            }
        if arm.use_of_after == "weights":
            fields["init_from"] = before
        if arm.mixit:
            steps = parameters.mixit_steps
            fields |= {"objective": "mixit", "steps": steps, "corpora": [data.music]}
        return TrainParameters.model_validate({**fields, **arm.train}), num_remixes

    def _drawn(self, arm: Arm) -> tuple[str, int]:
        """The remixes of an arm: their fingerprint, and how many there are."""
        if arm.key not in self._remixes:
            scheme = (
                {"one_source": True, "min_segment_s": self.parameters.crop_s}
                if arm.whole_crops
                else {}
            )
            wish = RemixParameters.model_validate(
                {
                    "workspace": self.data.workspace,
                    "workers": 1,
                    "corpus": self.data.music,
                    "labelled": self.data.labelled,
                    "segments": self.data.segments[arm.segments],
                    **scheme,
                }
            )
            drawn = remix(wish)
            self._remixes[arm.key] = drawn.fingerprint, int(drawn.counts["remixes"])
        name, count = self._remixes[arm.key]
        if not count:
            length = f" of {self.parameters.crop_s:g} s, as long as a crop," * arm.whole_crops
            raise UserError(f"no segment{length} was found in the unlabelled music")
        return name, count

    def _evaluation(self, arm: Arm, model: str) -> EvaluateParameters | None:
        if arm.mixit:
            return None
        return EvaluateParameters.model_validate(
            {
                "workspace": self._place(arm),
                "workers": 1,
                "labelled": self.data.labelled,
                "models": [model] if model else [],
                "device": self.device,
            }
        )


def planned_labels(wish: PseudoLabelParameters) -> StageResult:
    """What pseudo-labels will be called, and how many there are if they are done."""
    plan = pseudo_label.fn(wish.model_copy(update={"dry_run": True}))
    manifests = Manifests(Workspace(wish.workspace))
    count = manifests.count(Partition("remixes", wish.into, plan.fingerprint))
    return plan.model_copy(update={"counts": {"remixes": count}})


def scores_of(wish: EvaluateParameters | None, model: str) -> Method | None:
    """The scores of a model, if all test songs are done."""
    if wish is None:
        return None
    [plan] = evaluate.fn(wish.model_copy(update={"dry_run": True})).results
    if plan.plan is None or plan.plan.pending:
        return None
    manifests = Manifests(Workspace(wish.workspace))
    partition = Partition("evaluations", wish.labelled, plan.fingerprint)
    return evaluated_model(manifests, partition, model)


def _model_of(parameters: PaperParameters, arm: Arm) -> Mapping[str, Any]:
    if arm.architecture == "open_unmix":
        window = parameters.open_unmix_window
        told = {
            "hidden_size": parameters.open_unmix_hidden, "n_fft": window, "n_hop": window // 4,
        }  # fmt: skip
        return {"architecture": arm.architecture, "architecture_config": json.dumps(told)}
    return {
        "architecture": arm.architecture,
        "channels": getattr(parameters, f"{arm.architecture}_channels"),
        "depth": getattr(parameters, f"{arm.architecture}_depth"),
    }
