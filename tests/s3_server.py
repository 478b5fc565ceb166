"""A real S3 endpoint on loopback, moto's server in a process of its own, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect_server import free_port
from s3fs import S3FileSystem

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@contextmanager
def s3_server(folder: Path, bucket: str) -> Iterator[str]:
    """`moto_server` with its log in `folder` and one bucket. Gives the address of the endpoint."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (
                    folder / "s3.log"
                ).read_text()
                time.sleep(0.2)
        key, secret = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        S3FileSystem(key=key, secret=secret, endpoint_url=address).mkdir(bucket)
        yield address
    finally:
        S3FileSystem.clear_instance_cache()  # they know this endpoint
        process.terminate()
        process.wait(timeout=30)
