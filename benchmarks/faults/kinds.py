"""Every kind of fault: what happens, and to which stages it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.faults import at_once, clusters, damage, disks, kills, services
from benchmarks.faults.case import Case
from benchmarks.faults.music import STAGES
from benchmarks.faults.server import Server

INGESTS = ("ingest labelled", "ingest music")
READING = STAGES[2:]
"""Stages before which there is something that can come to harm."""

ON_DASK = (*INGESTS, "fit-detector", "score", "extract", "remix", "evaluate")
"""Stages that give work to Dask."""

IN_BUCKET = ("ingest music", "score", "extract", "remix")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: what it is called.
        strike: runs the stage, and has it happen.
        stages: to which it can.
        weight: how often it is dealt in a round; what takes long, seldom.
        needs_server: whether ``strike`` takes the Prefect server.
        in_bucket: what the bucket does, where the workspace is in one.
        is_rare: whether it is left out of ``--quick``.
    """

    name: str
    strike: Callable[..., object]
    stages: Sequence[str] = STAGES
    weight: int = 2
    needs_server: bool = False
    in_bucket: str = ""
    is_rare: bool = False


def nothing(_: Case) -> None:
    """What happens, happens to the bucket."""


def _server(strike: Callable[[Case, Server], None]) -> Kind:
    return Kind(
        name=strike.__name__, strike=strike, weight=1, needs_server=True, is_rare=True,
        stages=("ingest music", "score", "remix"),
    )  # fmt: skip


KINDS: tuple[Kind, ...] = (
    *(
        Kind(name=strike.__name__, strike=strike, weight=4)
        for strike in (
            kills.killed_before, kills.killed_half_way, kills.killed_before_name,
            kills.killed_after,
        )
    ),
    *(
        Kind(name=strike.__name__, strike=strike)
        for strike in (
            kills.terminated, kills.interrupted, kills.killed_twice, kills.stopped,
            kills.clock_back, kills.clock_ahead, disks.files_too_large, at_once.same_stage_twice,
        )
    ),
    Kind(name="decoder_killed", strike=kills.decoder_killed, stages=INGESTS),
    _server(kills.server_killed),
    _server(kills.server_restarted),
    *(
        Kind(name=strike.__name__, strike=strike, weight=1, stages=("ingest music", "score"),
             is_rare=True)
        for strike in (kills.dask_worker_killed, kills.dask_worker_stopped)
    ),
    *(
        Kind(name=strike.__name__, strike=strike, weight=1, stages=ON_DASK, is_rare=True)
        for strike in (
            clusters.dask_scheduler_killed, clusters.dask_scheduler_terminated,
            clusters.dask_scheduler_restarted, clusters.dask_scheduler_stopped,
        )
    ),
    *(
        Kind(name=strike.__name__, strike=strike, weight=1, is_rare=True,
             stages=("ingest music", "score", "remix", "train"))
        for strike in (
            services.prefect_worker_killed, services.prefect_worker_terminated,
            services.prefect_worker_stopped,
        )
    ),
    Kind(name="disk_full", strike=disks.disk_full),
    Kind(name="scratch_full", strike=disks.scratch_full, stages=INGESTS),
    *(
        Kind(name=strike.__name__, strike=strike, stages=READING)
        for strike in (
            damage.part_flipped, damage.part_cut, damage.part_deleted, damage.audio_flipped,
            damage.audio_cut, damage.audio_deleted,
        )
    ),
    Kind(name="weights_harmed", strike=damage.weights_harmed,
         stages=("score", "extract", "remix", "train", "evaluate")),
    Kind(name="description_harmed", strike=damage.description_harmed,
         stages=("score", "extract", "remix", "train", "evaluate")),
    Kind(name="checkpoint_harmed", strike=damage.checkpoint_harmed,
         stages=("fit-detector", "train")),
    Kind(name="marker_harmed", strike=damage.marker_harmed),
    Kind(name="same_stage_side_by_side", strike=at_once.same_stage_side_by_side),
    Kind(name="two_corpora", strike=at_once.two_corpora, stages=("ingest music",)),
    Kind(name="forget_while_score", strike=at_once.forget_while_score, stages=("score",)),
    Kind(name="train_while_remix", strike=at_once.train_while_remix, stages=("remix",)),
    *(
        Kind(name=f"bucket_{what}", strike=nothing, stages=IN_BUCKET, in_bucket=what, weight=1,
             is_rare=True)
        for what in ("failed", "stalled", "cut", "refused")
    ),
)  # fmt: skip
