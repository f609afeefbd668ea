"""The course of a soak: files arrive, runs are scheduled, the saboteur strikes; then quiet."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from benchmarks.soaking.music import Music
from benchmarks.soaking.saboteur import Saboteur
from benchmarks.soaking.stack import POLL_S, Stack, states, unfinished
from benchmarks.soaking.stages import FIELDS

AT_ONCE = 4
"""Runs that have not ended, the waiting ones among them, before no corpus gets its turn."""

LATEST_S = 3.0
ENDING_S = 600.0


class Soak:
    """What happens to a standing service while the saboteur is about.

    Args:
        stack: the service.
        music: whose corpora are worked on.
        seed: decides when what happens.
    """

    def __init__(self, stack: Stack, music: Music, seed: int) -> None:
        self.stack, self.music = stack, music
        self.saboteur = Saboteur(stack.workspace / ".prefect", stack.up, seed)
        self._random = random.Random(seed)
        self._visits: list[str] = []
        self._num_visits = 0
        self._seen_ending: set[UUID] = set()
        self._begun = time.monotonic()

    def disturbed(self, num_runs: int) -> None:
        """Go on until so many runs were scheduled and every corpus has had its turn."""
        while True:
            runs = self.stack.runs()
            self._schedule_again(runs)
            if len(runs) >= num_runs and self._num_visits >= len(self.music.corpora):
                return
            left = unfinished(runs)
            if len(left) < AT_ONCE:
                self._visit()
            if killed := self.saboteur.strike(len(runs) - len(left)):
                self.say(f"killed: {killed}; runs {states(self.stack.runs())}")
            time.sleep(POLL_S)

    def end(self) -> list[FlowRun]:
        """Wait for the runs under way and for those that follow them; returns what is stuck."""
        stuck = self.stack.wait_until_idle(ENDING_S)
        self.say(f"the last run has ended: {states(self.stack.runs())}")
        return stuck

    def _visit(self) -> None:
        """Let files arrive in the corpus whose turn it is, and schedule its ingest."""
        if not self._visits:
            self._visits = self._random.sample(self.music.corpora, len(self.music.corpora))
        corpus = self._visits.pop()
        self._num_visits += 1
        self.music.arrive(corpus)
        fields = {"corpus": corpus, "source": str(self.music.folder(corpus)), **FIELDS["ingest"]}
        self.stack.schedule("ingest", fields, self._random.uniform(0, LATEST_S))

    def _schedule_again(self, runs: Sequence[FlowRun]) -> None:
        for run in runs:
            if run.id in self._seen_ending or run.state is None or not run.state.is_final():
                continue
            self._seen_ending.add(run.id)
            if not run.state.is_completed():
                self.say(f"{run.name}: {run.state.name}; {(run.state.message or '')[:100]}")
                self.stack.schedule_again(run)

    def say(self, text: str) -> None:
        """Print a line, and when it is."""
        print(f"{time.monotonic() - self._begun:6.0f} s  {text}", flush=True)
