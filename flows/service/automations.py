"""What the Prefect server does by itself: see them, and switch them off, under Automations.

A corpus that a stage has completed goes on to the next stage. Runs that fail notify a webhook. Runs
whose machine is gone are marked crashed.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError

from flows.catalogue import BY_NAME, FOLLOWING
from flows.server.announcements import PASSED_ON, TAG, completed
from flows.server.deployed import FORM
from storage.fingerprint import short_hash

ENDED = ("Completed", "Failed", "Cancelled", "Crashed")
LOST_AFTER = timedelta(minutes=3)
"""Six heartbeats, as often as :data:`flows.server.process.SETTINGS` has them."""

NOT_BEGUN_AFTER = timedelta(minutes=30)
NOTIFY_BLOCK = "silentmix-notify"
NOTES = "silentmix_automations"
"""The variable of the server that says what was registered: nobody edits it with an automation."""

MARK = re.compile(r" \(registered as [0-9a-f]{8}\)")
"""Where versions up to 0.2.0 noted it: in the description, which people edit."""

NOTIFICATION = (
    '{"text": {{ ("silentmix: " ~ flow_run.name ~ " " ~ flow_run.state.name | lower ~ ": " '
    "~ (flow_run.state.message or 'no message') | truncate(500) ~ ' ' ~ (flow_run | ui_url or '')) "
    "| tojson }}}"
)
"""What Slack, Mattermost, Teams and others take as a message."""


class Note(BaseModel):
    """What was registered as an automation.

    Attributes:
        id: of the automation, whatever it is called by now.
        definition: a digest of all of it.
        description: what it said then; what says something else was edited.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    definition: str
    description: str


_NOTES = TypeAdapter(dict[str, Note])


def register(client: SyncPrefectClient, webhook: str = "") -> list[str]:
    """Register the automations that are missing, or that another version registered.

    What somebody edited stays as it is until a version registers something else; then a name, a
    description and the fields that a run is given stay, and what was switched off stays off.

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
    notes = _read_notes(client)
    changed = []
    for automation in wanted:
        name, definition = automation.name, _digest(automation)
        note = notes.get(name)
        existing = _registered(client, name, note)
        if existing is None:
            registered_id = client.create_automation(automation)
        elif note is None or note.definition != definition:
            registered_id = existing.id
            client.update_automation(existing.id, _with_choices(automation, existing, note))
        else:
            continue
        notes[name] = Note(
            id=registered_id, definition=definition, description=automation.description
        )
        changed.append(name)
    if changed:
        _write_notes(client, notes)
    return changed


def _registered(client: SyncPrefectClient, name: str, note: Note | None) -> Automation | None:
    """What was registered by a name, which somebody may have given another one since."""
    if note is not None:
        with suppress(ObjectNotFound):
            if (found := client.find_automation(note.id)) is not None:
                return found
    return next(iter(client.read_automations_by_name(name)), None)


def _read_notes(client: SyncPrefectClient) -> dict[str, Note]:
    """What was registered, by the names that we give; none of what can't be understood."""
    variable = client.read_variable_by_name(NOTES)
    try:
        return _NOTES.validate_python(variable.value if variable is not None else {})
    except ValidationError:
        return {}


def _write_notes(client: SyncPrefectClient, notes: dict[str, Note]) -> None:
    value = _NOTES.dump_python(notes, mode="json")
    if client.read_variable_by_name(NOTES) is None:
        client.create_variable(VariableCreate(name=NOTES, value=value, tags=[TAG]))
    else:
        client.update_variable(VariableUpdate(name=NOTES, value=value))


def _with_choices(
    automation: AutomationCore, existing: AutomationCore, note: Note | None
) -> AutomationCore:
    """A new version of an automation, with what somebody chose in the UI for the last one."""
    actions = list(automation.actions)
    for index, (mine, theirs) in enumerate(zip(actions, existing.actions, strict=False)):
        if isinstance(mine, RunDeployment) and isinstance(theirs, RunDeployment):
            fields = {**(theirs.parameters or {}).get(FORM, {}), **(mine.parameters or {})[FORM]}
            actions[index] = mine.model_copy(update={"parameters": {FORM: fields}})
    chosen: dict[str, Any] = {
        "name": existing.name, "enabled": existing.enabled, "actions": actions,
    }  # fmt: skip
    description = MARK.sub("", existing.description)
    if note is None or description != note.description:
        chosen["description"] = description
    return automation.model_copy(update=chosen)


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
