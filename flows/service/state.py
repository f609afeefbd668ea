"""What ``silentmix up`` started, noted in ``service.json`` beside the server's database."""

from __future__ import annotations

import fcntl
import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from flows.server.hosts import LOCALHOST
from flows.server.login import PRIVATE_FILE
from flows.service.processes import OwnProcess
from storage.errors import UserError

STATE_FILE = "service.json"
LOCK_FILE = "service.lock"
SERVER = "server"
PACKAGES = ("silentmix", "prefect")


def installed_versions() -> dict[str, str]:
    """The versions that a server and its workers should have."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


class ServiceState(BaseModel):
    """What was started, and by which versions.

    Attributes:
        address: of the server, whoever started it.
        host: that the server listens on, if it was started here.
        versions: of what was installed when it was started.
        processes: the server, if it was started here, and the workers, by name.
    """

    address: str = ""
    host: str = LOCALHOST
    versions: dict[str, str] = {}
    processes: dict[str, OwnProcess] = {}

    @classmethod
    def read(cls, home: Path) -> ServiceState:
        """What the folder of the server's database notes; empty if nothing is noted.

        Raises:
            UserError: the note can't be understood.
        """
        path = home / STATE_FILE
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (ValidationError, OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: can't be read, so what was started can't be told; stop the server and "
                "the workers by hand, and remove the file"
            ) from error

    def write(self, home: Path) -> None:
        """Note it, whole or not at all."""
        temporary = home / f".{STATE_FILE}.tmp"
        temporary.touch(PRIVATE_FILE)
        temporary.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        temporary.replace(home / STATE_FILE)

    def running(self) -> dict[str, OwnProcess]:
        """The processes that have not ended."""
        return {name: own for name, own in self.processes.items() if own.find() is not None}


def service_home(workspace: str, environ: Mapping[str, str]) -> Path:
    """The folder for what runs on behalf of a workspace: its ``.prefect``, unless it is a URL."""
    if chosen := environ.get("PREFECT_HOME"):
        return Path(chosen).expanduser()
    if "://" in workspace:
        return Path.home() / ".prefect"
    return Path(workspace).expanduser().resolve() / ".prefect"


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Keep other commands from starting and stopping at the same time."""
    path = home / LOCK_FILE
    path.touch(PRIVATE_FILE)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def standing_server(home: Path) -> str:
    """The address of the server that was started here and still runs, or empty."""
    state = ServiceState.read(home)
    return state.address if SERVER in state.running() else ""
