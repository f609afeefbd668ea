"""The listening audit, answered with the truth about the songs that the tests compose."""

from __future__ import annotations

import contextvars
import csv
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_runs import resume_flow_run

from flows.audit import flow as audit_module
from flows.audit.files import ANSWERS, export_audit, import_answers
from flows.audit.flow import audit
from flows.audit.options import AuditParameters
from flows.audit.sample import Answer, Clip, draw_clips, write_answers
from flows.cli.sound_commands import audit as audit_command
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import SETTINGS, Finished, play

MUSIC = MusicFormat()
SOURCES = MUSIC.sources

NAMES = ("a b.wav", "é.flac", "c.mp3", "d.ogg", "e.wav")
QUIET = 1e-4
POLL_S = 0.2
ANY_ORDER = FlowRunSort.ID_DESC


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Workspace:
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    return Workspace(str(tmp_path / "workspace"))


def rows(workspace: Workspace, table: str, corpus: str = "music") -> list[dict[str, Any]]:
    manifests = Manifests(workspace)
    return [row for part in manifests.partitions(table, corpus) for row in manifests.rows(part)]


def truth(workspace: Workspace) -> dict[tuple[str, str], bool]:
    """Whether a source is silent in a segment, by segment_id and source."""
    songs = {
        row["track_id"]: play(100 + NAMES.index(row["source_url"].rpartition("/")[2]))
        for row in rows(workspace, "tracks")
    }
    return {
        (row["segment_id"], source): bool(
            np.abs(songs[row["track_id"]][source][row["start_sample"] : row["stop_sample"]]).max()
            < QUIET
        )
        for row in rows(workspace, "segments")
        for source in row["silent_sources"]
    }


def fill(table: Path, silent: dict[tuple[str, str], bool], most: int = 10_000) -> None:
    with table.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for line in lines[:most]:
        line["silent"] = "yes" if silent[line["segment_id"], line["source"]] else "No "
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def test_an_audit_with_files_finds_the_true_precision(copy: Workspace, tmp_path: Path) -> None:
    parameters = AuditParameters(workspace=copy.location, draws=2000, strata=2)
    folder = tmp_path / "clips"
    segments = rows(copy, "segments")
    count = export_audit(parameters, folder)
    assert len(list(folder.glob("*.wav"))) == count
    assert count == sum(len(row["silent_sources"]) for row in segments)  # so many draws meet all
    with pytest.raises(UserError, match="is there already"):
        export_audit(parameters, folder)
    silent = truth(copy)
    mistaken = {key: not is_silent for key, is_silent in silent.items()}
    fill(folder / ANSWERS, mistaken, most=3)  # which are corrected below
    name, said = import_answers(folder / ANSWERS, copy.location)
    assert len(rows(copy, "audits")) == 3
    fill(folder / ANSWERS, silent)
    assert import_answers(folder / ANSWERS, copy.location)[0] == name
    assert len(rows(copy, "audits")) == count
    meant = {True: "silent", False: "heard"}
    for row in rows(copy, "audits"):
        assert row["answer"] == meant[silent[row["segment_id"], row["source"]]]
    _, said = import_answers(folder / ANSWERS, copy.location)
    assert len(rows(copy, "audits")) == count
    assert said
    for found in said:
        seconds = {True: 0.0, False: 0.0}
        for row in segments:
            if found["source"] in row["silent_sources"]:
                seconds[silent[row["segment_id"], found["source"]]] += row["duration_s"]
        precision = seconds[True] / sum(seconds.values())
        assert found["from"] <= precision <= found["to"]
        assert found["precision"] == pytest.approx(precision, abs=0.04)
        assert found["heard"] >= 2000


def test_extract_keeps_what_the_audit_is_sure_of(copy: Workspace, tmp_path: Path) -> None:
    """Answers that tell the less sure half of one source wrong, and all of the others right."""
    parameters = AuditParameters(workspace=copy.location, draws=400, strata=2)
    export_audit(parameters, tmp_path / "clips")
    before = rows(copy, "segments")
    source = max(SOURCES, key=lambda name: sum(name in row["silent_sources"] for row in before))
    scores = {
        row["segment_id"]: dict(zip(row["silent_sources"], row["mean_probability"], strict=True))
        for row in before
    }
    half = np.median([found[source] for found in scores.values() if source in found])
    answers = {
        (segment, name): name != source or score > half
        for segment, found in scores.items()
        for name, score in found.items()
    }
    fill(tmp_path / "clips" / ANSWERS, answers)
    name, said = import_answers(tmp_path / "clips" / ANSWERS, copy.location)
    [line] = [found for found in said if found["source"] == source]
    values = {**SETTINGS["extract"], "workspace": copy.location, "target_precision": 0.5}
    plain = extract(ExtractParameters.model_validate(values))
    audited = extract(ExtractParameters.model_validate({**values, "audit": name}))
    assert plain.already_done
    assert audited.fingerprint != plain.fingerprint
    manifests = Manifests(copy)
    kept = list(manifests.rows(manifests.latest("segments", "music", audited.fingerprint)))
    cut = line["least score that meets the target"]
    strict = import_answers(tmp_path / "clips" / ANSWERS, copy.location)[1]
    assert strict == said
    for row in kept:
        for silent, score in zip(row["silent_sources"], row["mean_probability"], strict=True):
            assert silent != source or cut == "none" or score >= min(cut, half)
    wrong = [row for row in kept if source in row["silent_sources"]]
    assert len(wrong) <= sum(source in row["silent_sources"] for row in before)
    others = {
        (row["start_sample"], row["track_id"], name)
        for row in before
        for name in row["silent_sources"]
        if name != source
    }
    assert others == {
        (row["start_sample"], row["track_id"], name)
        for row in kept
        for name in row["silent_sources"]
        if name != source
    }
    with pytest.raises(UserError, match=f"audit '{name}' is of segments {plain.fingerprint}"):
        extract.fn(
            ExtractParameters.model_validate(
                {**values, "audit": name, "guard_s": 0.3, "dry_run": True}
            )
        )


def test_answers_that_mean_nothing(copy: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    with pytest.raises(UserError, match=r"no audit that `silentmix audit --export` wrote"):
        import_answers(folder / ANSWERS, copy.location)
    export_audit(AuditParameters(workspace=copy.location, draws=4), folder)
    table = folder / ANSWERS
    whole = table.read_text(encoding="utf-8").splitlines()
    clip, source, _, segment = whole[1].split(",")
    for line, said in (
        (f"{clip},{source},perhaps,{segment}", "line 2: silent is 'perhaps'; say yes, no"),
        (f"{clip},{source}", "line 2 has no 'silent'"),
        (f"{clip},{source},yes,other", "other/.* is not in the sample"),
    ):
        table.write_text("\n".join([whole[0], line, *whole[2:]]), encoding="utf-8")
        with pytest.raises(UserError, match=said):
            import_answers(table, copy.location)
    assert rows(copy, "audits") == []


def answering(pages: list[dict[str, str]]) -> None:
    """Have somebody at the UI, for as long as there are pages to answer."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(answer, pages), daemon=True).start()


def answer(pages: list[dict[str, str]]) -> None:
    """Be the person at the UI: resume what is paused, a page after the other."""
    paused = FlowRunFilter.model_validate({"state": {"type": {"any_": [StateType.PAUSED]}}})
    seen = set()
    with get_client(sync_client=True) as client:
        while pages:
            for run in client.read_flow_runs(flow_run_filter=paused, sort=ANY_ORDER, limit=9):
                assert run.state is not None
                if run.state.id not in seen:
                    seen.add(run.state.id)
                    resume_flow_run(run.id, run_input=pages.pop(0))
                    break
            time.sleep(POLL_S)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "POLL_S", 1)


@pytest.mark.usefixtures("quick")
def test_an_audit_in_the_ui_pauses_for_each_page_and_continues(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = AuditParameters(workspace=copy.location, draws=4, strata=1, clips_a_page=3)
    page = {"clip_0": "silent", "clip_1": "heard", "clip_2": "can't tell"}
    written: list[dict[str, Answer]] = []

    def write(
        manifests: Manifests, kept: Partition, answers: dict[str, Answer], clips: list[Clip]
    ) -> int:
        if written:
            raise OSError("the machine is lost")
        written.append(answers)
        return write_answers(manifests, kept, answers, clips)

    with monkeypatch.context() as patch:
        patch.setattr(audit_module, "write_answers", write)
        answering([page, page])
        with pytest.raises(OSError, match="lost"):
            audit(parameters)
    assert sorted(row["answer"] for row in rows(copy, "audits")) == sorted(page.values())
    assert list(Path(copy.root).glob("reports/audit-*/page 1*/*.mp3"))
    plan = audit.fn(parameters.model_copy(update={"dry_run": True})).plan
    assert plan is not None
    assert plan.pending == plan.total - 3 > 0
    manifests = Manifests(copy)
    clips = draw_clips(manifests, parameters)

    def write_after_the_desk(
        manifests: Manifests, kept: Partition, answers: dict[str, Answer], page: list[Clip]
    ) -> int:
        """While the first page is answered, somebody answers all others by keyboard."""
        done = {*manifests.items(kept), *answers}
        others: dict[str, Answer] = {clip.name: "heard" for clip in clips if clip.name not in done}
        write_answers(manifests, kept, others, clips)
        return write_answers(manifests, kept, answers, page)

    assert plan.pending > 3, "there is a second page, which nobody is asked"
    monkeypatch.setattr(audit_module, "write_answers", write_after_the_desk)
    answering([{f"clip_{number}": "silent" for number in range(3)}])
    result = audit(parameters)
    assert result.counts["answers"] == plan.total == len(rows(copy, "audits"))
    assert result.counts["new_answers"] == 3


def test_clips_are_exported_to_this_machine_alone(tmp_path: Path) -> None:
    parameters = AuditParameters(workspace=str(tmp_path))
    with pytest.raises(UserError, match=r"export: 's3://bucket/clips' is no folder"):
        audit_command(parameters=parameters, export="s3://bucket/clips")
