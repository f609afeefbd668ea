"""Long work that is stopped between two steps, never in the middle of one: cancelled, or paused."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from flows.running.pausing import heed_pause, is_paused

Result = TypeVar("Result")


def interruptible(work: Callable[[Callable[[], bool]], Result]) -> Result:
    """Run ``work`` in a thread, so that a signal meets this one and not the middle of a step.

    Cancelling a flow run, and Ctrl-C, raise in the main thread at whatever point it is. Inside a
    training step that would leave weights and optimiser half updated, with nothing to save. So the
    step is in a thread; when this thread is interrupted, ``work`` learns of it, ends its step,
    saves what it has, and returns; then the interruption goes its way. So it is where the flow run
    is paused.

    Args:
        work: gets a function to ask, before each step, whether to stop.

    Returns:
        What ``work`` returned, if it was not interrupted.

    Raises:
        prefect.exceptions.Pause: the flow run was paused, and ``work`` has returned.
    """
    stop = threading.Event()
    outcome: Future[Result] = Future()
    context = contextvars.copy_context()  # Prefect finds its run in it

    def run() -> None:
        try:
            outcome.set_result(context.run(work, lambda: stop.is_set() or is_paused()))
        except BaseException as error:  # noqa: BLE001  raised where the result is asked for
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="steps")
    try:
        thread.start()
        thread.join()
    finally:
        stop.set()
        if thread.ident is not None:  # else the interruption came before it began
            thread.join()
    result = outcome.result()
    heed_pause()
    return result
