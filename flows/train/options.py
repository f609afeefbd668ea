"""What ``train`` is told: the model, the examples, the loop."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.training_config import Execution, Objective, TrainingConfig
from flows.running.parameters import (
    ADDED,
    RUNTIME,
    CorpusName,
    Device,
    Libraries,
    StageParameters,
)
from flows.train.augmentation_options import AugmentationOptions
from flows.train.model_options import ModelOptions
from flows.train.preset import load_preset, preset_names
from storage.errors import UserError

CACHE_GB = 20.0
_CROP_S = 10.0
_stream = StreamConfig(crop_samples=1)
_training = TrainingConfig()
_execution = Execution()


class TrainOptions(AugmentationOptions, ModelOptions):
    """What to train, and how."""

    matters: ClassVar[tuple[str, ...]] = (
        "preset",
        "architecture",
        "steps",
        "batch_size",
        "weak_share",
    )

    preset: Annotated[str, RUNTIME] = Field(
        "",
        description=f"Other defaults of what is not told otherwise: {', '.join(preset_names())}.",
        json_schema_extra={"enum": ["", *preset_names()]},
    )
    objective: Annotated[Objective, ADDED] = Field(
        _training.objective,
        description="groups learns from labelled songs and remixes; mixit from the tracks of "
        "corpora alone, to begin another training with (init_from).",
    )
    steps: int = Field(_training.steps, ge=1, description="Optimiser steps.")
    batch_size: int = Field(_stream.batch_size, ge=1, le=65_536, description="Examples a step.")
    crop_s: float = Field(_CROP_S, ge=0.001, description="Length of an example in seconds.")
    learning_rate: float = Field(
        _training.learning_rate, gt=0, description="Of the optimiser, at its highest."
    )
    optimizer: Annotated[Literal["adam", "adamw"], ADDED] = Field(
        _training.optimizer, description="adamw decays weights apart from the gradients' moments."
    )
    weight_decay: Annotated[float, ADDED] = Field(
        _training.weight_decay, ge=0, description="Of the optimiser."
    )
    beta1: Annotated[float, ADDED] = Field(
        _training.beta1, ge=0, lt=1, description="Decay of the optimiser's mean of gradients."
    )
    beta2: Annotated[float, ADDED] = Field(
        _training.beta2, ge=0, lt=1, description="Decay of the mean of their squares."
    )
    schedule: Annotated[Literal["constant", "cosine", "plateau"], ADDED] = Field(
        _training.schedule,
        description="The rate after the warm-up: constant, along a cosine to the last step, or "
        "lower at every plateau of the validations.",
    )
    warmup_steps: Annotated[int, ADDED] = Field(
        _training.warmup_steps, ge=0, description="Steps over which the rate grows from zero."
    )
    least_rate_share: Annotated[float, ADDED] = Field(
        _training.least_rate_share,
        ge=0,
        le=1,
        description="Share of the learning rate that a schedule does not go below.",
    )
    plateau_factor: Annotated[float, ADDED] = Field(
        _training.plateau_factor,
        gt=0,
        le=1,
        description="What the rate is multiplied with at a plateau.",
    )
    plateau_patience: Annotated[int, ADDED] = Field(
        _training.plateau_patience,
        ge=1,
        description="Validations without a better one that make a plateau.",
    )
    clip_norm: Annotated[float, ADDED] = Field(
        _training.clip_norm,
        ge=0,
        description="Norm that gradients are scaled down to; 0 leaves them as they are.",
    )
    ema_decays: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], ADDED] = Field(
        _training.ema_decays,
        description="Decays of running averages of the weights, which are validated too: the best "
        "weights of all are kept.",
    )
    weak_share: float = Field(
        _stream.weak_share,
        ge=0,
        le=1,
        description="Share of remixes in a batch; 0 trains on labelled songs alone.",
    )
    weak_weight: float = Field(
        _stream.weak_weight, ge=0, description="Factor on the loss of remixes."
    )
    confidence_weighting: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="A remix weighs the detector's confidence in its silences to this power; at 0 "
        "all weigh alike.",
    )
    ramp_steps: int = Field(
        _stream.ramp_steps, ge=0, description="Steps over which the share of remixes grows."
    )
    weight_ramp_steps: int = Field(
        _stream.weight_ramp_steps,
        ge=0,
        description="Steps over which the factor on the loss of remixes grows.",
    )
    masked: bool = Field(
        _stream.masked,
        description="Keep the loss of a remix to its segment, so that segments "
        "shorter than the crop can be used; off is the paper's scheme.",
    )
    remix_probability: float = Field(
        _stream.augmentation.remix_probability,
        ge=0,
        le=1,
        description="How often a labelled example takes each source from another song.",
    )
    validate_every: int = Field(
        _training.validate_every, ge=1, description="Steps between validations."
    )
    best_by: Annotated[Literal["loss", "sdr"], ADDED] = Field(
        _training.best_by,
        description="What makes a validation the best: the lowest loss, or the highest SDR.",
    )
    patience: Annotated[int, ADDED] = Field(
        _training.patience,
        ge=0,
        description="Validations without a better one that end the training; 0 takes all steps.",
    )
    validation_crops: int = Field(4, ge=1, description="Crops of each validation song.")
    checkpoint_every: Annotated[int, RUNTIME] = Field(
        _training.checkpoint_every, ge=1, description="Steps between checkpoints."
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        _training.precision, description="Of the forward pass; the loss is always float32."
    )
    seed: int = Field(_stream.seed, ge=0, lt=2**63, description="Decides weights and examples.")
    device: Device = Field("auto", description="auto takes a GPU if there is one.")
    processes: Annotated[int, RUNTIME] = Field(
        1,
        ge=0,
        le=64,
        description="Processes on this machine that train together, each with its share of every "
        "batch, on GPUs one each; 0 takes one a GPU.",
    )
    threads: Annotated[int, RUNTIME] = Field(
        0, ge=0, le=1024, description="Threads on the CPU, of each process; 0 takes one a core."
    )
    accumulation: Annotated[int, RUNTIME] = Field(
        _execution.accumulation,
        ge=1,
        description="Parts that a batch goes through the model in, one after another: more need "
        "less memory.",
    )
    compile: Annotated[bool, RUNTIME] = Field(
        _execution.compile, description="Let torch.compile make one program of the model."
    )
    recompute: Annotated[bool, RUNTIME] = Field(
        _execution.recompute,
        description="Compute activations again on the way back: less memory, more time.",
    )
    cuda_graph: Annotated[bool, RUNTIME] = Field(
        _execution.cuda_graph,
        description="Record the passes there and back on a GPU once, and replay them: quicker for "
        "a small model.",
    )
    tensorboard: Annotated[str, RUNTIME] = Field(
        "",
        description="Folder for TensorBoard's events, a run a model (extra tensorboard); empty "
        "writes none.",
    )
    listen_every: Annotated[int, RUNTIME] = Field(
        5,
        ge=0,
        description="Validations after which a page of the Prefect UI plays anew what the weights "
        "make of a validation song; 0 leaves it to the report at the end.",
    )
    loader_workers: Annotated[int, RUNTIME] = Field(
        -1,
        ge=-1,
        le=256,
        description="Processes that make examples; 0 makes them in training's own, -1 takes up to "
        "eight for a GPU, and none beside a training on the CPU.",
    )
    cache_gb: Annotated[float, RUNTIME] = Field(
        CACHE_GB,
        ge=0.1,
        description="Most room on this machine's disk, in GiB, for copies of what is slow to get: "
        "single recipes, and audio of a workspace that is elsewhere.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, values: Any) -> Any:
        """What is not told is as the preset says; the fingerprint tells the values."""
        if not isinstance(values, dict) or not values.get("preset"):
            return values
        try:
            return {**load_preset(values["preset"]), **values}
        except ValueError as error:
            raise PydanticCustomError("preset", "{text}", {"text": str(error)}) from error

    @model_validator(mode="after")
    def _mixtures_have_no_sources_to_deal(self) -> Self:
        if self.objective == "mixit" and self.batch_remix:
            raise ValueError(
                "batch_remix must be 0 where the objective is mixit: nothing in a mixture is known "
                "by its source"
            )
        return self

    def execution(self, device: str) -> Execution:
        """How a training on a device is carried out."""
        num_workers = self.loader_workers
        if num_workers < 0:
            from flows.running.devices import num_loaders  # which imports torch

            num_workers = num_loaders(device)
        return self.configure(Execution, device=device, num_workers=num_workers)


class TrainParameters(TrainOptions, StageParameters):
    """Which labelled songs and which remixes to train on."""

    labelled: CorpusName = Field("labelled", description="Corpus of labelled songs.")
    libraries: Libraries = Field([])
    # what is read from them is in the fingerprint, under made_from
    corpora: Annotated[list[str], RUNTIME] = Field(
        ["music"],
        description="Corpora whose remixes are used, if weak_share is above 0; of mixit, whose "
        "tracks.",
    )
    remixes: Annotated[list[str], RUNTIME] = Field(
        [],
        description="Fingerprints of the remixes, one a corpus; empty takes the last drawn of "
        "each.",
    )

    @property
    def label(self) -> str:
        """What tells this training from others on the same songs, for the name of its run.

        >>> TrainParameters(steps=600).label
        'labelled: demucs, 25% remixes, 600 steps, seed 0'
        """
        what = f"{self.weak_share:.0%} remixes" if self.weak_share else "labelled alone"
        if self.objective == "mixit":
            what = "mixtures"
        kind = self.architecture.rpartition(":")[2]
        return f"{self.labelled}: {kind}, {what}, {self.steps} steps, seed {self.seed}"

    @property
    def chosen_remixes(self) -> list[tuple[str, str | None]]:
        """The corpora whose remixes are used, and the fingerprints of those that were chosen.

        Raises:
            UserError: they are not as many as the corpora.
        """
        if self.weak_share == 0 or self.objective == "mixit":
            return []
        if self.remixes and len(self.remixes) != len(self.corpora):
            raise UserError(
                f"remixes: {len(self.remixes)} fingerprints for {len(self.corpora)} corpora; name "
                "one a corpus, in the same order, or none"
            )
        chosen: list[str | None] = list(self.remixes) or [None] * len(self.corpora)
        return list(zip(self.corpora, chosen, strict=True))
