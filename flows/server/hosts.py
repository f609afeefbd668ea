"""Where a server of our own listens, what it is called by, and which names it answers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOCALHOST = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104  nobody listens there unless somebody says so
LOCAL_NAMES = (LOCALHOST, "localhost")


def address_of(port: int, host: str = LOCALHOST) -> str:
    """How this machine calls a server that listens on a port.

    >>> address_of(4200, "0.0.0.0"), address_of(4200, "studio.lan")
    ('http://127.0.0.1:4200', 'http://studio.lan:4200')

    Args:
        port: of the server.
        host: address or name of this machine that it listens on, or :data:`EVERYWHERE`.
    """
    return f"http://{LOCALHOST if host == EVERYWHERE else host}:{port}"


def answering_to(app: ASGIApp, host: str = LOCALHOST) -> ASGIApp:
    """An application for requests that name this machine, or the host that it listens on.

    A page whose own name is made to point at this machine, as DNS can, names another. Where it
    listens :data:`EVERYWHERE`, nobody knows what others call it, and any name is taken.
    """
    from starlette.datastructures import Headers
    from starlette.responses import PlainTextResponse

    if host == EVERYWHERE:
        return app
    names = {*LOCAL_NAMES, host.lower()}

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            named = Headers(scope=scope).get("host", "").partition(":")[0].lower()
            if named not in names:
                refused = PlainTextResponse(
                    f"This server answers to {', '.join(sorted(names))} alone. `silentmix down`, "
                    "then `silentmix up --host` with an address or name of its machine has it "
                    "answer to that too.\n",
                    status_code=400,
                )
                await refused(scope, receive, send)
                return
        await app(scope, receive, send)

    return served
