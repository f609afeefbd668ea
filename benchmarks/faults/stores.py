"""A bucket that fails: a local S3 server behind a proxy that answers as broken networks do."""

from __future__ import annotations

import http.client
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from benchmarks.faults.case import Case, snapshot
from benchmarks.faults.child import forked
from benchmarks.faults.server import free_port

BUCKET = "chaos"
STALL_S = 4.0
_DROPPED = frozenset(("connection", "transfer-encoding", "keep-alive", "content-length"))


class Bucket:
    """An S3 server of our own, and the proxy before it."""

    def __init__(self) -> None:
        self._port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = f"http://127.0.0.1:{self._port}"
        while True:
            with suppress(OSError), urllib.request.urlopen(address, timeout=5):
                break
            time.sleep(0.1)
        _Proxy.port = self._port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
        self._server.daemon_threads = True
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @contextmanager
    def standing(self) -> Iterator[None]:
        """The proxy answers meanwhile; its thread is gone before anything is forked again."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()

    def close(self) -> None:
        """End the server."""
        self._server.server_close()
        self._process.kill()
        self._process.wait()

    def lay_out(self, case: Case) -> str:
        """Put the workspace there as it was before the stage; returns where."""
        folder = snapshot(case.root, case.stage)
        forked(lambda: _upload(folder))
        return f"s3://{BUCKET}/work"


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on, but for some."""

    protocol_version = "HTTP/1.1"
    port: ClassVar[int] = 0
    kind: ClassVar[str] = ""
    draws: ClassVar[random.Random] = random.Random(0)
    share: ClassVar[float] = 0.0
    count: ClassVar[int] = 0

    def _pass_on(self) -> None:
        is_struck = bool(self.kind) and self.draws.random() < self.share
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else _unchunked(self)
        if is_struck:
            type(self).count += 1
            if self.kind == "refused":
                self.close_connection = True
                self.connection.close()
                return
            if self.kind == "stalled":
                time.sleep(STALL_S)
                self.close_connection = True
                return
            if self.kind == "failed":
                self._answer(
                    self.draws.choice((500, 503)), [], b"<Error><Code>SlowDown</Code></Error>"
                )
                return
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in _DROPPED
        }
        headers["Content-Length"] = str(len(body))
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        kept = [
            (name, value) for name, value in answer.getheaders() if name.lower() not in _DROPPED
        ]
        if self.command == "HEAD":
            kept.append(("Content-Length", answer.getheader("Content-Length") or "0"))
        upstream.close()
        self._answer(answer.status, kept, content, is_cut=is_struck and self.kind == "cut")

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, *, is_cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815  as http.server calls them

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        """A client that goes away is none of our business."""
        with suppress(OSError):
            super().handle_one_request()


def _unchunked(request: BaseHTTPRequestHandler) -> bytes:
    """The body of a request that comes in chunks."""
    if "chunked" not in (request.headers.get("Transfer-Encoding") or ""):
        return b""
    body = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _upload(folder: Path) -> None:
    from s3fs import S3FileSystem

    endpoint = {"endpoint_url": f"http://127.0.0.1:{_Proxy.port}"}
    fs = S3FileSystem(client_kwargs=endpoint, skip_instance_cache=True)
    if fs.exists(BUCKET):
        fs.rm(BUCKET, recursive=True)
    fs.mkdir(BUCKET)
    fs.put(str(folder) + "/", f"{BUCKET}/work", recursive=True)


def struck(case: Case, kind: str) -> None:
    """Run the stage while a share of all requests goes wrong in one way."""
    _Proxy.draws, _Proxy.kind, _Proxy.count = case.draws, kind, 0
    # each that stalls costs its time
    _Proxy.share = case.draws.choice((0.01, 0.03) if kind == "stalled" else (0.02, 0.1, 0.3))
    case.run()
    case.said.append(f"{_Proxy.count} requests {kind}, of each {_Proxy.share:g}")
    _Proxy.kind = ""
