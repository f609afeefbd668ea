"""A local S3 server for tests, reached as a user would reach a store of their own."""

from __future__ import annotations

import logging
import random
import socket
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

STALL_S = 1.5
SLOW_DOWN = b"<Error><Code>SlowDown</Code></Error>"
READ_TIMEOUT_S = 0.5
"""Of the client where requests stall; it waits 15 s by default."""


@dataclass
class Store:
    """A bucket, what it is asked for, and how it fails.

    Attributes:
        url: of the bucket.
        requests: how often each was made, as ``GET name`` by the object's name in the bucket; a
            listing is ``LIST prefix``.
        fault: what becomes of some requests: ``503``, ``closed`` without an answer, a ``stall``
            before that, or ``cut``: half an answer. Empty where all is well.
        share: of the requests that are struck.
        struck: how many were.
    """

    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    fault: str = ""
    share: float = 0.0
    struck: int = 0
    _draws: random.Random = field(default_factory=lambda: random.Random(0))

    def count(self) -> int:
        """How many requests there were."""
        return self.requests.total()

    def asked_for(self, part_of_name: str) -> int:
        """How often objects were read or looked up."""
        asked = (name for name in self.requests.elements() if name.startswith(("GET ", "HEAD ")))
        return sum(part_of_name in name for name in asked)

    @contextmanager
    def failing(self, fault: str, share: float = 1.0) -> Iterator[None]:
        """Meanwhile a share of the requests is struck."""
        self.fault, self.share, self.struck = fault, share, 0
        with pytest.MonkeyPatch.context() as patch:
            if fault == "stall":
                patch.setattr(S3FileSystem, "read_timeout", READ_TIMEOUT_S)
            S3FileSystem.clear_instance_cache()
            try:
                yield
            finally:
                self.fault = ""
                S3FileSystem.clear_instance_cache()

    def before(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """A WSGI application that counts, and fails some of what another one answers."""

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            self._note(environ)
            if not (self.fault and self._draws.random() < self.share):
                return app(environ, start)
            self.struck += 1
            if self.fault == "503":
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("503 Slow Down", [("Content-Length", str(len(SLOW_DOWN)))])
                return [SLOW_DOWN]
            if self.fault == "cut":
                whole = b"".join(app(environ, start))
                return [whole[: len(whole) // 2]]  # less than the header says
            if self.fault == "stall":
                time.sleep(STALL_S)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError

        return answer

    def _note(self, environ: dict[str, Any]) -> None:
        method, name = environ["REQUEST_METHOD"], environ["PATH_INFO"].partition("/")[2]
        name = name.partition("/")[2]
        asked = parse_qs(environ["QUERY_STRING"])
        if "list-type" in asked:
            method, [name] = "LIST", asked.get("prefix", [""])
        self.requests[f"{method} {name}"] += 1


@contextmanager
def s3_store() -> Iterator[Store]:
    """An empty bucket; the address of its server is in the environment meanwhile."""
    store = Store()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory() as copies:
        host, port = server.get_host_and_port()
        assert server._server is not None
        server._server.app = store.before(server._server.app)
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("XDG_CACHE_HOME", copies)
        S3FileSystem.clear_instance_cache()
        bucket = f"music-{uuid.uuid4().hex}"  # the servers of one process share their buckets
        S3FileSystem().mkdir(bucket)
        store.url = f"s3://{bucket}"
        yield store
        S3FileSystem.clear_instance_cache()
    server.stop()


@contextmanager
def s3_bucket() -> Iterator[str]:
    """The URL of an empty bucket."""
    with s3_store() as store:
        yield store.url
