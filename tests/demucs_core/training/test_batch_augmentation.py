"""Changes to whole batches keep sums and masks true, and depend on seed and step alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from demucs_core.training.batch_augmentation import change_batch
from demucs_core.training.crops import Augmentation
from demucs_core.training.examples import Example, collate
from demucs_core.training.recipes import AddedStem, Recipe, RecipeList
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import BatchAugmentation, StreamConfig
from demucs_core.training.weak_loss import grouped_l1
from tests.demucs_core.synthetic_audio import SyntheticReader, stem_track
from tests.demucs_core.training import tiny

EVERYTHING = BatchAugmentation(gain_db=6, flip=0.5, swap=0.5, shift_samples=50, remix=0.5)
SIZE, WEAK = 8, 3
STEM = AddedStem(
    source=1, path="s:90", num_samples=90, start_sample=9, excerpt_samples=40, gain_db=0.0
)
RECIPE = Recipe(
    remix_id="r", track_path="t:900", track_num_samples=900, segment_start_sample=50,
    segment_stop_sample=90, silent=(1,), added=(STEM,),
)  # fmt: skip


def stream(augmentation: BatchAugmentation = EVERYTHING, **fields: Any) -> ExampleStream:
    config = StreamConfig(
        crop_samples=64,
        batch_size=SIZE,
        weak_share=WEAK / SIZE,
        augmentation=Augmentation(gain_min=1, gain_max=1, swap_channels=False, flip_sign=False),
        batch_augmentation=augmentation,
        **fields,
    )
    return ExampleStream(
        config,
        tracks=[stem_track(name, 300) for name in "abcd"],
        remixes=RecipeList([RECIPE], 4),
        read=SyntheticReader(),
        num_sources=4,
    )


def batch() -> Example:
    examples = stream()
    return collate([examples[index] for index in range(SIZE)])


def changed(step: int = 0, **fields: Any) -> Example:
    return change_batch(batch(), BatchAugmentation(**fields), WEAK, seed=0, step=step)


def test_what_is_off_changes_nothing() -> None:
    given = batch()
    assert stream(BatchAugmentation()).augmented(given, 0) is given


def test_sums_stay_true_where_they_are_known() -> None:
    given = batch()
    for step in range(20):
        made = stream().augmented(given, step)
        torch.testing.assert_close(made.mixture, made.targets.sum(dim=1))
        assert torch.equal(made.membership, given.membership)
        assert torch.equal(made.mask.sum(dim=2), given.mask.sum(dim=2))
        # The rest of a weak example, split in any way, is a perfect separation still.
        truth = made.targets.clone()
        truth[:WEAK, 2] = truth[:WEAK, 0] / 3
        truth[:WEAK, 0] -= truth[:WEAK, 2]
        assert grouped_l1(truth, *made[1:]) < 1e-6
    assert torch.equal(given.targets, batch().targets)


def test_a_weak_example_changes_as_a_whole_and_a_labelled_one_source_by_source() -> None:
    given, made = batch(), changed(gain_db=12, flip=0.5)
    factor = (made.targets / given.targets)[..., 40]  # where every stem has audio
    for number in range(SIZE):
        used = given.targets[number].abs().amax(dim=(1, 2)) > 0
        found = {round(float(value), 4) for value in factor[number][used].flatten()}
        assert len(found - {float("nan")}) == (1 if number < WEAK else 4)
    levels = 20 * factor[WEAK:].abs().log10()
    assert levels.abs().max() <= 12.001
    assert levels.abs().max() > 6
    assert {-1.0, 1.0} == set(factor[WEAK:].sign().flatten().tolist())


def test_shifts_go_round_and_take_the_mask_along() -> None:
    given, made = batch(), changed(shift_samples=20)
    for number in range(SIZE):
        shifts = set()
        for group in range(4):
            found = [
                shift
                for shift in range(-20, 21)
                if torch.equal(
                    given.targets[number, group].roll(shift, -1), made.targets[number, group]
                )
                and torch.equal(given.mask[number, group].roll(shift, -1), made.mask[number, group])
            ]
            assert found
            shifts |= set(found) if len(found) == 1 else set()
        assert len(shifts) == 1 if number < WEAK else len(shifts) > 1


def test_channels_are_exchanged_as_often_as_asked() -> None:
    given, made = batch(), changed(swap=1.0)
    assert torch.equal(made.targets, given.targets.flip(2))
    assert torch.equal(made.mixture, made.targets.sum(dim=1))


def test_sources_are_dealt_among_labelled_examples_alone() -> None:
    given, made = batch(), changed(remix=1.0)
    assert torch.equal(made.targets[:WEAK], given.targets[:WEAK])
    for source in range(4):
        before, after = (
            sorted(float(value) for value in one.targets[WEAK:, source].sum(dim=(1, 2)))
            for one in (given, made)
        )
        np.testing.assert_allclose(before, after, rtol=1e-5)
    assert not torch.equal(made.targets[WEAK:], given.targets[WEAK:])
    partly = given._replace(membership=given.membership.clone())
    partly.membership[WEAK] = partly.membership[0]  # known in two sums
    kept = change_batch(partly, BatchAugmentation(remix=1.0), WEAK, seed=0, step=0)
    assert torch.equal(kept.targets[WEAK], given.targets[WEAK])


def test_the_same_step_is_changed_alike_and_another_otherwise() -> None:
    given, examples = batch(), stream()
    first, again, other = (examples.augmented(given, step).targets for step in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, stream(seed=1).augmented(given, 7).targets)


@pytest.mark.parametrize("fields", [{"flip": 1.1}, {"gain_db": -1.0}, {"shift_samples": -1}])
def test_values_out_of_range_are_named(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        BatchAugmentation(**fields)


def test_a_resumed_training_hears_what_an_undisturbed_one_does() -> None:
    config = replace(tiny.STREAM, batch_augmentation=EVERYTHING)
    straight, broken_off, resumed, plain = (
        tiny.trainer(examples=tiny.stream(config if changed else tiny.STREAM))
        for changed in (True, True, True, False)
    )
    assert straight.run()
    assert not broken_off.run(stop=lambda: broken_off.step == 3)
    resumed.load_state(*broken_off.state())
    assert resumed.run()
    tiny.assert_same(resumed, straight)
    assert plain.run()
    assert plain.history != straight.history
