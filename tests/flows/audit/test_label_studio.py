"""Tasks for Label Studio, and what it exports, in both of its ways."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import soundfile

from flows.audit.files import export_audit, import_answers
from flows.audit.options import AuditParameters
from storage.errors import UserError
from tests.flows.audit.heard_corpus import RATE, SOURCES, answers, heard_corpus


def annotated(task: dict[str, Any], *choices: str, at: str = "2026-01-01") -> dict[str, Any]:
    """A task as Label Studio gives it back."""
    return {
        "id": 7,
        "data": task["data"],
        "annotations": [
            {
                "was_cancelled": False,
                "updated_at": at,
                "result": [
                    {
                        "from_name": "silent", "to_name": "audio", "type": "choices",
                        "value": {"choices": list(choices)},
                    }
                ],
            }
        ],
    }  # fmt: skip


def test_there_and_back(tmp_path: Path) -> None:
    workspace = heard_corpus(tmp_path / "workspace")
    parameters = AuditParameters(workspace=workspace.location, corpus="live", draws=200, strata=1)
    folder = tmp_path / "clips"
    assert export_audit(parameters, folder, "label-studio") == 12
    with pytest.raises(UserError, match="an audit is there already"):
        export_audit(parameters, folder)
    tasks = json.loads((folder / "tasks.json").read_text())
    for number, task in enumerate(tasks, 1):
        assert task["data"]["audio"] == f"/data/local-files/?d=clips/{number:04}.wav"
        assert soundfile.info(folder / f"{number:04}.wav").frames == RATE
        assert task["data"]["question"] in {f"Is {source} silent?" for source in SOURCES}
    interface = ElementTree.fromstring((folder / "interface.xml").read_text())  # noqa: S314  ours
    asked = {"question", "audio"}
    assert {each.get("value", "") for each in interface} >= {f"${name}" for name in asked}
    allowed = [each.get("value") for each in interface.iter("Choice")]
    assert allowed == ["silent", "heard", "can't tell"]

    later = annotated(tasks[1], "heard", at="2026-01-02")["annotations"]
    twice = annotated(tasks[1], "silent")
    twice["annotations"] = [*later, *twice["annotations"]]
    cancelled = annotated(tasks[2], "silent")
    cancelled["annotations"][0]["was_cancelled"] = True
    exported = [annotated(tasks[0], "silent"), twice, cancelled, {**tasks[3], "annotations": []}]
    (folder / "export.json").write_text(json.dumps(exported))
    name, _ = import_answers(folder / "export.json", workspace.location)
    names = [f"{task['data']['segment_id']}/{task['data']['source']}" for task in tasks]
    assert answers(workspace) == {names[0]: "silent", names[1]: "heard"}

    least = [{**task["data"], "silent": "can't tell", "id": 7} for task in tasks[1:]]
    (folder / "min.json").write_text(json.dumps([*least, dict(tasks[0]["data"])]))
    assert import_answers(folder / "min.json", workspace.location)[0] == name
    assert answers(workspace) == {names[0]: "silent", **dict.fromkeys(names[1:], "can't tell")}

    for content, said in (
        ("{", "can't be read as what Label Studio exports"),
        ("{}", "no list of tasks"),
        ('[{"data": {"audio": "x"}}]', "task 1 is none of an audit"),
        ("[7]", "task 1 is none of an audit"),
        (json.dumps([annotated(tasks[0], "perhaps")]), "task 1: says 'perhaps', and not silent"),
    ):
        (folder / "other.json").write_text(content)
        with pytest.raises(UserError, match=said):
            import_answers(folder / "other.json", workspace.location)
