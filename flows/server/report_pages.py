"""Reports as pages beside the Prefect UI, from the same server, behind the same login."""

from __future__ import annotations

import secrets
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from flows.catalogue import load
from flows.server.login import authorization
from flows.server.process import BY_EAR, REPORTS_PREFIX

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
DESK = "flows.audit.desk_app.desk_app"
"""The page that asks what is heard; imported when it is asked for, and not by who shows reports."""


def with_reports(app: ASGIApp, folder: Path, login: str) -> ASGIApp:
    """An application that shows a workspace's reports below ``/reports/``, to who may see runs.

    Args:
        app: answers all else.
        folder: that of the reports; it need not be there yet.
        login: ``user:password``, or empty where everybody may look.
    """
    files = behind_login(_files_of(folder), login)
    desk = behind_login(by_ear(str(folder.parent)), login)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{REPORTS_PREFIX}/"):
            await app(scope, receive, send)
        elif scope["path"].startswith(f"{BY_EAR}/"):
            await desk(scope, receive, send)
        else:
            await files(scope, receive, send)

    return served


def behind_login(app: ASGIApp, login: str) -> ASGIApp:
    """An application that answers HTTP to who has the login, and nobody else.

    Args:
        app: what answers.
        login: ``user:password``, or empty where everybody may look.
    """
    expected = authorization(login).get("Authorization", "")

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("authorization", "")
        if secrets.compare_digest(given.encode(), expected.encode()):
            await app(scope, receive, send)
            return
        asks = {"www-authenticate": 'Basic realm="silentmix reports", charset="UTF-8"'}
        refused = Response("log in", status_code=HTTPStatus.UNAUTHORIZED, headers=asks)
        await refused(scope, receive, send)

    return guarded


def by_ear(workspace: str) -> ASGIApp:
    """The page below :data:`~flows.server.process.BY_EAR` that asks about a workspace's segments.

    Args:
        workspace: its location.
    """

    @cache
    def desk() -> ASGIApp:
        made: ASGIApp = load(DESK)(workspace)
        return made

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        below = {**scope, "root_path": scope.get("root_path", "") + BY_EAR}
        await desk()(below, receive, send)

    return served


def _files_of(folder: Path) -> ASGIApp:
    files = StaticFiles(directory=folder, html=True, check_dir=False)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
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
