"""Pages of Prefect's interfaces that tell nobody else that they are open.

The new interface asks the makers of its analytics for their settings on every page, also where the
server says that nothing is to be analysed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "connect-src 'self'"


def asking_nobody_else(app: ASGIApp) -> ASGIApp:
    """An application whose pages can ask the server alone that they are from."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = POLICY
            await send(message)

        await app(scope, receive, send_with_policy)

    return served
