"""What ``prefect.yaml`` deploys is what the code has, and its run form explains itself."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from flows.catalogue import BY_NAME, CATALOGUE, POOLS
from flows.running.chain_parameters import ChainParameters
from flows.running.parameters import UNITS, Options, StageParameters
from flows.server.announcements import TAG
from flows.server.deployed import FORM
from flows.service.deployments import definitions, load_flow, require_same_workspace
from storage.errors import UserError

DEFINITIONS = definitions()
MOST_THAT_MATTER = 5
MODELS = {entry.name: entry.load_parameters() for entry in CATALOGUE}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["name"])
def test_a_deployment_names_a_flow_and_gives_it_what_it_takes(definition: dict[str, Any]) -> None:
    found = load_flow(definition)
    assert definition["name"] == found.name
    fields = MODELS[found.name].model_fields
    for name, value in definition["parameters"][FORM].items():
        annotation: Any = fields[name].annotation
        TypeAdapter(annotation).validate_python(value)
    assert definition["description"]
    assert definition["tags"] == [TAG, found.name]
    assert definition["work_pool"]["name"] in POOLS
    assert definition["entrypoint"] == BY_NAME[found.name].flow


def test_every_flow_that_a_user_runs_is_deployed() -> None:
    assert {load_flow(definition).name for definition in DEFINITIONS} == set(MODELS)


def test_schedules_are_off() -> None:
    scheduled = {each["name"]: each["schedules"] for each in DEFINITIONS if "schedules" in each}
    assert scheduled.keys() == {"ingest", "compact"}
    assert [each["active"] for [each] in scheduled.values()] == [False, False]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["name"])
def test_the_form_in_the_ui_explains_every_field(definition: dict[str, Any]) -> None:
    """The run form is made from the JSON schema of the flow's parameters."""
    flow = load_flow(definition)
    model = MODELS[flow.name]
    schemas = flow.parameters.model_dump_for_openapi()["definitions"]
    fields = schemas[model.__name__]["properties"]
    assert fields.keys() == model.model_fields.keys()
    for field, schema in fields.items():
        reference = schema.get("$ref", "").removeprefix("#/definitions/")
        assert schema.get("description") or schemas[reference]["description"], field
        last = field.rpartition("_")[2]
        if schema.get("type") == "number" and last in UNITS:
            assert schema["title"].endswith(f"[{UNITS[last]}]")
    assert issubclass(model, Options)
    # what to work on first, then what matters, on how many processes last
    own = (model.__annotations__ or ChainParameters.__annotations__).keys() & fields.keys()
    assert set(list(fields)[: len(own)]) == own
    assert tuple(fields)[len(own) :][: len(model.matters)] == model.matters
    assert len(model.matters) <= MOST_THAT_MATTER
    where = set(StageParameters.model_fields) & set(fields)
    assert set(list(fields)[-len(where) :]) == where


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.__name__)
def test_choices_are_lists(model: type[BaseModel]) -> None:
    """A pattern of alternatives would be a free text field in the form."""
    for schema in model.model_json_schema()["properties"].values():
        assert not re.search(r"\(.*\|.*\)", schema.get("pattern", "")), schema


def test_deployments_of_another_workspace_are_left_to_it() -> None:
    theirs = SimpleNamespace(parameters={FORM: {"workspace": "/a"}})
    client: Any = SimpleNamespace(read_deployment_by_name=lambda _: theirs)
    require_same_workspace(client, "/a")
    with pytest.raises(UserError, match="are of the workspace /a, and would be of /b"):
        require_same_workspace(client, "/b")
