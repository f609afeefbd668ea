"""What the Prefect server does by itself: see them, and switch them off, under Automations.

A corpus that a stage has completed goes on to the next stage. Runs that fail notify a webhook. Runs
whose machine is gone are marked crashed.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from pydantic import SecretStr

from flows.catalogue import BY_NAME, FOLLOWING
from flows.server.announcements import PASSED_ON, TAG, completed
from flows.server.deployed import FORM
from storage.fingerprint import short_hash

ENDED = ("Completed", "Failed", "Cancelled", "Crashed")
LOST_AFTER = timedelta(minutes=3)
"""Six heartbeats, as often as :data:`flows.server.process.SETTINGS` has them."""

NOT_BEGUN_AFTER = timedelta(minutes=30)
NOTIFY_BLOCK = "silentmix-notify"
NOTIFICATION = (
    '{"text": {{ ("silentmix: " ~ flow_run.name ~ " " ~ flow_run.state.name | lower ~ ": " '
    "~ (flow_run.state.message or 'no message') | truncate(500) ~ ' ' ~ (flow_run | ui_url or '')) "
    "| tojson }}}"
)
"""What Slack, Mattermost, Teams and others take as a message."""


def register(client: SyncPrefectClient, webhook: str = "") -> list[str]:
    """Register the automations that are missing, or that another version registered.

    What somebody switched off stays off, and a run that starts keeps the fields it was given.

    Args:
        client: of a server that has the deployments.
        webhook: URL that is told of failures; empty leaves it as it was.

    Returns:
        Names of those that were registered.
    """
    wanted = [_chain(client, *pair) for pair in FOLLOWING.items()]
    wanted += [lost(), _not_begun()]
    if webhook:
        wanted.append(_notify(_webhook_block(webhook)))
    changed = []
    for automation in wanted:
        mark = f" (registered as {_digest(automation)})"
        automation = automation.model_copy(update={"description": automation.description + mark})
        existing = client.read_automations_by_name(automation.name)
        if not existing:
            client.create_automation(automation)
        elif not existing[0].description.endswith(mark):
            client.update_automation(existing[0].id, _with_choices(automation, existing[0]))
        else:
            continue
        changed.append(automation.name)
    return changed


def _with_choices(automation: AutomationCore, existing: AutomationCore) -> AutomationCore:
    """A new version of an automation, with what somebody chose in the UI for the last one."""
    actions = list(automation.actions)
    for index, (mine, theirs) in enumerate(zip(actions, existing.actions, strict=False)):
        if isinstance(mine, RunDeployment) and isinstance(theirs, RunDeployment):
            fields = {**(theirs.parameters or {}).get(FORM, {}), **(mine.parameters or {})[FORM]}
            actions[index] = mine.model_copy(update={"parameters": {FORM: fields}})
    return automation.model_copy(update={"actions": actions, "enabled": existing.enabled})


def _digest(automation: AutomationCore) -> str:
    content = automation.model_dump(exclude={"enabled"})
    text = json.dumps(
        content,
        sort_keys=True,
        default=lambda value: sorted(value) if isinstance(value, set) else str(value),
    )
    return short_hash(text, 8)


def _chain(client: SyncPrefectClient, stage: str, following: str) -> AutomationCore:
    known = [set(BY_NAME[name].load_parameters().model_fields) for name in (stage, following)]
    names = [name for name in PASSED_ON if all(name in fields for fields in known)]
    fields = {
        name: {"__prefect_kind": "jinja", "template": f"{{{{ event.payload.{name} }}}}"}
        for name in names
    }
    return AutomationCore(
        name=f"silentmix: {stage}, then {following}",
        description=f"A corpus whose {stage} has completed goes on to {following}.",
        trigger=EventTrigger(
            expect={completed(stage)},
            # a labelled set has nothing to score, and stages after that none of it
            match={"prefect.resource.id": "silentmix.corpus.*", "silentmix.labelled": "false"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(
                deployment_id=client.read_deployment_by_name(f"{following}/{following}").id,
                parameters={FORM: fields},
            )
        ],
        tags=[TAG],
    )


def lost() -> AutomationCore:
    """Marks the runs that no longer tell that they are alive."""
    return _crash(
        "silentmix: mark lost runs as crashed",
        "A run that no longer tells that it is alive was lost with its machine. Run it again: it "
        "continues.",
        after="heartbeat",
        expect=("heartbeat", "Paused", "Suspended", "AwaitingRetry", *ENDED),
        within=LOST_AFTER,
    )


def _not_begun() -> AutomationCore:
    return _crash(
        "silentmix: mark runs that never began as crashed",
        "A run that was handed to a worker and did not begin was lost with it. Run it again.",
        after="Pending",
        expect=("Running", "Scheduled", "AwaitingRetry", *ENDED),
        within=NOT_BEGUN_AFTER,
    )


def _crash(
    name: str, description: str, *, after: str, expect: tuple[str, ...], within: timedelta
) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(
            after={f"prefect.flow-run.{after}"},
            expect={f"prefect.flow-run.{each}" for each in expect},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_tagged(),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=description)],
        tags=[TAG],
    )


def _notify(block: UUID) -> AutomationCore:
    return AutomationCore(
        name="silentmix: tell of failures",
        description=f"Calls the webhook of the block {NOTIFY_BLOCK} when a run fails or crashes.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_tagged(),
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[CallWebhook(block_document_id=block, payload=NOTIFICATION)],
        tags=[TAG],
    )


def _tagged() -> dict[str, Any]:
    return {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}


def _webhook_block(url: str) -> UUID:
    saved = Webhook(url=SecretStr(url)).save(NOTIFY_BLOCK, overwrite=True)
    assert isinstance(saved, UUID)  # a coroutine in an asynchronous flow alone
    return saved
