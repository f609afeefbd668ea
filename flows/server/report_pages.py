"""Reports as pages beside the Prefect UI, from the same server, behind the same login."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from flows.server.login import authorization
from flows.server.process import REPORTS_PREFIX

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # plots, sounds and words: a page does nothing, whatever a file in it is called
    "content-security-policy": "default-src 'none'; img-src 'self'; media-src 'self'; "
    "style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    # a run that is continued writes its report again
    "cache-control": "no-cache",
}


def with_reports(app: ASGIApp, folder: Path, login: str) -> ASGIApp:
    """An application that shows a workspace's reports below ``/reports/``, to who may see runs.

    Args:
        app: answers all else.
        folder: that of the reports; it need not be there yet.
        login: ``user:password``, or empty where everybody may look.
    """
    files = StaticFiles(directory=folder, html=True, check_dir=False)
    expected = authorization(login).get("Authorization", "")

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{REPORTS_PREFIX}/"):
            await app(scope, receive, send)
            return
        given = Headers(scope=scope).get("authorization", "")
        if not secrets.compare_digest(given.encode(), expected.encode()):
            asks = {"www-authenticate": 'Basic realm="silentmix reports", charset="UTF-8"'}
            refused = Response("log in", status_code=HTTPStatus.UNAUTHORIZED, headers=asks)
            await refused(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        below = {**scope, "root_path": scope.get("root_path", "") + REPORTS_PREFIX}
        try:
            if not folder.is_dir():
                raise HTTPException(HTTPStatus.NOT_FOUND, "no report yet")
            await files(below, receive, send_with_headers)
        except HTTPException as error:
            missing = Response(error.detail, status_code=error.status_code)
            await missing(scope, receive, send_with_headers)

    return served
