"""A local S3 server for tests, reached as a user would reach a store of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem


@contextmanager
def s3_bucket() -> Iterator[str]:
    """The URL of an empty bucket; the address of its server is in the environment meanwhile."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        host, port = server.get_host_and_port()
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        S3FileSystem.clear_instance_cache()
        bucket = f"music-{uuid.uuid4().hex}"  # the servers of one process share their buckets
        S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}"
        S3FileSystem.clear_instance_cache()
    server.stop()
