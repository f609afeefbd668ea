"""The names that a server of our own answers to."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient, WebSocketDenialResponse

from flows.server.hosts import EVERYWHERE, LOCALHOST, answering_to


@pytest.mark.parametrize(
    ("host", "named", "answers"),
    [
        (LOCALHOST, "127.0.0.1:4200", True),
        (LOCALHOST, "LOCALHOST", True),
        (LOCALHOST, "studio.lan:4200", False),
        (LOCALHOST, "127.0.0.1.evil.example", False),
        (LOCALHOST, "", False),
        ("Studio.lan", "studio.LAN:4200", True),
        ("Studio.lan", "127.0.0.1:4200", True),
        ("Studio.lan", "evil.example:4200", False),
        (EVERYWHERE, "whatever.example:4200", True),
    ],
)
def test_a_server_answers_to_its_own_names(host: str, named: str, answers: bool) -> None:
    client = TestClient(answering_to(PlainTextResponse("well"), host))
    answer = client.get("/", headers={"Host": named})
    assert (answer.status_code, answer.text == "well") == ((200, True) if answers else (400, False))
    assert answers or "`silentmix up --host`" in answer.text


def test_a_websocket_names_a_host_too() -> None:
    client = TestClient(answering_to(PlainTextResponse("well")))
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/", headers={"Host": "evil.example"}),
    ):
        pass
    assert refused.value.status_code == 400
