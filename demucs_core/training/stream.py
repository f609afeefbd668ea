"""The stream of training examples: which example comes when, decided by seed and index alone."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from demucs_core.stem_tracks import StemTrack, TrackPool
from demucs_core.training.batch_augmentation import change_batch
from demucs_core.training.crops import Reader
from demucs_core.training.examples import Example, collate, supervised_example, weak_example
from demucs_core.training.lossy_codec import through_codec
from demucs_core.training.prefetch import prefetched
from demucs_core.training.recipes import Recipe, RecipePools
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.stretching import stretched

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_STRETCHING, _CODEC = 2, 3
"""Tell the draws of what is done to an example from those of the example; 1 is that of batches."""


class ExampleStream(Dataset[Example]):
    """Supervised and weak examples by index, as a map-style dataset without an end.

    Example ``i`` is example ``i % batch_size`` of step ``i // batch_size``, and depends on the
    configuration and on ``i`` only: a run that resumes at step k asks for ``k * batch_size`` and so
    on, and sees what it would have seen; loader processes may make examples in any order.

    Weak examples are drawn evenly over the sources that they tell about, and for a source evenly
    over the groups that they make: what is common in a corpus doesn't crowd out what is rare.

    The first examples of a batch are the weak ones. Where their share is no whole number, batches
    alternate between the numbers around it, so that the average keeps to the share.

    Args:
        config: see :class:`StreamConfig`.
        tracks: labelled songs and single stems; needed unless all examples are weak.
        remixes: recipes by what they tell about; needed unless none is weak.
        read: the reader of all audio.
        num_sources: number of sources.

    Raises:
        ValueError: nothing to draw a kind of example from, or a source that there is not.
    """

    def __init__(
        self,
        config: StreamConfig,
        *,
        tracks: Sequence[StemTrack],
        remixes: RecipePools | None = None,
        read: Reader,
        num_sources: int,
    ) -> None:
        if not tracks and (config.weak_share < 1 or config.ramp_steps > 0):
            raise ValueError("there is no labelled track to draw supervised examples from")
        sizes = remixes.sizes if remixes is not None else ()
        if not sizes and config.weak_share > 0:
            raise ValueError(
                f"weak_share is {config.weak_share}, but there is no remix to draw from"
            )
        self.config = config
        self.tracks = TrackPool(tracks, num_sources)
        self.remixes = remixes
        self.read = read
        self.num_sources = num_sources
        self._sizes = sizes

    def weak_share_at(self, step: int) -> float:
        """Return the share of weak examples that the ramp allows at a step."""
        return self.config.weak_share * _ramp(step, self.config.ramp_steps)

    def weak_weight_at(self, step: int) -> float:
        """Return the factor on the weights of weak examples that the ramp allows at a step."""
        return self.config.weak_weight * _ramp(step, self.config.weight_ramp_steps)

    def num_weak_at(self, step: int) -> int:
        """Return how many examples of a step's batch are weak."""
        # Multiples of the golden ratio, modulo 1, spread evenly: dithering without randomness.
        # The guard keeps a rounding error from lifting a whole number to the next.
        dither = (step * GOLDEN_RATIO) % 1 * (1 - 1e-9)
        return math.floor(self.weak_share_at(step) * self.config.batch_size + dither)

    def __getitem__(self, index: int) -> Example:
        config = self.config
        if index < 0:
            raise IndexError(f"example {index}: the first is 0")
        step, place = divmod(index, config.batch_size)
        rng = np.random.default_rng((config.seed, index))
        recipe = self._draw_recipe(rng, step, place)
        stretch = config.stretching.draw(self._draws(index, _STRETCHING))
        if stretch is not None and recipe is not None:
            # Of a segment hardly longer than the stretcher's window, nothing would be known.
            long_enough = config.stretching.leaves_known(stretch, recipe.known_samples)
            stretch = stretch if long_enough else None
        if stretch is None:
            example = self._make(rng, recipe, config.crop_samples)
        else:
            example = self._make(rng, recipe, stretch.samples_for(config.crop_samples))
            example = stretched(example, stretch, config.stretching, config.crop_samples)
        coding = config.lossy_codec.draw(self._draws(index, _CODEC))
        if coding is not None:
            mixture = example.mixture.numpy()
            coded = through_codec(mixture, coding, config.lossy_codec.sample_rate)
            example = example._replace(mixture=torch.from_numpy(coded))
        if recipe is None:
            return example
        return example._replace(weight=example.weight * self.weak_weight_at(step))

    def _make(self, rng: np.random.Generator, recipe: Recipe | None, crop_samples: int) -> Example:
        """A labelled example, or that of a recipe."""
        if recipe is None:
            return supervised_example(
                rng,
                self.tracks,
                self.read,
                num_sources=self.num_sources,
                crop_samples=crop_samples,
                augmentation=self.config.augmentation,
            )
        return weak_example(
            rng,
            recipe,
            self.read,
            num_sources=self.num_sources,
            crop_samples=crop_samples,
            augmentation=self.config.augmentation,
            masked=self.config.masked,
        )

    def _draws(self, index: int, of_what: int) -> np.random.Generator:
        """Random numbers of an example that are no part of how it is made."""
        return np.random.default_rng((self.config.seed, index, of_what))

    def augmented(self, batch: Example, step: int) -> Example:
        """Return a step's batch as training hears it, on whatever device it is."""
        config = self.config
        return change_batch(
            batch, config.batch_augmentation, self.num_weak_at(step), seed=config.seed, step=step
        )

    def _draw_recipe(self, rng: np.random.Generator, step: int, place: int) -> Recipe | None:
        """Draw that of an example; None where it is a labelled one."""
        if place >= self.num_weak_at(step):
            return None
        assert self.remixes is not None
        source = int(rng.integers(len(self._sizes)))
        groups = int(rng.integers(len(self._sizes[source])))
        number = int(rng.integers(self._sizes[source][groups]))
        return self.remixes.recipe(source, groups, number)

    def batches(
        self,
        first_step: int,
        stop_step: int,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> Generator[Example]:
        """Return the batches of steps ``first_step`` to ``stop_step - 1``, in order.

        Close them where they are left early: until then, the next one is being made.

        Args:
            first_step: the first step.
            stop_step: one past the last.
            num_workers: processes that make examples; zero makes them in this one, a batch ahead
                in a thread. Processes come from a fork server, since a copy of this process would
                have none of its threads, but the locks that these hold.
            pin_memory: whether batches lie in memory that a GPU reads directly.
            rank: the process that the batches are for: of each, it gets every ``num_ranks``-th
                example, from this one on.
            num_ranks: processes that share each batch, as many as divide it.
        """
        batch_size = self.config.batch_size
        loader = DataLoader(
            self,
            batch_size=batch_size // num_ranks,
            sampler=range(first_step * batch_size + rank, stop_step * batch_size, num_ranks),
            collate_fn=collate,
            num_workers=num_workers,
            multiprocessing_context="forkserver" if num_workers else None,
            pin_memory=pin_memory,
            # Or the loader would draw from torch's global generator.
            generator=torch.Generator().manual_seed(0),
        )
        return (batch for batch in loader) if num_workers else prefetched(loader)


def _ramp(step: int, num_steps: int) -> float:
    return 1.0 if step >= num_steps else step / num_steps
