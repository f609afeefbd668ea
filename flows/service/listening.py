"""Who listens on a port of this machine, and where a server of ours may."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from http import HTTPStatus
from urllib.parse import urlsplit

from flows.server.hosts import LOCALHOST, address_of
from flows.server.process import healthy
from storage.errors import UserError

HOST = re.compile(r"[A-Za-z0-9_.-]+")


def who_listens(port: int, host: str = LOCALHOST) -> str:
    """Who listens on a port of this machine; empty if nobody does.

    Args:
        port: where to look.
        host: address or name that a server of ours would listen on.
    """
    address = address_of(port, host)
    with socket.socket() as probe:
        if probe.connect_ex((str(urlsplit(address).hostname), port)) != 0:
            return ""
    try:
        url = f"{address}/api/admin/version"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  of this machine
            return f"a Prefect server of version {json.load(answer)}"
    except urllib.error.HTTPError as error:
        unauthorized = error.code == HTTPStatus.UNAUTHORIZED and healthy(address)
        return "a Prefect server with a login" if unauthorized else "another program"
    except (urllib.error.URLError, OSError, ValueError):
        return "another program"


def require_own_host(host: str) -> None:
    """Refuse to listen on what is not of this machine.

    Raises:
        UserError: says what may be named.
    """
    if not HOST.fullmatch(host):
        raise UserError(
            f"--host {host}: wants an IPv4 address or a name, without a scheme or a port: "
            "127.0.0.1 is for this machine alone, 0.0.0.0 lets others in"
        )
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError as error:
        raise UserError(
            f"--host {host}: is no address or name of this machine ({error.strerror}); 0.0.0.0 "
            "listens on all that it has"
        ) from error
