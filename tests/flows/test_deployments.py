"""What ``prefect.yaml`` deploys is what the code has."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow

import flows
from flows.audit import AuditParameters, audit
from flows.commands import STAGE_FLOWS
from flows.pipeline import PipelineParameters, pipeline

ROOT = Path(flows.__file__).parent.parent
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
    "deployments"
]
MODELS = {
    **{flow.name: model for flow, model in STAGE_FLOWS.values()},
    pipeline.name: PipelineParameters,
    audit.name: AuditParameters,
}


def flow_of(deployment: dict[str, Any]) -> Flow[Any, Any]:
    path, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / path).is_file()
    found = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(found, Flow)
    return found


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_names_a_flow_and_gives_it_what_it_takes(deployment: dict[str, Any]) -> None:
    found = flow_of(deployment)
    MODELS[found.name].model_validate(deployment["parameters"]["parameters"])
    assert found.validate_parameters(deployment["parameters"])
    assert deployment["description"]
    assert "silentmix" in deployment["tags"]
    assert deployment["work_pool"]["name"] in ("cpu", "gpu")


def test_every_stage_and_the_chain_are_deployed() -> None:
    assert {flow_of(deployment).name for deployment in DEPLOYMENTS} == set(MODELS)


def test_no_schedule_is_on_from_the_start() -> None:
    schedules = [found for each in DEPLOYMENTS for found in each.get("schedules", [])]
    assert schedules
    assert not any(schedule["active"] for schedule in schedules)


@pytest.mark.parametrize("name", MODELS)
def test_the_form_in_the_ui_explains_every_field(name: str) -> None:
    """The run form is made from the JSON schema of the flow's parameters."""
    flow = next(flow_of(each) for each in DEPLOYMENTS if flow_of(each).name == name)
    definitions = flow.parameters.model_dump()["definitions"]
    fields = definitions[MODELS[name].__name__]["properties"]
    assert fields.keys() == MODELS[name].model_fields.keys()
    for field, schema in fields.items():
        reference = schema.get("$ref", "").removeprefix("#/definitions/")
        assert schema.get("description") or definitions[reference]["description"], field
