"""A flow run that was paused in the Prefect UI, whose process is to end until it is resumed.

Prefect watches the run of a deployment (its child runs with it), and ends it by raising
:class:`~prefect.exceptions.Pause` where it begins a flow or a task. Here most of the time passes
within one, so the work itself asks, between two steps or batches; what is done is kept, and the
process that a worker starts when the run is resumed continues there.
"""

from __future__ import annotations

from prefect.context import FlowRunContext


def is_paused() -> bool:
    """Whether the flow run of this thread, or one that it is part of, was paused."""
    run = FlowRunContext.get()
    return run is not None and run.flow_run_suspension_request.is_requested()


def heed_pause() -> None:
    """End here if the flow run was paused.

    Raises:
        prefect.exceptions.Pause: it was.
    """
    run = FlowRunContext.get()
    if run is not None:
        run.flow_run_suspension_request.raise_if_requested()
