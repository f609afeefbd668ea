"""Stage 6: train a separation model on labelled songs and on remixes → ``models/<id>/``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated, Literal

from matplotlib.figure import Figure
from prefect import flow
from prefect.logging import get_run_logger
from pydantic import Field

from demucs_core import SAMPLE_RATE, SOURCES
from demucs_core.separators.demucs import DemucsConfig
from demucs_core.separators.registry import SeparationModel, build_model, config_of
from demucs_core.training.examples import Augmentation
from demucs_core.training.stream import ExampleStream
from demucs_core.training.trainer import StepReport, Trainer, TrainingConfig
from demucs_core.training.validation import validation_crops
from flows.inputs import registry
from flows.inputs.recipes import load_recipes
from flows.inputs.songs import learning_corpora, load_learning_songs, load_songs
from flows.reports.live_plot import live_plot
from flows.reports.loss_plots import training_figure
from flows.running.chain import Chain
from flows.running.heard import write_heard
from flows.running.interruption import interruptible
from flows.running.parameters import (
    RUNTIME,
    CorpusName,
    Device,
    Libraries,
    Options,
    StageParameters,
)
from flows.running.progress import progress
from flows.running.stage import StageResult, StageRun, stage_run
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.manifests import Manifests, Partition
from storage.reading import CropReader
from storage.weights import load_tensors, save_tensors
from storage.workspace import Workspace

STAGE, VERSION = "train", 2
CAPTION = "Loss and validation SDR over the steps"
_defaults = TrainingConfig()


class TrainOptions(Options):
    """What to train, and how."""

    architecture: Literal["demucs", "wave_unet"] = Field("demucs", description="Model to train.")
    channels: int = Field(
        DemucsConfig.channels, ge=1, description="Channels of the first encoder block."
    )
    depth: int = Field(DemucsConfig.depth, ge=1, le=12, description="Encoder blocks.")
    steps: int = Field(_defaults.steps, ge=1, description="Optimiser steps.")
    batch_size: int = Field(_defaults.batch_size, ge=1, description="Examples a step.")
    crop_s: float = Field(
        _defaults.crop_samples / SAMPLE_RATE, gt=0, description="Length of an example in seconds."
    )
    learning_rate: float = Field(_defaults.learning_rate, gt=0, description="Of Adam, constant.")
    weak_share: float = Field(
        _defaults.weak_share,
        ge=0,
        le=1,
        description="Share of remixes in a batch; 0 trains on labelled songs alone.",
    )
    weak_weight: float = Field(
        _defaults.weak_weight, ge=0, description="Factor on the loss of remixes."
    )
    confidence_weighting: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="A remix weighs the detector's confidence in its silences to this power; at 0 "
        "all weigh alike.",
    )
    ramp_steps: int = Field(
        _defaults.ramp_steps, ge=0, description="Steps over which the share of remixes grows."
    )
    weight_ramp_steps: int = Field(
        _defaults.weight_ramp_steps,
        ge=0,
        description="Steps over which the factor on the loss of remixes grows.",
    )
    masked: bool = Field(
        _defaults.masked,
        description="Keep the loss of a remix to its segment, so that segments "
        "shorter than the crop can be used; off is the paper's scheme.",
    )
    remix_probability: float = Field(
        _defaults.remix_probability,
        ge=0,
        le=1,
        description="How often a labelled example takes each source from another song.",
    )
    validate_every: int = Field(
        _defaults.validate_every, ge=1, description="Steps between validations."
    )
    validation_crops: int = Field(4, ge=1, description="Crops of each validation song.")
    checkpoint_every: Annotated[int, RUNTIME] = Field(
        _defaults.checkpoint_every, ge=1, description="Steps between checkpoints."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        _defaults.precision, description="Of the forward pass; bfloat16 needs a GPU."
    )
    seed: int = Field(_defaults.seed, ge=0, description="Decides weights and examples.")
    device: Device = Field("auto", description="auto takes a GPU if there is one.")
    loader_workers: Annotated[int, RUNTIME] = Field(
        0, ge=0, le=256, description="Processes that make examples; 0 makes them in training's own."
    )


class TrainParameters(TrainOptions, StageParameters):
    """Which labelled songs and which remixes to train on."""

    labelled: CorpusName = Field("labelled", description="Corpus of labelled songs.")
    libraries: Libraries = Field([])
    # what is read from them is in the fingerprint, under made_from
    corpora: Annotated[list[str], RUNTIME] = Field(
        ["music"], description="Corpora whose remixes are used, if weak_share is above 0."
    )


@flow(name="train", flow_run_name="train {parameters.labelled}")
def train(parameters: TrainParameters) -> StageResult:
    """Train a model; a run that was killed continues at its last checkpoint."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    device = registry.pick_device(parameters.device)
    stems = learning_corpora(manifests, parameters.labelled, parameters.libraries)
    corpora = parameters.corpora if parameters.weak_share > 0 else []
    remixes = [manifests.latest("remixes", corpus) for corpus in corpora]
    made_from = {
        f"{partition.table}/{partition.corpus}/{partition.fingerprint}": manifests.digest(partition)
        for partition in [*stems, *remixes]
    }
    content = parameters.content()
    name = fingerprint(STAGE, VERSION, made_from=made_from, **content)
    with stage_run(
        STAGE, parameters, corpus=parameters.labelled, fingerprint=name, workspace=workspace
    ) as run:
        finished = registry.finished(workspace, "models", name) and not parameters.force
        run.plan("steps", 0 if finished else parameters.steps, parameters.steps, *stems, *remixes)
        if finished:
            run.counts.update(registry.describe(workspace, "models", name)["counts"])
            return run.result()
        trainer = _build(parameters, run, stems, remixes, device)
        checkpoint = f"models/{name}/{registry.CHECKPOINT}"
        if workspace.exists(checkpoint):
            tensors, state = load_tensors(workspace, checkpoint)
            trainer.load_state(registry.to_torch(tensors), registry.trainer_state(state))
            get_run_logger().info("continues at step %d of %s", trainer.step, checkpoint)
        losses = _run(trainer, run, checkpoint)
        run.count(steps=trainer.step)
        if trainer.best is not None:
            run.count(best_step=trainer.best.step, best_loss=trainer.best.loss)
        best = build_model(config_of(trainer.model))
        best.load_state_dict(trainer.best_weights())
        description = {
            "model": config_of(trainer.model),
            "training": asdict(trainer.config),
            "parameters": content,
            "made_from": made_from,
            "history": [entry.to_json() for entry in trainer.history],
            "counts": run.counts,
        }
        write_heard(run, "models", stems, remixes)
        registry.store(workspace, "models", name, best, description)
        workspace.remove(checkpoint)
        figure = training_figure(
            workspace.music.sources, trainer.history, losses, trainer.step - len(losses)
        )
        run.report.plot("loss", figure, CAPTION)
    return run.result()


def in_chain(chain: Chain) -> list[TrainParameters]:
    """The runs in the chain: on labelled songs alone, to compare with, then as was asked for."""
    asked = TrainParameters(
        **chain.common,
        **chain.options(STAGE),
        labelled=chain.parameters.labelled_corpus,
        libraries=chain.parameters.libraries,
        corpora=[chain.parameters.corpus],
    )
    if chain.parameters.baseline and asked.weak_share > 0:
        return [asked.model_copy(update={"weak_share": 0.0}), asked]
    return [asked]


def _build(
    parameters: TrainParameters,
    run: StageRun,
    stems: Sequence[Partition],
    remixes: list[Partition],
    device: str,
) -> Trainer:
    songs = load_learning_songs(run.manifests, stems, "training")
    held_out = load_songs(run.manifests, stems[0], "valid")
    recipes = sorted(
        (
            recipe
            for partition in remixes
            for recipe in load_recipes(run.manifests, partition, parameters.confidence_weighting)
        ),
        key=lambda recipe: recipe.remix_id,
    )
    if remixes and not recipes:
        raise UserError(
            f"corpora {', '.join(parameters.corpora)}: no remixes to train on; extract more (see "
            "`silentmix extract --help`), or set weak_share to 0"
        )
    run.count(songs=len(songs), remixes=len(recipes))
    crop_samples = round(parameters.crop_s * SAMPLE_RATE)
    config = TrainingConfig(
        crop_samples=crop_samples,
        **{
            name: getattr(parameters, name)
            for name in (field.name for field in fields(TrainingConfig))
            if name != "crop_samples"
        },
    )
    reader = CropReader(run.workspace.location)
    examples = ExampleStream(
        tracks=[song.stem_track() for song in songs],
        remixes=recipes,
        read=reader,
        num_sources=len(SOURCES),
        augmentation=Augmentation(remix_probability=parameters.remix_probability),
        **{
            name: getattr(config, name)
            for name in (
                "seed", "steps", "batch_size", "crop_samples", "weak_share", "ramp_steps",
                "weak_weight", "weight_ramp_steps", "masked",
            )
        },
    )  # fmt: skip
    crops = validation_crops(
        [song.stem_track() for song in held_out],
        reader,
        num_sources=len(SOURCES),
        crop_samples=crop_samples,
        crops_per_track=parameters.validation_crops,
    )
    return Trainer(
        _new_model(parameters),
        config,
        examples,
        crops,
        device=device,
        num_workers=parameters.loader_workers,
    )


def _new_model(parameters: TrainParameters) -> SeparationModel:
    config: dict[str, object] = {"architecture": parameters.architecture}
    if parameters.architecture == "demucs":
        config |= {"channels": parameters.channels, "depth": parameters.depth}
    return build_model(config, seed=parameters.seed)


def _run(trainer: Trainer, run: StageRun, checkpoint: str) -> list[float]:
    """Train to the last step; returns the losses of the steps that were taken here."""
    first_step, losses = trainer.step, list[float]()

    def save() -> None:
        tensors, state = trainer.state()
        save_tensors(run.workspace, checkpoint, registry.to_numpy(tensors), {"trainer": state})

    def draw() -> Figure:
        return training_figure(run.workspace.music.sources, trainer.history, losses, first_step)

    with (
        progress(STAGE, trainer.config.steps, "steps", done=first_step) as bar,
        live_plot(f"{STAGE}-loss", CAPTION, draw) as plot,
    ):

        def show(report: StepReport) -> None:
            validation = report.validation
            note = f"loss {report.loss:.4f}"
            if validation is not None:
                note = f"validation loss {validation.loss:.4f}"
                get_run_logger().info("step %d: %s", report.step, note)
            losses.append(report.loss)
            bar.advance(1, note)
            plot.update()

        interruptible(lambda stop: trainer.run(stop=stop, on_step=show, on_checkpoint=save))
    return losses
