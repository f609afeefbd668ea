from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demucs_core.stem_tracks import StemTrack, TrackPool
from demucs_core.training.crops import Augmentation, read_crop
from demucs_core.training.examples import (
    Example,
    collate,
    supervised_example,
    weak_example,
)
from demucs_core.training.recipes import AddedStem, Recipe
from demucs_core.training.rendering import place_crop, place_excerpts
from demucs_core.training.validation import validation_crops
from demucs_core.training.weak_loss import check_partition, grouped_l1
from tests.demucs_core.synthetic_audio import SyntheticReader, stem_track

PLAIN = Augmentation(
    gain_min=1, gain_max=1, swap_channels=False, flip_sign=False, remix_probability=0
)
RAMP = SyntheticReader(ramp=True)
CROP = 32


def remix(**fields: Any) -> Recipe:
    values: dict[str, Any] = {
        "remix_id": "r",
        "track_path": "track:1000",
        "track_num_samples": 1000,
        "segment_start_sample": 400,
        "segment_stop_sample": 420,
        "silent": (1,),
        **fields,
    }
    return Recipe(**values)


def added(source: int = 1, **fields: Any) -> AddedStem:
    values = {
        "path": "stem:500",
        "num_samples": 500,
        "start_sample": 100,
        "excerpt_samples": 20,
        "gain_db": 0.0,
    }
    return AddedStem(source=source, **{**values, **fields})


def render(
    recipe: Recipe, seed: int = 0, augmentation: Augmentation = PLAIN, masked: bool = True
) -> Example:
    return weak_example(
        np.random.default_rng(seed),
        recipe,
        RAMP,
        num_sources=4,
        crop_samples=CROP,
        augmentation=augmentation,
        masked=masked,
    )


def supervised(seed: int, augmentation: Augmentation, crop_samples: int = CROP) -> Example:
    return supervised_example(
        np.random.default_rng(seed),
        TrackPool([stem_track("a", 500), stem_track("b", 90), stem_track("c", 20)], 4),
        SyntheticReader(),
        num_sources=4,
        crop_samples=crop_samples,
        augmentation=augmentation,
    )


@settings(deadline=None)
@given(seed=st.integers(0, 10**6))
def test_supervised_examples_know_every_source(seed: int) -> None:
    example = supervised(seed, Augmentation())
    torch.testing.assert_close(example.mixture, example.targets.sum(0))
    assert torch.equal(example.membership, torch.eye(4))
    assert example.mask.all()
    assert example.weight == 1
    assert example.targets.shape == (4, 2, CROP)


def test_supervised_without_augmentation_is_the_track() -> None:
    track = stem_track("a", 100)
    example = supervised_example(
        np.random.default_rng(0),
        TrackPool([track], 4),
        RAMP,
        num_sources=4,
        crop_samples=CROP,
        augmentation=PLAIN,
    )
    start = int(example.targets[0, 0, 0]) - 1
    expected = np.stack([RAMP(path, start, CROP) for path in track.paths])
    assert np.array_equal(example.targets.numpy(), expected)


def test_a_track_shorter_than_the_crop_ends_in_zeros() -> None:
    example = supervised_example(
        np.random.default_rng(0),
        TrackPool([stem_track("a", 20)], 4),
        SyntheticReader(),
        num_sources=4,
        crop_samples=CROP,
        augmentation=Augmentation(),
    )
    assert example.targets[..., :20].abs().min() > 0
    assert not example.targets[..., 20:].any()


def test_augmentation_changes_each_source_on_its_own() -> None:
    reader = SyntheticReader(ramp=True)
    gains, swapped = [], []
    for seed in range(50):
        example = supervised_example(
            np.random.default_rng(seed),
            TrackPool([stem_track("a", CROP)], 4),
            reader,
            num_sources=4,
            crop_samples=CROP,
            augmentation=Augmentation(remix_probability=0),
        )
        # The ramp reader's second channel is -3 times the first.
        ratio = example.targets[:, 1, 0] / example.targets[:, 0, 0]
        swap = ratio.abs() < 1
        torch.testing.assert_close(ratio, torch.where(swap, -1 / 3, -3.0))
        first = torch.where(swap, example.targets[:, 1, 0], example.targets[:, 0, 0])
        gains.append(first)
        swapped.append(swap)
    gain = torch.stack(gains)
    assert gain.abs().min() >= 0.25
    assert gain.abs().max() <= 1.25
    assert gain.abs().min() < 0.3
    assert gain.abs().max() > 1.2
    for per_source in (gain < 0, torch.stack(swapped)):
        assert 0.35 < per_source.float().mean() < 0.65
        assert (per_source.any(dim=1) & ~per_source.all(dim=1)).any()


def test_remixing_takes_each_source_from_another_track() -> None:
    tracks = [stem_track(name, CROP) for name in "abcdefgh"]
    reader = SyntheticReader()
    stems = {
        (track.track_id, source): reader(path, 0, CROP)
        for track in tracks
        for source, path in enumerate(track.paths)
    }

    def origins(seed: int, remix_probability: float) -> list[str]:
        example = supervised_example(
            np.random.default_rng(seed),
            TrackPool(tracks, 4),
            reader,
            num_sources=4,
            crop_samples=CROP,
            augmentation=Augmentation(
                gain_min=1,
                gain_max=1,
                swap_channels=False,
                flip_sign=False,
                remix_probability=remix_probability,
            ),
        )
        return [
            next(t.track_id for t in tracks if np.array_equal(stems[t.track_id, source], target))
            for source, target in enumerate(example.targets.numpy())
        ]

    assert all(len(set(origins(seed, 0))) == 1 for seed in range(10))
    assert sum(len(set(origins(seed, 1))) > 1 for seed in range(20)) > 15
    mixed = sum(len(set(origins(seed, 0.5))) > 1 for seed in range(100))
    assert 30 < mixed < 70


segments = st.integers(0, 99).flatmap(
    lambda start: st.tuples(st.just(start), st.integers(start + 1, 100))
)


@settings(deadline=None, max_examples=300)
@given(segment=segments, crop=st.integers(1, 120), seed=st.integers(0, 1000))
def test_crops_cover_as_much_of_the_segment_as_they_can(
    segment: tuple[int, int], crop: int, seed: int
) -> None:
    start, stop = segment
    place = place_crop(np.random.default_rng(seed), start, stop, 100, crop)
    overlap = min(stop, place + crop) - max(start, place)
    assert overlap == min(crop, stop - start)
    assert place >= 0
    if crop <= 100:
        assert place + crop <= 100
    else:
        assert place == 0


def test_crops_are_drawn_from_all_places() -> None:
    rng = np.random.default_rng(0)
    short = {place_crop(rng, 400, 420, 1000, CROP) for _ in range(400)}
    long = {place_crop(rng, 400, 440, 1000, CROP) for _ in range(400)}
    assert short == set(range(388, 401))
    assert long == set(range(400, 409))


@pytest.mark.parametrize("seed", range(5))
def test_a_stem_meets_the_segment_where_the_recipe_says(seed: int) -> None:
    example = render(remix(added=(added(gain_db=-20.0),)), seed)
    original = example.targets[0, 0]
    crop_start = int(original[0]) - 1
    assert torch.equal(original, torch.arange(crop_start + 1.0, crop_start + 1 + CROP))
    # Stem sample 100 (of value 101) at track sample 400, a tenth as loud, in the whole crop.
    stem = example.targets[1, 0]
    torch.testing.assert_close(stem, 0.1 * (original - 300))
    torch.testing.assert_close(example.mixture, example.targets.sum(0))
    assert example.membership.tolist() == [[1, 0, 1, 1], [0, 1, 0, 0], [0] * 4, [0] * 4]
    inside = (original > 400) & (original <= 420)
    assert int(inside.sum()) == 20
    assert all(torch.equal(row, inside) for row in example.mask)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Segments of any length, and stems whose excerpts are as long or shorter, anywhere in them."""
    start = draw(st.integers(0, 400))
    length = draw(st.integers(1, 600))
    silent = draw(st.sets(st.integers(0, 3), min_size=1))
    stems = []
    for source in draw(st.sets(st.sampled_from(sorted(silent)))):
        excerpt = draw(st.integers(1, length))
        begins, left = draw(st.integers(0, 50)), draw(st.integers(0, 50))
        audio = begins + excerpt + left
        stems.append(
            added(
                source,
                path=f"stem:{audio}",
                num_samples=audio,
                start_sample=begins,
                excerpt_samples=excerpt,
            )
        )
    return remix(
        segment_start_sample=start,
        segment_stop_sample=start + length,
        silent=tuple(silent),
        added=tuple(stems),
    )


@settings(deadline=None, max_examples=200)
@given(recipe=recipes(), seed=st.integers(0, 1000))
def test_of_every_weak_example_as_much_is_known_as_the_crop_can_hold(
    recipe: Recipe, seed: int
) -> None:
    example = render(recipe, seed)
    shortest = min([CROP, *(stem.excerpt_samples for stem in recipe.added)])
    segment_samples = recipe.segment_stop_sample - recipe.segment_start_sample
    assert int(example.mask[0].sum()) == min(shortest, segment_samples)
    for stem in recipe.added:
        # The ramp tells which sample of the stem is where: all that is known is of its excerpt.
        heard = example.targets[stem.source, 0][example.mask[0]] - 1
        assert heard.min() >= stem.start_sample
        assert heard.max() < stem.start_sample + stem.excerpt_samples
    sounding = [source for source in range(4) if source not in recipe.silent]
    if sounding:
        heard = example.targets[sounding[0], 0][example.mask[0]] - 1
        assert heard.min() >= recipe.segment_start_sample
        assert heard.max() < recipe.segment_stop_sample


def test_a_short_excerpt_lies_anywhere_in_a_long_segment() -> None:
    stems = (added(1, excerpt_samples=40), added(2, excerpt_samples=60))
    recipe = remix(segment_stop_sample=500, silent=(1, 2), added=stems)
    rng = np.random.default_rng(0)
    starts = [place_excerpts(rng, recipe)[0] for _ in range(1000)]
    assert set(starts) == set(range(400, 461))
    # Both move together: where one is heard, so is the other, as far apart as the recipe has them.
    example = render(recipe)
    assert torch.equal(example.targets[1], example.targets[2])
    # A segment that its excerpts fill draws nothing: such examples are what they ever were.
    state = rng.bit_generator.state
    assert place_excerpts(rng, remix(added=(added(),))) == (400, 420)
    assert rng.bit_generator.state == state


@pytest.mark.parametrize("begins", [0, 3, 480])
def test_stems_sound_beyond_what_is_known_as_far_as_they_have_audio(begins: int) -> None:
    for seed in range(5):
        example = render(remix(added=(added(start_sample=begins),)), seed)
        crop_start = int(example.targets[0, 0, 0]) - 1
        for place in range(CROP):
            position = crop_start + place - 400 + begins
            expected = position + 1 if 0 <= position < 500 else 0
            assert example.targets[1, 0, place] == expected


def test_unmasked_examples_claim_the_whole_crop() -> None:
    assert render(remix(added=(added(),)), masked=False).mask.all()


def test_a_silent_source_without_a_stem_is_a_target_of_zeros() -> None:
    example = render(remix(silent=(0, 3), added=(added(3),)))
    assert not example.targets[0].any()
    assert example.targets[3].any()
    assert example.membership.tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0] * 4, [0, 0, 0, 1]]
    torch.testing.assert_close(example.mixture, example.targets[1] + example.targets[3])


def test_three_silent_sources_make_a_pure_stem() -> None:
    example = render(remix(silent=(0, 1, 3)))
    assert torch.equal(example.membership, torch.eye(4))
    assert torch.equal(example.targets[2], example.mixture)
    assert not example.targets[[0, 1, 3]].any()


@settings(deadline=None)
@given(
    silent=st.sets(st.integers(0, 3), min_size=1),
    data=st.data(),
    seed=st.integers(0, 1000),
    masked=st.booleans(),
)
def test_true_sources_have_no_weak_loss(
    silent: set[int], data: st.DataObject, seed: int, masked: bool
) -> None:
    filled = data.draw(st.sets(st.sampled_from(sorted(silent))))
    recipe = remix(silent=tuple(silent), added=tuple(added(source) for source in filled))
    example = render(recipe, seed, Augmentation(), masked)
    check_partition(example.membership)
    # A separation that is right: what was added, and the rest split in any way.
    truth = torch.zeros(4, 2, CROP)
    for source in filled:
        truth[source] = example.targets[source]
    sounding = [source for source in range(4) if source not in silent]
    rest = example.mixture - truth.sum(0)
    for source in sounding:
        truth[source] = rest / len(sounding)
    batch = collate([example, example])
    loss = grouped_l1(truth.expand(2, -1, -1, -1), *batch[1:])
    assert loss < 1e-3
    assert grouped_l1(truth.expand(2, -1, -1, -1) + 1, *batch[1:]) > 0.9


def test_weak_augmentation_changes_the_example_as_a_whole() -> None:
    recipe = remix(added=(added(),))
    seen = set()
    for seed in range(30):
        # The crop is drawn first, so that both have the same one.
        plain, changed = render(recipe, seed), render(recipe, seed, Augmentation())
        gain = changed.targets[0, :, 0] / plain.targets[0, :, 0]
        # The ramp reader's second channel is -3 times the first.
        swap = bool(gain[0].abs() > 2 * gain[1].abs())
        expected = plain.targets.flip(1) if swap else plain.targets
        factor = changed.targets[0, 0, 0] / expected[0, 0, 0]
        torch.testing.assert_close(changed.targets, expected * factor)
        torch.testing.assert_close(changed.mixture, changed.targets.sum(0))
        assert torch.equal(changed.mask, plain.mask)
        assert 0.25 <= abs(float(factor)) <= 1.25
        seen.add((swap, bool(factor < 0)))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"segment_stop_sample": 1001}, r"remix r: segment \[400, 1001\) is not inside"),
        ({"segment_stop_sample": 400}, "is not inside"),
        ({"added": (added(2),)}, "must differ and be among the silent"),
        ({"added": (added(1), added(1))}, "must differ"),
    ],
)
def test_impossible_recipes_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        remix(**fields)


@pytest.mark.parametrize(
    "fields", [{"start_sample": 481}, {"start_sample": -1}, {"excerpt_samples": 0}]
)
def test_an_excerpt_beyond_its_stem_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"stem stem:500: excerpt \[.*\) is not inside its 500"):
        added(**fields)


def test_bad_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match="gain_max must be at least 2"):
        Augmentation(gain_min=2)
    with pytest.raises(ValueError, match="gain_min must be above 0"):
        Augmentation(gain_min=0)
    with pytest.raises(ValueError, match="remix_probability"):
        Augmentation(remix_probability=1.5)


def test_a_reader_that_gives_too_little_is_named_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"reading 9 samples of x\.wav gave .* \(2, 4\)"):
        read_crop(lambda _path, _start, _num: np.zeros((2, 4), np.float32), "x.wav", 0, 9)


def test_validation_crops_are_spread_over_the_track() -> None:
    crops = validation_crops(
        [stem_track("a", 132), stem_track("b", CROP), stem_track("c", 10)],
        RAMP,
        num_sources=4,
        crop_samples=CROP,
        crops_per_track=2,
    )
    assert all(crop.targets.shape == (4, 2, CROP) for crop in crops)
    assert all(torch.equal(crop.membership, torch.eye(4)) for crop in crops)
    assert [int(crop.targets[0, 0, 0]) - 1 for crop in crops] == [25, 75, 0, 0]
    assert not crops[-1].targets[..., 10:].any()


# Vocals and the rest; a stem of drums; drums and bass as a sum, and two sources.
KARAOKE = StemTrack(
    track_id="k", num_samples=90, paths=("k3:90", "k012:90"), groups=((3,), (0, 1, 2))
)
SINGLE = StemTrack(track_id="s", num_samples=60, paths=("s0:60",), groups=((0,),))
RHYTHM = StemTrack(
    track_id="r", num_samples=70, paths=("r01:70", "r2:70", "r3:70"), groups=((0, 1), (2,), (3,))
)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), remix=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_groups_of_partially_labelled_songs_add_up_to_the_mixture(
    seed: int, remix: float
) -> None:
    example = supervised_example(
        np.random.default_rng(seed),
        TrackPool([KARAOKE, SINGLE, RHYTHM], 4),
        SyntheticReader(),
        num_sources=4,
        crop_samples=CROP,
        augmentation=Augmentation(remix_probability=remix),
    )
    check_partition(example.membership)
    used = example.membership.any(dim=1)
    assert torch.equal(example.targets.sum(dim=0), example.mixture)
    assert example.targets[used].abs().amax(dim=(1, 2)).min() > 0
    assert not example.targets[~used].any()
    groups = {tuple(row.nonzero().flatten().tolist()) for row in example.membership[used]}
    assert groups in ({(3,), (0, 1, 2)}, {(0, 1), (2,), (3,)})  # never bass by itself
    perfect = example.targets.new_zeros(example.targets.shape)
    for group in groups:  # any sources that add up to the sums are right
        perfect[group[-1]] = example.targets[group[0]]
    loss = grouped_l1(perfect[None], *(field[None] for field in example[1:]))
    assert float(loss) == 0


def test_each_source_comes_from_who_has_it_by_itself() -> None:
    """Known together: one song by its sources, and one sum that nobody needs then."""
    read: list[str] = []

    def reader(path: str, start: int, num: int) -> np.ndarray:
        read.append(path.partition(":")[0])
        return SyntheticReader()(path, start, num)

    tracks = TrackPool([stem_track("a", 90), KARAOKE, SINGLE], 4)
    for seed in range(40):
        example = supervised_example(
            np.random.default_rng(seed),
            tracks,
            reader,
            num_sources=4,
            crop_samples=CROP,
            augmentation=Augmentation(remix_probability=1),
        )
        assert torch.equal(example.membership, torch.eye(4))
    assert set(read) == {"a0", "s0", "a1", "a2", "a3", "k3"}


def test_single_stems_alone_are_always_mixed() -> None:
    singles = [
        StemTrack(track_id=f"s{n}", num_samples=60, paths=(f"s{n}:60",), groups=((n,),))
        for n in range(4)
    ]
    example = supervised_example(
        np.random.default_rng(0),
        TrackPool(singles, 4),
        SyntheticReader(),
        num_sources=4,
        crop_samples=CROP,
        augmentation=PLAIN,
    )
    assert torch.equal(example.membership, torch.eye(4))
    with pytest.raises(ValueError, match="no stem has source 3 by itself"):
        TrackPool(singles[:3], 4)


def test_tracks_that_are_none() -> None:
    with pytest.raises(ValueError, match="a source in two stems"):
        StemTrack(track_id="x", num_samples=1, paths=("a", "b"), groups=((0, 1), (1,)))
    with pytest.raises(ValueError, match="2 stems and 1 groups"):
        StemTrack(track_id="x", num_samples=1, paths=("a", "b"), groups=((0,),))
    with pytest.raises(ValueError, match="track x has stems of sources"):
        TrackPool([stem_track("x", 1, 5)], 4)


def test_validation_takes_whole_songs_and_what_they_know() -> None:
    crops = validation_crops(
        [KARAOKE, SINGLE], RAMP, num_sources=4, crop_samples=CROP, crops_per_track=1
    )
    [crop] = crops
    check_partition(crop.membership)
    assert crop.membership.tolist() == [[1, 1, 1, 0], [0] * 4, [0] * 4, [0, 0, 0, 1]]
    assert torch.equal(crop.targets[0], crop.targets[3])
    assert not crop.targets[1:3].any()


def test_collating_stacks() -> None:
    examples = [supervised(seed, Augmentation()) for seed in range(3)]
    batch = collate(examples)
    assert batch.mixture.shape == (3, 2, CROP)
    assert batch.weight.shape == (3,)
    for single, stacked in zip(examples[1], (field[1] for field in batch), strict=True):
        assert torch.equal(single, stacked)
