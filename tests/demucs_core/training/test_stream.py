from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from demucs_core.training.examples import Example
from demucs_core.training.lossy_codec import LossyCodec
from demucs_core.training.recipes import AddedStem, Recipe, RecipeList, taught_sources
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.stretching import Stretching
from tests.demucs_core.synthetic_audio import SyntheticReader, stem_track

TRACKS = [stem_track("a", 300), stem_track("b", 100)]


def recipe(silent: tuple[int, ...], *added: int, weight: float = 1.0) -> Recipe:
    stems = tuple(
        AddedStem(
            source=source,
            path="s:90",
            num_samples=90,
            start_sample=9,
            excerpt_samples=40,
            gain_db=0.0,
        )
        for source in added
    )
    return Recipe(
        remix_id="r",
        track_path="t:200",
        track_num_samples=200,
        segment_start_sample=50,
        segment_stop_sample=90,
        silent=silent,
        added=stems,
        weight=weight,
    )


def stream(**fields: Any) -> ExampleStream:
    """Of four examples a step, half of them weak, unless fields of either kind say otherwise."""
    data: dict[str, Any] = {
        "tracks": TRACKS,
        "remixes": [recipe((1,), 1)],
        "read": SyntheticReader(),
        "num_sources": 4,
    }
    config: dict[str, Any] = {"batch_size": 4, "crop_samples": 24, "weak_share": 0.5}
    config |= {name: value for name, value in fields.items() if name not in data}
    data |= {name: value for name, value in fields.items() if name in data}
    data["remixes"] = RecipeList(data["remixes"], data["num_sources"])
    return ExampleStream(StreamConfig(**config), **data)


def equal(first: Example, second: Example) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def is_weak(example: Example) -> bool:
    return not torch.equal(example.membership, torch.eye(4))


def test_an_example_depends_on_seed_and_index_only() -> None:
    first, second, other = stream(), stream(), stream(seed=1)
    for index in (27, 3, 0, 12):
        assert equal(first[index], second[index])
        assert not equal(first[index], other[index])
    assert not equal(first[2], first[6])


def test_order_and_processes_of_the_loader_change_nothing() -> None:
    dataset = stream(
        stretching=Stretching(probability=0.8, sample_rate=100),
        lossy_codec=LossyCodec(probability=0.5, sample_rate=8_000),
    )
    # Two processes come out of one that has threads, as a flow's has.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(len, "").result()
        whole, resumed = list(dataset.batches(0, 6)), list(dataset.batches(2, 6, num_workers=2))
    assert len(whole) == 6
    assert not all(equal(a, b) for a, b in zip(whole, stream().batches(0, 6), strict=True))
    assert all(equal(a, b) for a, b in zip(whole[2:], resumed, strict=True))


@pytest.mark.parametrize(("share", "counts"), [(0.0, {0}), (0.5, {2}), (0.3, {1, 2}), (1.0, {4})])
def test_batches_keep_to_the_weak_share(share: float, counts: set[int]) -> None:
    dataset = stream(weak_share=share)
    nums = [dataset.num_weak_at(step) for step in range(1000)]
    assert set(nums) == counts
    assert sum(nums) == pytest.approx(share * 4000, abs=5)
    for step in range(5):
        batch = [dataset[4 * step + place] for place in range(4)]
        assert [is_weak(example) for example in batch] == [place < nums[step] for place in range(4)]


def test_the_weak_share_grows_over_the_ramp() -> None:
    dataset = stream(weak_share=1.0, ramp_steps=10)
    shares = [dataset.weak_share_at(step) for step in range(12)]
    assert shares == pytest.approx([step / 10 for step in range(10)] + [1, 1])
    assert dataset.num_weak_at(0) == 0
    assert dataset.num_weak_at(10) == 4


def test_recipes_are_drawn_evenly_over_sources() -> None:
    remixes = [recipe((1,), 1)] * 30 + [recipe((3,), 3)] + [recipe((0, 1, 3))]
    dataset = stream(remixes=remixes, weak_share=1.0, tracks=[], batch_size=1)
    counts: Counter[str] = Counter()
    for example in (dataset[index] for index in range(300)):
        # The place of the only groups of one source each tells the recipes apart.
        alone = tuple(example.membership.diagonal().nonzero().flatten().tolist())
        counts[str(alone)] += 1
    assert len(counts) == 3
    assert all(70 < count < 130 for count in counts.values())


def test_recipes_of_a_source_are_drawn_evenly_over_groups() -> None:
    remixes = [recipe((1,), 1)] * 50 + [recipe((1, 3), 1)] * 5 + [recipe((0, 2, 3))]
    dataset = stream(remixes=remixes, weak_share=1.0, tracks=[], batch_size=1)
    counts: Counter[str] = Counter()
    for example in (dataset[index] for index in range(300)):
        counts[str(example.membership.tolist())] += 1
    assert len(counts) == 3
    assert all(70 < count < 130 for count in counts.values())


@pytest.mark.parametrize(
    ("remix", "sources"),
    [
        (recipe((1,), 1), (1,)),
        (recipe((1, 2), 1), (1,)),
        (recipe((1, 2), 1, 2), (1, 2)),
        (recipe((1, 2)), (1, 2)),
        (recipe((0, 1, 3)), (2,)),
        (recipe((0, 1, 3), 0), (0, 2)),
    ],
)
def test_what_a_recipe_teaches(remix: Recipe, sources: tuple[int, ...]) -> None:
    filled = [stem.source for stem in remix.added]
    assert taught_sources(remix.silent, filled, 4) == sources


def test_weights_of_weak_examples() -> None:
    dataset = stream(remixes=[recipe((1,), 1, weight=0.5)], weak_weight=0.4)
    weights = [float(dataset[index].weight) for index in range(4)]
    assert weights == pytest.approx([0.2, 0.2, 1, 1])


def test_the_weak_weight_grows_over_its_ramp() -> None:
    dataset = stream(weak_share=1.0, weak_weight=0.5, weight_ramp_steps=4, batch_size=1)
    weights = [float(dataset[step].weight) for step in range(6)]
    assert weights == pytest.approx([0, 0.125, 0.25, 0.375, 0.5, 0.5])


def test_masked_reaches_the_examples() -> None:
    remixes = [recipe((1,), 1)]
    masked, unmasked = (
        stream(remixes=remixes, crop_samples=100, masked=masked) for masked in (True, False)
    )
    assert not masked[0].mask.all()
    assert unmasked[0].mask.all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"remixes": []}, "weak_share is 0.5, but there is no remix"),
        ({"tracks": []}, "no labelled track"),
        ({"tracks": [], "weak_share": 1.0, "ramp_steps": 5}, "no labelled track"),
        ({"tracks": [stem_track("x", 9, 3)]}, "no stem has source 3 by itself"),
        ({"weak_share": 1.1}, "weak_share must be from 0 to 1"),
        ({"batch_size": 0}, "batch_size"),
        ({"crop_samples": 0}, "crop_samples"),
        ({"weak_weight": -1.0}, "weak_weight"),
        ({"ramp_steps": -1}, "ramp_steps"),
        ({"weight_ramp_steps": -1}, "weight_ramp_steps"),
        ({"seed": -1}, "seed"),
        ({"remixes": [recipe((4,))]}, r"silent sources \[4\] must be some of 0 to 3"),
        ({"remixes": [recipe(())]}, r"silent sources \[\]"),
    ],
)
def test_bad_arguments_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream(**fields)


def test_there_is_no_example_before_the_first() -> None:
    with pytest.raises(IndexError, match="example -1: the first is 0"):
        stream()[-1]
