"""Trainings that are interrupted, forced, made longer, published, and that go wrong."""

from __future__ import annotations

import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from demucs_core.training.divergence import NonFiniteLossError
from demucs_core.training.optimization import Optimization, StepFigures
from flows.cli.overview import print_status
from flows.inputs import registry
from flows.reports.live_plot import LivePage
from flows.train import listening, step_log
from flows.train.publish import publish
from flows.train.saved import FINAL_STATE
from flows.train.step_log import how_to_look
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.weights import load_tensors
from storage.workspace import Workspace
from tests.flows.conftest import play, write
from tests.flows.train.learning import assert_same, interrupt, learn, steps, take, weights

pytestmark = pytest.mark.usefixtures("nothing_is_drawn")


def test_an_interrupted_training_is_listed_published_and_continued(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = interrupt(monkeypatch, workspace, 1)
    with pytest.raises(UserError, match=f"training {name} has no checkpoint with a validation"):
        publish(workspace, name)
    interrupt(monkeypatch, workspace, 2)
    assert registry.names(workspace, "models") == []
    print_status(workspace.location, Console(width=200))
    assert f"training {name}: labelled songs alone, step 3 of 4" in capsys.readouterr().out
    with pytest.raises(UserError, match=f"`silentmix publish {name} --workspace .*` makes one"):
        registry.describe(workspace, "models", name)

    saved, _ = load_tensors(workspace, f"models/{name}/{registry.CHECKPOINT}")
    published = publish(workspace, name)
    kept = weights(workspace, published)
    assert_same(kept, {each: saved[f"best.{each}"] for each in kept})
    assert published == f"{name}-2"
    described = registry.describe(workspace, "models", published)
    assert described["counts"]["best_step"] == 2
    heard = {row["track_id"] for partition in Manifests(workspace).partitions("heard")
             if partition.fingerprint == published
             for row in Manifests(workspace).rows(partition)}  # fmt: skip
    assert len(heard) == 2

    planned = [learn(workspace, dry_run=True, force=force).plan for force in (False, True)]
    assert [plan.pending for plan in planned if plan is not None] == [1, 4]
    assert learn(workspace).fingerprint == name
    assert registry.names(workspace, "models") == [name, published]
    assert list(registry.unfinished(workspace)) == []
    assert not workspace.exists(f"models/{name}/{registry.CHECKPOINT}")
    with pytest.raises(UserError, match="no training 'f1' is under way; there are none"):
        publish(workspace, "f1")


def test_a_forced_training_begins_anew_and_if_interrupted_is_continued_without_force(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = learn(workspace).fingerprint
    before = weights(workspace, name)
    assert learn(workspace).already_done
    assert interrupt(monkeypatch, workspace, 3, force=True) == name
    assert_same(weights(workspace, name), before)  # the old one is there until the new one is
    # Forced again, it does not continue the interrupted one ...
    interrupt(monkeypatch, workspace, 1, force=True)
    # ... which is what it does without.
    continued = learn(workspace)
    assert not continued.already_done
    assert_same(weights(workspace, name), before)
    assert learn(workspace).already_done


def test_more_steps_go_on_from_a_finished_training(
    workspace: Workspace, ingested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = learn(workspace, steps=3).fingerprint
    kept = weights(workspace, short)
    interrupt(monkeypatch, workspace, 1, steps=6)
    assert workspace.exists(f"models/{short}/{FINAL_STATE}")
    longer = learn(workspace, steps=6).fingerprint
    described = registry.describe(workspace, "models", longer)
    assert described["continued_from"] == f"models/{short}/{FINAL_STATE}"
    assert not workspace.exists(f"models/{short}/{FINAL_STATE}")
    assert learn(workspace, steps=3).already_done
    shutil.copytree(ingested / "workspace", tmp_path / "other")
    straight = Workspace(str(tmp_path / "other"))
    assert learn(straight, steps=6).fingerprint == longer
    undisturbed = registry.describe(straight, "models", longer)
    assert undisturbed["history"] == described["history"]
    assert_same(weights(straight, longer), weights(workspace, longer))
    assert_same(weights(workspace, short), kept)
    assert "continued_from" not in undisturbed
    # With a cosine, every rate of the shorter one was another.
    for num_steps in (2, 3):
        cosine = learn(workspace, steps=num_steps, schedule="cosine").fingerprint
    assert "continued_from" not in registry.describe(workspace, "models", cosine)
    [note] = learn(workspace, steps=1, init_from=short).notes
    assert note.startswith(f"begins with model {short}: ")


def test_rows_that_changed_under_a_training_are_told_before_it_begins_anew(
    workspace: Workspace, ingested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = interrupt(monkeypatch, workspace, 2)
    shutil.copytree(ingested / "set", tmp_path / "set")
    for source, audio in play(5).items():
        write(tmp_path / "set/train/B" / f"{source}.wav", audio)
    take(Path(workspace.location), tmp_path / "set")
    with pytest.raises(UserError, match=f"stems/labelled/.* has changed since training {name}"):
        learn(workspace)
    assert learn(workspace, force=True).fingerprint != name


def exploding(*steps: int) -> Callable[[Optimization, Any, float, int], StepFigures]:
    """A step that fails when it is the n-th one called."""
    called, step = iter(range(1, 100)), Optimization.step

    def explode(self: Optimization, *given: Any) -> StepFigures:
        if next(called) in steps:
            raise NonFiniteLossError("the loss is nan")
        return step(self, *given)

    return explode


def test_a_training_that_diverges_goes_back_once_at_a_lower_rate(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Optimization, "step", exploding(4))
    result = learn(workspace, checkpoint_every=2)
    assert "went back to step 2, and on at a quarter of the rate" in " ".join(result.notes)
    state = load_tensors(workspace, f"models/{result.fingerprint}/final-state.safetensors")[1]
    assert registry.trainer_state(state)["rate_share"] == 0.25
    assert result.counts["steps"] == 4
    assert [row["step"] for row in steps(workspace, result.fingerprint)] == [1, 2, 3, 4]

    monkeypatch.setattr(Optimization, "step", exploding(1, 3))
    with pytest.raises(UserError, match=r"the loss is nan at step 2 of 4; .* did not help"):
        learn(workspace, checkpoint_every=2, seed=1)
    # Nor is it begun anew at the old rate by the next run.
    [(_, progress)] = registry.unfinished(workspace)
    assert progress["step"] == 0


def test_every_step_has_one_row_whatever_happened(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = interrupt(monkeypatch, workspace, 3, checkpoint_every=2)
    rows = steps(workspace, name)
    assert [row["step"] for row in rows] == [1, 2, 3]
    # as a run leaves it that is killed between rows and checkpoint
    partition = Partition("steps", "labelled", name)
    Manifests(workspace).write(partition, ["4-4"], [{**rows[-1], "step": 4, "loss": -1.0}])
    monkeypatch.chdir(tmp_path)
    command, pages = f"`tensorboard --logdir {tmp_path}/events`", list[str]()
    monkeypatch.setattr(LivePage, "write", lambda _, markdown: pages.append(markdown))
    [note] = learn(workspace, checkpoint_every=2, tensorboard="events").notes
    assert command in note
    assert command in pages[-1]
    rows = steps(workspace, name)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [len(row["validation_sdr_db"]) for row in rows] == [0, 4, 0, 4]
    assert all(row["loss"] == row["labelled_loss"] > 0 for row in rows)
    assert all(np.isnan(row["weak_loss"]) for row in rows)
    assert all(0 <= row["wait_s"] <= row["step_s"] for row in rows)
    throughputs = [1 / row["examples_per_s"] for row in rows]
    np.testing.assert_allclose([row["step_s"] for row in rows], np.multiply(2, throughputs), 1e-5)
    events = EventAccumulator(str(tmp_path / "events" / name)).Reload()
    [told] = events.Scalars("train/loss")
    assert (told.step, told.value) == (4, rows[3]["loss"])
    scalars = set(events.Tags()["scalars"])
    assert "train/weak_loss" not in scalars
    assert scalars >= {
        f"train/{name}" for name in ("labelled_loss", "learning_rate", "gradient_norm",
                                     "examples_per_s", "wait_share", "memory_bytes")
    }  # fmt: skip
    assert "validation/sdr_db/vocals" in scalars  # which sound in the crop

    assert "tensorboard" not in str(learn(workspace, force=True).notes)
    assert "tensorboard" not in pages[-1]
    assert [row["step"] for row in steps(workspace, name)] == [1, 2, 3, 4]
    assert how_to_look("a b").endswith(f"--logdir '{tmp_path}/a b'`")
    assert how_to_look("s3://b/e").endswith("--logdir s3://b/e`")


def test_a_validation_song_is_heard_in_the_report(workspace: Workspace) -> None:
    learn(workspace, steps=1)
    [mixture] = Path(workspace.location).glob("reports/*/validation-mixture.mp3")
    for name in workspace.music.sources:
        assert len(soundfile.read(mixture.with_name(f"validation-{name}.mp3"))[0])
    audio, rate = soundfile.read(mixture)
    assert len(audio) == pytest.approx(rate / 2, rel=0.2)
    assert np.abs(audio).max() > 0.01


def test_a_validation_song_is_heard_while_it_trains_in_the_room_of_one_look(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard = weights(workspace, learn(workspace, validate_every=1, listen_every=0).fingerprint)
    files = set(Path(workspace.location).glob("reports/*/*.mp3"))
    pages, numbers = list[str](), list[int]()

    def write(page: LivePage, markdown: str) -> None:
        if page.caption == listening.CAPTION:
            pages.append(markdown)
            numbers.append(len(set(Path(workspace.location).glob("reports/*/*.mp3")) - files))

    monkeypatch.setattr(LivePage, "write", write)
    heard = learn(workspace, validate_every=1, listen_every=2, force=True).fingerprint
    assert [page.partition("\n")[0] for page in pages] == ["Step 2 of 4", "Step 4 of 4"]
    assert all(page.count("<audio controls") == 5 for page in pages)
    assert pages[0] != pages[1]
    assert numbers == [5, 5]
    assert_same(weights(workspace, heard), unheard)


def test_events_need_a_folder_and_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="tensorboard: /dev/null: no folder to write events to"):  # noqa: SIM117
        with step_log.events("/dev/null", "model"):
            pass
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'silentmix\[tensorboard\]'"):  # noqa: SIM117
        with step_log.events("folder", "model"):
            pass


Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_room_is_told_before_the_first_step(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))
    with pytest.raises(UserError, match=r"training needs 0\.00 GiB .* and 0\.00 GiB are free"):
        learn(workspace)


def test_a_checkpoint_of_something_else_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = interrupt(monkeypatch, workspace, 1)
    other = learn(workspace, architecture="wave_unet", depth=3).fingerprint
    shutil.copy(
        Path(workspace.resolve(f"models/{other}/final-state.safetensors")),
        Path(workspace.resolve(f"models/{name}/{registry.CHECKPOINT}")),
    )
    with pytest.raises(UserError, match="made with model architecture 'wave_unet', not 'demucs'"):
        learn(workspace)
