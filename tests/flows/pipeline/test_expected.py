"""How long a chain will take, from what ran before or from what is known of such work."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from flows.cli.stage_table import print_expected
from flows.pipeline import expected as module
from flows.pipeline.amount import SONG_S, amount_of
from flows.pipeline.expected import EARLIER, RATE, START_S, TRIED, Expected, expect
from flows.pipeline.options import PipelineParameters
from flows.policy.calibration import require_evidence
from flows.policy.options import PolicyOptions
from flows.policy.typed_options import of_chain
from flows.running.chain import Chain
from flows.train.flow import in_chain
from flows.train.trial import step_seconds
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import RUNS, STEPS
from storage.workspace import Workspace
from tests.flows.conftest import SOURCES

STEP_S = 2.0


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """Eight songs that nobody has listened to, and five minutes of music in ten files."""
    songs = [*(f"valid/V{number}" for number in range(6)), "train/A", "test/T"]
    for path in [f"labelled/{song}/{source}.wav" for song in songs for source in SOURCES]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "music").mkdir()
    for number in range(10):
        soundfile.write(tmp_path / f"music/{number}.flac", np.zeros(30 * 8_000), 8_000)
    (tmp_path / "music/0.flac").write_bytes(b"broken")
    fields = {
        "workspace": str(tmp_path / "workspace"),
        "labelled": str(tmp_path / "labelled"),
        "unlabelled": str(tmp_path / "music"),
        "train": {"channels": 4, "depth": 2, "steps": 1000, "batch_size": 2, "crop_s": 1.0},
        "fit_detector": {"steps": 100},
    }
    return Chain(PipelineParameters.model_validate(fields))


def ran(chain: Chain, stage: str, number: int, told: dict[str, Any], **fields: Any) -> None:
    """Record that a stage ran."""
    manifests = Manifests(Workspace(chain.parameters.workspace, create=True))
    row = {
        "run_id": f"{stage}-{number}", "stage": stage, "flow_run_id": "", "outcome": "completed",
        "parameters": json.dumps(told), "versions": "{}", "git_revision": "", "message": "",
        "started_at": datetime(2026, 1, number, tzinfo=UTC), "duration_s": 100.0,
        "counts": json.dumps({"pending": 50}), **fields,
    }  # fmt: skip
    manifests.write(Partition(RUNS.name, "music", stage), [row["run_id"]], [row])


def by_stage(chain: Chain) -> dict[str, Expected]:
    return {row.stage: row for row in expect(chain)}


def test_the_first_hour(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ran here yet, so that one step is tried, and the rest has rates."""
    monkeypatch.setattr(module, "step_seconds", lambda *_: STEP_S)
    amount = amount_of(chain)
    assert (amount.num_songs, amount.num_test, amount.num_tracks) == (8, 1, 10)
    assert amount.songs_s == 8 * SONG_S
    assert amount.tracks_s == pytest.approx(300), "as long as those that can be opened"
    rows = by_stage(chain)
    assert tuple(rows) == chain.parameters.stages
    assert rows["ingest"].work == "8 songs, 10 tracks"
    assert rows["score"].seconds == pytest.approx(START_S + 300 / 213)
    assert rows["train"].seconds == 2 * 1000 * STEP_S, "without remixes too, to compare"
    assert {name: row.known_from for name, row in rows.items()} == {
        "ingest": RATE, "fit-detector": RATE, "score": RATE, "extract": RATE, "remix": RATE,
        "train": TRIED, "evaluate": TRIED,
    }  # fmt: skip
    assert not Path(chain.parameters.workspace).exists()
    monkeypatch.setattr(module, "step_seconds", lambda *_: None)
    unknown = by_stage(chain)["train"]
    assert (unknown.seconds, unknown.known_from) == (None, "")
    monkeypatch.setattr(module, "SECONDS_A_SECOND", {})  # as of a stage that somebody added
    assert by_stage(chain)["score"].seconds is None


def test_what_ran_before_tells_it_best(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "step_seconds", lambda *_: pytest.fail("a training was seen"))
    told = in_chain(chain)[-1].model_dump(mode="json")
    ran(chain, "score", 1, {}, duration_s=999.0)
    ran(chain, "score", 2, {})
    ran(chain, "score", 3, {}, outcome="failed", duration_s=1.0)
    ran(chain, "score", 4, {}, counts=json.dumps({"pending": 0}), duration_s=1.0)
    ran(chain, "ingest", 1, {"labelled": True}, duration_s=1.0)
    ran(chain, "fit-detector", 1, {**chain.options("fit-detector"), "steps": 10})
    ran(chain, "train", 1, {**told, "steps": 3})
    manifests = Manifests(Workspace(chain.parameters.workspace))
    empty = dict.fromkeys((name for name, *_ in STEPS.fields), 0)
    steps = [
        {**empty, "step": step, "step_s": took, "validation_sdr_db": []}
        for step, took in enumerate((9.0, 0.5, 0.5), 1)
    ]
    manifests.write(Partition(STEPS.name, "music", "train"), ["1-3"], steps)
    rows = by_stage(chain)
    assert rows["score"].seconds == pytest.approx(100 / 50 * 10), "of the last that did something"
    assert rows["fit-detector"].seconds == pytest.approx(100 / 10 * 100)
    assert rows["train"].seconds == pytest.approx(2 * 1000 * 0.5), "the first step is no measure"
    assert rows["ingest"].known_from == RATE, "songs with their stems are other work"
    assert {rows[stage].known_from for stage in ("score", "fit-detector", "train")} == {EARLIER}
    monkeypatch.setattr(module, "step_seconds", lambda *_: STEP_S)
    fields = chain.parameters.model_dump()
    fields["train"]["depth"] = 3
    other = Chain(PipelineParameters.model_validate(fields))
    assert by_stage(other)["train"].known_from == TRIED


def test_a_step_is_tried(chain: Chain) -> None:
    options = in_chain(chain)[-1]
    took = step_seconds(options, MusicFormat())
    assert took is not None
    assert took > 0
    assert step_seconds(options.model_copy(update={"architecture": "a:B"}), MusicFormat()) is None


def test_it_is_printed_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Expected(stage="score", work="10 tracks", seconds=7500.0, known_from=RATE),
        Expected(stage="train", work="9 steps", seconds=None, known_from=""),
    ]
    print_expected(rows, Console(width=120))
    said = capsys.readouterr().out
    assert "about 2 h 5 min" in said
    assert RATE in said
    assert "nobody knows" in said


@pytest.mark.parametrize("num_songs", [2, 3, 5, 10])
def test_a_refusal_names_what_so_few_songs_can_meet(num_songs: int) -> None:
    with pytest.raises(UserError) as refused:
        require_evidence(num_songs, "labelled", PolicyOptions())
    less = str(refused.value).partition("ask for less with ")[2]
    found = re.findall(r"--(target-precision|min-songs) ([\d.]+\d|\d)", less)
    named = {name.replace("-", "_"): value for name, value in found}
    require_evidence(num_songs, "labelled", PolicyOptions.model_validate(named))
    assert float(named["target_precision"]) >= 0.8
    higher = {**named, "target_precision": float(named["target_precision"]) + 0.01}
    with pytest.raises(UserError):
        require_evidence(num_songs, "labelled", PolicyOptions.model_validate(higher))


def test_one_song_is_no_evidence() -> None:
    with pytest.raises(UserError, match=r"--valid-share\), or set --allow-insufficient-evidence"):
        require_evidence(1, "labelled", PolicyOptions())


def test_where_no_song_is_held_out_the_ways_out_are_those_that_work() -> None:
    loose = PolicyOptions(allow_insufficient_evidence=True)
    with pytest.raises(UserError) as refused, of_chain():
        require_evidence(0, "labelled", loose)
    assert str(refused.value) == (
        "corpus 'labelled': 0 songs are held out to calibrate on, and any threshold takes at "
        "least 1: add 1 to valid/ and ingest again (a set without valid/ holds out "
        "more with a larger --ingest.valid-share, or with more songs), or train on labelled songs "
        "alone, which takes no detector: run --until ingest, then train --weak-share 0"
    )
    with pytest.raises(UserError, match=r"and --extract.target-precision 0\.95 takes"), of_chain():
        require_evidence(0, "labelled", PolicyOptions())
