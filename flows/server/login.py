"""The login of a server of our own: a secret in the folder of its database, for you alone to read.

Whoever commands a Prefect server runs programs as its worker, and any page that is open in a
browser of the same machine can reach a port of it. So the server answers nobody without the login;
the commands, workers and runs of the workspace read it here.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from collections.abc import MutableMapping
from pathlib import Path

from storage.errors import UserError

FILE = "login"
USER = "silentmix"
SECRET_BYTES = 24
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600

FOR_SERVER, FOR_CLIENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"


def login_of(home: Path) -> str:
    """The login ``user:password`` of the server in a folder; made where there is none.

    Raises:
        UserError: the file can't be read or written, or is empty.
    """
    path = home / FILE
    try:
        _make_private(home)
        if not path.exists():
            _make(path)
        login = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(
            f"{path}: can't be read or written ({error.strerror}), and holds the login of the "
            "Prefect server; mend its rights"
        ) from error
    if ":" not in login:
        raise UserError(f"{path}: holds no login user:password; remove it, and it is made anew")
    return login


def _make_private(home: Path) -> None:
    """Close the folder to others, and what an earlier version left in it for all to read."""
    if stat.S_IMODE(home.stat().st_mode) == PRIVATE_FOLDER:
        return
    home.chmod(PRIVATE_FOLDER)
    for path in home.rglob("*"):
        if not path.is_symlink():
            path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)


def _make(path: Path) -> None:
    """Write a new login; of two commands that do so at once, the first one's stays."""
    login = f"{USER}:{secrets.token_urlsafe(SECRET_BYTES)}\n"
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(login)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return
    finally:
        temporary.unlink()


def put_login(home: Path, environ: MutableMapping[str, str]) -> None:
    """Have what is started with ``environ`` ask for the login, and give it.

    Raises:
        UserError: as :func:`login_of`.
    """
    environ[FOR_SERVER] = environ[FOR_CLIENT] = login_of(home)


def authorization(login: str) -> dict[str, str]:
    """The header that gives a login to the server, or none for none.

    >>> authorization("me:secret")
    {'Authorization': 'Basic bWU6c2VjcmV0'}
    """
    if not login:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
