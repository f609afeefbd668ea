"""The page on which an audit is answered, from a server: what it shows, and what it takes.

Who is asked is for who serves it to see to (:func:`flows.server.report_pages.behind_login`). An
answer changes something, so it is taken from this page alone: it comes from its own origin, as
JSON, with a token that only this page can read.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows.audit.desk import AuditDesk, UnknownClipError
from flows.audit.options import QUESTION, AuditParameters
from flows.audit.sample import Answer
from flows.reports.style import STYLE
from flows.running.wrong_values import describe
from storage.errors import UserError
from storage.workspace import Workspace

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "x-silentmix-token"  # noqa: S105  the name of a header
MAX_ANSWER_BYTES = 10_000
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class GivenAnswer(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid")

    number: int
    answer: Answer


def desk_app(workspace: str) -> Starlette:
    """An application that asks about the segments of a workspace.

    Args:
        workspace: its location.
    """
    desk = AuditDesk(Workspace(workspace))
    token = secrets.token_urlsafe()

    async def show(_: Request) -> Response:
        page = _file("desk.html").replace("/* style */", STYLE)
        return Response(page, media_type="text/html")

    async def script(_: Request) -> Response:
        return Response(_file("desk.js"), media_type="text/javascript")

    async def sample(request: Request) -> Response:
        told = {
            name: request.query_params[name] for name in QUESTION if name in request.query_params
        }
        told |= {"workspace": workspace, "corpus": request.path_params["corpus"]}
        parameters = AuditParameters.model_validate(told)
        opened = await run_in_threadpool(desk.open, parameters)
        return JSONResponse({**opened, "token": token})

    async def sound(request: Request) -> Response:
        return Response(
            await run_in_threadpool(desk.sound, *_clip(request)), media_type="audio/wav"
        )

    async def picture(request: Request) -> Response:
        png = await run_in_threadpool(desk.picture, *_clip(request))
        return Response(png, media_type="image/png")

    async def said(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(desk.said, request.path_params["audit"]))

    async def answer(request: Request) -> Response:
        if not _is_own(request, token):
            return _refusal(HTTPStatus.FORBIDDEN, "answers come from the page itself")
        content = b""
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long for an answer")
        given = GivenAnswer.model_validate_json(content)
        audit = request.path_params["audit"]
        await run_in_threadpool(desk.answer, audit, given.number, given.answer)
        return JSONResponse({"kept": given.answer})

    clip = "{corpus}/{audit}/{number:int}"
    return Starlette(
        routes=[
            Route("/{corpus}/", show),
            Route("/{corpus}/desk.js", script),
            Route("/{corpus}/sample", sample),
            Route(f"/{clip}/sound.wav", sound),
            Route(f"/{clip}/picture.png", picture),
            Route("/{corpus}/{audit}/said", said),
            Route("/{corpus}/{audit}/answers", answer, methods=["POST"]),
        ],
        middleware=[Middleware(_WithHeaders)],
        exception_handlers={
            ValidationError: _wrong_value, UnknownClipError: _unknown, UserError: _user_error
        },
    )  # fmt: skip


class _WithHeaders:
    """Puts :data:`HEADERS` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (name.encode(), value.encode()) for name, value in HEADERS.items()
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _file(name: str) -> str:
    return resources.files("flows.audit").joinpath(name).read_text(encoding="utf-8")


def _clip(request: Request) -> tuple[str, int]:
    return request.path_params["audit"], request.path_params["number"]


def _is_own(request: Request, token: str) -> bool:
    """Whether a request is from a page of this very server that was shown the token.

    Browsers say the origin with every POST, and let no page of another one say JSON or a header of
    its own without asking here first.
    """
    headers = request.headers
    own = f"{request.url.scheme}://{headers.get('host', '')}"
    given = headers.get(TOKEN, "")
    return (
        headers.get("origin") == own
        and headers.get("content-type", "").partition(";")[0] == "application/json"
        and secrets.compare_digest(given.encode(), token.encode())
    )


def _refusal(status: HTTPStatus, said: str) -> Response:
    return JSONResponse({"error": said}, status_code=status)


async def _wrong_value(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    return _refusal(HTTPStatus.BAD_REQUEST, describe(error))


async def _unknown(_: Request, error: Exception) -> Response:
    return _refusal(HTTPStatus.NOT_FOUND, str(error))


async def _user_error(_: Request, error: Exception) -> Response:
    return _refusal(HTTPStatus.BAD_REQUEST, str(error))
