"""What the processes of a training do that are not the first: they learn, and write nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from demucs_core.training.divergence import DivergedError
from demucs_core.training.memory import OutOfMemoryError
from demucs_core.training.ranks import Ranks
from flows.running import devices
from flows.running.launcher import launched
from flows.train.build import build_trainer
from flows.train.companion import READY, Task
from flows.train.model import first_model
from flows.train.options import TrainParameters
from flows.train.processes import (
    is_of_the_group,
    joined,
    joined_as_launched,
    num_processes,
)
from flows.train.threads import threads
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace


def what_is_trained(
    parameters: TrainParameters,
    stems: Sequence[Partition],
    remixes: Mapping[Partition, str],
    tracks: Sequence[Partition],
) -> dict[str, Any]:
    """What the first process tells the others, JSON-able: they are to hear the very same rows."""
    return {
        "content": parameters.content(),
        "stems": [_names(each) for each in stems],
        "remixes": [[*_names(each), digest] for each, digest in remixes.items()],
        "tracks": [_names(each) for each in tracks],
    }


def _names(partition: Partition) -> list[str]:
    return [partition.table, partition.corpus, partition.fingerprint]


def train_beside(parameters: TrainParameters, ranks: Ranks, device: str) -> None:
    """Train as the first process does, until that is at its end.

    A signal that this process is to end is heeded after a step: then all end, and the first saves.

    Args:
        parameters: of this process, which must make the same model.
        ranks: the processes.
        device: of this process.

    Raises:
        UserError: the first trains something else.
    """
    told = ranks.told()
    if told is None:
        return  # the model is there already
    _require_same(json.loads(json.dumps(parameters.content())), told["content"])
    workspace = Workspace(parameters.workspace)
    model = first_model(parameters, workspace.music).model
    trainer, _ = build_trainer(
        parameters,
        Manifests(workspace),
        [Partition(*names) for names in told["stems"]],
        {Partition(*names): digest for *names, digest in told["remixes"]},
        [Partition(*names) for names in told["tracks"]],
        model,
        device,
        ranks,
    )
    while True:
        trainer.share_state()
        try:
            with _told_by_signals() as stop:
                trainer.run(stop=stop)
            return
        except DivergedError:
            continue  # the first goes back to a checkpoint, or gives up
        except OutOfMemoryError:
            return  # as the first tells


def _require_same(own: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    for name in sorted(own.keys() | first.keys()):
        if own.get(name) != first.get(name):
            raise UserError(
                f"{name} is {own.get(name)!r} in this process of the training, and "
                f"{first.get(name)!r} in the first; start all with the same options"
            )


def take_part(parameters: TrainParameters) -> None:
    """Train beside the first process, where a launcher started this one, and end.

    Raises:
        UserError: so many processes can't be, or one of them ended.
    """
    launch = launched(os.environ)
    assert launch is not None
    if parameters.dry_run:
        return
    device = devices.pick_device(parameters.device)
    num_processes(parameters, device, launch)
    with (
        threads(parameters.threads),
        joined_as_launched(launch, device) as (ranks, own_device),
    ):
        train_beside(parameters, ranks, own_device)
    _end(0)


@contextmanager
def _told_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether a signal said that this process is to end, which it does after a step."""
    told = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: told.set()) for number in numbers]
    try:
        yield told.is_set
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def main() -> int:
    """Be the process that :class:`~flows.train.companion.Companion` starts."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is for the terminal
    task = Task.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(READY, file=out, flush=True)
    try:
        with (
            threads(task.parameters.threads),
            joined(task.device, rank=task.rank, size=task.size, meeting=task.meeting) as ranks,
        ):
            train_beside(task.parameters, ranks, task.device)
    except Exception as error:  # noqa: BLE001  told to the first process
        if not isinstance(error, UserError) and not is_of_the_group(error):
            traceback.print_exc()
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=out, flush=True)
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """End this process without Python's own end.

    Once there was a DistributedDataParallel, the group's threads outlive the group; one of them
    that lets go of a tensor while Python ends would abort the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    _end(main())
