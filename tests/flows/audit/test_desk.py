"""The page that asks what is heard: whom it answers, what it plays and what it keeps."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from flows.audit.bands import band_of
from flows.audit.desk import AuditDesk
from flows.audit.options import AuditParameters
from flows.audit.sample import audit_of, draw_clips, write_answers
from flows.server.process import BY_EAR
from flows.server.report_pages import with_reports
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.audit.heard_corpus import RATE, SEGMENTS_OF, TONE_HZ, answers, heard_corpus
from tests.flows.server.test_report_pages import LOGIN, prefect

PAGE = f"{BY_EAR}/live"
ORIGIN = "http://testserver"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return heard_corpus(tmp_path / "workspace")


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    """A browser of somebody who has logged in."""
    app = with_reports(prefect, Path(workspace.location, "reports"), ":".join(LOGIN))
    client = TestClient(app)
    client.auth = LOGIN
    return client


def opened(client: TestClient, **question: Any) -> dict[str, Any]:
    """What the page is told, with draws for all there is."""
    told = client.get(f"{PAGE}/sample", params={"draws": 200, "strata": 1, **question})
    assert told.status_code == 200, told.text
    found: dict[str, Any] = told.json()
    return found


def own_headers(told: dict[str, Any]) -> dict[str, str]:
    """What a browser and the page itself send with an answer."""
    return {
        "origin": ORIGIN, "content-type": "application/json", "x-silentmix-token": told["token"]
    }  # fmt: skip


def give(client: TestClient, told: dict[str, Any], number: int, answer: str) -> int:
    path = f"{PAGE}/{told['audit']}/answers"
    body = {"number": number, "answer": answer}
    return client.post(path, json=body, headers=own_headers(told)).status_code


def test_the_page_may_do_little_and_shows_what_is_asked(
    client: TestClient, workspace: Workspace
) -> None:
    page = client.get(f"{PAGE}/")
    assert 'src="desk.js"' in page.text
    assert "/* style */" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; connect-src 'self'" in policy
    assert client.get(f"{PAGE}/desk.js").headers["content-type"].startswith("text/javascript")
    told = opened(client)
    assert len(told["clips"]) == 12
    assert {clip["answer"] for clip in told["clips"]} == {None}
    low, high = told["bands_hz"]["voice"]
    assert 0.97 * TONE_HZ < low < TONE_HZ < high < 1.03 * TONE_HZ
    assert band_of(Manifests(workspace), "flute") is None
    assert client.get("/runs").text == "prefect /runs"


def test_a_segment_is_heard_with_two_seconds_around_it(
    client: TestClient, workspace: Workspace
) -> None:
    told = opened(client)
    manifests = Manifests(workspace)
    clips = draw_clips(manifests, AuditParameters(workspace="", corpus="live", draws=200, strata=1))
    track, _ = soundfile.read(Path(workspace.location, "audio/track.wav"))
    padded = np.pad(track, (2 * RATE, 2 * RATE))
    for number, clip in enumerate(clips):
        content = client.get(f"{PAGE}/{told['audit']}/{number}/sound.wav").content
        heard, rate = soundfile.read(io.BytesIO(content))
        assert rate == RATE
        assert np.array_equal(heard, padded[clip.start_sample : clip.stop_sample + 4 * RATE])
    picture = client.get(f"{PAGE}/{told['audit']}/0/picture.png")
    assert picture.content.startswith(b"\x89PNG")


def test_an_answer_is_kept_at_once_and_may_be_corrected(
    client: TestClient, workspace: Workspace
) -> None:
    told = opened(client)
    for number in range(12):
        assert give(client, told, number, "silent") == 200
        assert len(answers(workspace)) == number + 1
    assert give(client, told, 3, "heard") == 200
    assert give(client, told, 3, "heard") == 200
    assert sorted(answers(workspace).values()) == ["heard", *["silent"] * 11]
    again = opened(client)
    assert [clip["answer"] for clip in again["clips"]].index("heard") == 3
    said = client.get(f"{PAGE}/{told['audit']}/said").json()
    assert {row["source"]: row["precision"] < 1 for row in said}[told["clips"][3]["source"]]


def test_what_others_answer_meanwhile_is_seen(client: TestClient, workspace: Workspace) -> None:
    told = opened(client)
    parameters = AuditParameters(workspace="", corpus="live", draws=200, strata=1)
    manifests = Manifests(workspace)
    clips = draw_clips(manifests, parameters)
    write_answers(manifests, audit_of(manifests, parameters), {clips[0].name: "heard"}, clips)
    assert give(client, told, 0, "silent") == 200
    assert answers(workspace) == {clips[0].name: "silent"}


def test_nobody_else_answers(client: TestClient, workspace: Workspace) -> None:
    told = opened(client)
    path, body = f"{PAGE}/{told['audit']}/answers", '{"number": 0, "answer": "silent"}'
    own = own_headers(told)
    others = [
        {**own, "origin": "https://example.org"},
        {**own, "origin": "null"},
        {name: value for name, value in own.items() if name != "origin"},
        {**own, "content-type": "text/plain"},
        {**own, "x-silentmix-token": "guess"},
        {name: value for name, value in own.items() if name != "x-silentmix-token"},
    ]
    for headers in others:
        assert client.post(path, content=body, headers=headers).status_code == 403
    stranger = TestClient(client.app)
    for address in (f"{PAGE}/", f"{PAGE}/sample", f"{PAGE}/{told['audit']}/0/sound.wav"):
        assert stranger.get(address).status_code == 401
    assert stranger.post(path, content=body, headers=own).status_code == 401
    assert client.options(path, headers={"origin": "https://example.org"}).status_code == 405
    assert answers(workspace) == {}
    assert client.post(path, content=body, headers=own).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"number": 0, "answer": "perhaps"}, 400),
        ({"number": 12, "answer": "silent"}, 404),
        ({"number": -1, "answer": "silent"}, 404),
        ({"number": 0, "answer": "silent", "workspace": "/"}, 400),
        ({"number": 0, "answer": "x" * 20_000}, 413),
    ],
)
def test_an_answer_that_can_be_none(
    client: TestClient, workspace: Workspace, body: dict[str, Any], status: int
) -> None:
    told = opened(client)
    path = f"{PAGE}/{told['audit']}/answers"
    refused = client.post(path, json=body, headers=own_headers(told))
    assert refused.status_code == status
    assert refused.json()["error"]
    assert answers(workspace) == {}


def test_what_can_not_be_asked_is_said(client: TestClient) -> None:
    for address, status, said in (
        (f"{PAGE}/sample?draws=0", 400, "draws must be at least 1, not 0"),
        (f"{BY_EAR}/other/sample", 400, "no segments of corpus 'other'"),
        (f"{PAGE}/gone/0/sound.wav", 404, "load the page again"),
        (f"{PAGE}/..%2f..%2fworkspace.json/0/sound.wav", 404, ""),
    ):
        refused = client.get(address)
        assert refused.status_code == status
        assert said in refused.text


def test_few_samples_are_remembered(workspace: Workspace) -> None:
    desk = AuditDesk(workspace)
    names = [
        desk.open(AuditParameters(workspace="", corpus="live", draws=draws))["audit"]
        for draws in range(1, 7)
    ]
    assert len(set(names)) == 6
    assert desk.sound(names[-1], 0)
    with pytest.raises(ValueError, match="load the page again"):
        desk.sound(names[0], 0)
    assert desk.open(
        AuditParameters(workspace="", corpus="live", draws=6, segments=SEGMENTS_OF.fingerprint)
    )["audit"] == names[-1], "the same segments, named or not"  # fmt: skip
