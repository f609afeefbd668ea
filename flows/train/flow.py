"""Stage 6: train a separation model on labelled songs and on remixes → ``models/<id>/``."""

from __future__ import annotations

from prefect import flow

from demucs_core.separators.registry import build_model, config_of
from demucs_core.training.examples import GROUPED_EXAMPLES
from demucs_core.training.validation import GROUPED_VALIDATION
from flows.inputs import networks, registry
from flows.inputs.intact import require_intact
from flows.inputs.recipe_music import music_of
from flows.inputs.songs import know_sums, learning_corpora
from flows.reports.markdown import sentence
from flows.running import devices
from flows.running.chain import Chain
from flows.running.heard import write_heard
from flows.running.held_out import require_apart, sounds_of, sounds_of_recipes
from flows.running.stage import StageResult, as_told, stage_run
from flows.train.build import build_trainer
from flows.train.chosen import as_chosen
from flows.train.disk import require_room
from flows.train.examples import remixes_to_learn_from, songs_to_learn_from
from flows.train.listening import play_validation
from flows.train.loop import train_to_the_end
from flows.train.model import first_model
from flows.train.options import TrainParameters
from flows.train.processes import dismiss_others, together
from flows.train.saved import SavedTraining, require_no_other_rows
from flows.train.start import find_start
from flows.train.step_log import StepLog, events, how_to_look
from flows.train.worker import take_part, what_is_trained
from storage.fingerprint import fingerprint
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

__all__ = ["ahead", "in_chain", "take_part", "train"]

STAGE, VERSION = "train", 2


@flow(name="train", flow_run_name="train {parameters.label}")
@as_told
def train(parameters: TrainParameters) -> StageResult:
    """Train a model; a run that was killed continues at its last checkpoint."""
    parameters = as_chosen(parameters)
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    device = devices.pick_device(parameters.device)
    stems: tuple[Partition, ...] = ()
    tracks: list[Partition] = []
    if parameters.objective == "mixit":
        tracks = [manifests.latest("tracks", name) for name in dict.fromkeys(parameters.corpora)]
    else:
        stems = learning_corpora(manifests, parameters.labelled, parameters.libraries)
    remixes = remixes_to_learn_from(parameters, manifests)
    digests = {partition: manifests.digest(partition) for partition in [*stems, *remixes, *tracks]}
    made_from = {
        f"{partition.table}/{partition.corpus}/{partition.fingerprint}": digest
        for partition, digest in digests.items()
    }
    content = parameters.content()
    if remixes or know_sums(manifests, stems):
        content["grouped_examples"] = GROUPED_EXAMPLES
    if know_sums(manifests, stems[:1], "valid"):
        content["grouped_validation"] = GROUPED_VALIDATION
    start = find_start(parameters.init_from, workspace)
    if start is not None:
        content["init_from"] = start.digest
    name = fingerprint(STAGE, VERSION, made_from=made_from, **content)
    with stage_run(
        STAGE, parameters, corpus=parameters.labelled, fingerprint=name, workspace=workspace
    ) as run:
        saved = SavedTraining(workspace=workspace, name=name)
        finished = saved.finished and not parameters.force
        steps_done = 0 if parameters.force else saved.steps_saved
        run.plan(
            "steps",
            0 if finished else parameters.steps - steps_done,
            parameters.steps,
            *stems,
            *remixes,
            *tracks,
        )
        if finished:
            dismiss_others(device)
            run.counts.update(registry.describe(workspace, "models", name)["counts"])
            return run.result()
        recipes = music_of(manifests, remixes)
        require_apart(
            sounds_of(manifests, stems[:1], "valid", "test"),
            sounds_of(manifests, stems, "train") | sounds_of_recipes(manifests, recipes),
            STAGE,
        )
        require_intact(manifests, stems, "train", "valid")
        first = first_model(parameters, workspace.music, start)
        hear = {partition: digests[partition] for partition in remixes}
        with together(parameters, device) as (ranks, own_device, num_threads):
            ranks.told(what_is_trained(parameters, stems, hear, tracks))
            trainer, counts = build_trainer(
                parameters, manifests, stems, hear, tracks, first.model, own_device, ranks
            )
            run.count(**counts)
            require_room(workspace, trainer)
            description = {
                "model": config_of(trainer.model),
                "training": trainer.configuration,
                "parameters": content,
                "made_from": made_from,
                **first.description,
            }
            if not parameters.force and not saved.state_path:
                require_no_other_rows(workspace, description)
            if parameters.force or not saved.state_path:
                run.notes += first.notes
            write_heard(run, "models", stems, recipes, tracks, after=start.model if start else "")
            description |= saved.begin(trainer, description, anew=parameters.force)
            with events(parameters.tensorboard, name) as taken:
                look = how_to_look(parameters.tensorboard)
                run.notes += [look] if look else []
                train_to_the_end(
                    trainer,
                    run,
                    saved,
                    StepLog(run, taken),
                    beside=sentence(look),
                    num_threads=num_threads,
                    listen_every=parameters.listen_every,
                )
        run.count(steps=trainer.step)
        if trainer.best is not None:
            run.count(best_step=trainer.best.step, best_loss=trainer.best.loss)
        best = build_model(config_of(trainer.model), allow_import=parameters.allowed)
        best.load_state_dict(trainer.best_weights())
        outcome = {
            "history": [entry.to_json() for entry in trainer.history],
            "counts": run.counts,
        }
        networks.store(workspace, "models", name, best, description | outcome)
        saved.end(description)
        play_validation(run, best, trainer)
    return run.result()


def in_chain(chain: Chain) -> list[TrainParameters]:
    """The run in the chain, and before the first one another on labelled songs alone."""
    asked = TrainParameters(
        **chain.common,
        **chain.options(STAGE),
        labelled=chain.parameters.labelled_corpus,
        libraries=chain.parameters.libraries,
        corpora=[chain.parameters.corpus],
        remixes=chain.made("remix")[-1:],
    )
    if chain.parameters.baseline and asked.weak_share > 0 and not chain.made("train"):
        return [asked.model_copy(update={"weak_share": 0.0}), asked]
    return [asked]


def ahead(chain: Chain) -> None:
    """Refuse a model that can't be built, libraries that are not there, and too short songs."""
    asked = in_chain(chain)[-1]
    devices.pick_device(asked.device)
    chain.require_libraries()
    manifests = chain.manifests()
    workspace = manifests.workspace
    if not chain.results:
        first_model(asked, workspace.music, find_start(asked.init_from, workspace))
    if chain.is_ingested:
        stems = learning_corpora(manifests, asked.labelled, asked.libraries)
        songs_to_learn_from(manifests, stems, asked.crop_s)
