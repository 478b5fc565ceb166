"""A real Prefect server on a free loopback port, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil


def free_port() -> int:
    """A TCP port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """`prefect server start` with its state and log in `folder`. Gives its address."""
    port = free_port()
    environment = os.environ | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 240  # a busy machine starts one in a minute
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=10).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (
                    folder / "server.log"
                ).read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def server_saying(body: str, kind: str = "application/json") -> Iterator[str]:
    """A server that answers everything with this body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *words: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        server.server_close()


def server_process(address: str) -> psutil.Process:
    """The process of ours that listens at an address."""
    port = int(address.rsplit(":", 1)[1])
    for process in psutil.Process().children(recursive=True):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                return process
    raise AssertionError(f"nothing listens at {address}")


_OF_A_LOCK = ("database is locked", "WorkerChannel", "worker_channel", "ClientDisconnected")
"""What a server says where its SQLite is locked, and of the Prefect worker that it then turns away."""


def server_errors(folder: Path) -> list[str]:
    """The ERROR lines of a server's log, with what was raised.

    SQLite's "database is locked" is left out, with what follows from it: a server says it on a machine
    that has too little time for it, and Prefect tries again. How often is printed.
    """
    log = (folder / "server.log").read_text()
    parts = re.split(r"^(?=\d\d:\d\d:\d\d\.\d{3} \|)", log, flags=re.M)
    errors = [part for part in parts if re.match(r"\S+ \| (ERROR|CRITICAL)", part)]
    if "database is locked" not in log:
        return errors
    left = [part for part in errors if not any(words in part for words in _OF_A_LOCK)]
    print(f"{len(errors) - len(left)} errors of a database that was locked, load {os.getloadavg()}")
    return left


_BUSY = 503
"""What Prefect's server answers while its SQLite is written to; its own client asks again too."""


def post(address: str, path: str, body: Any, method: str = "POST") -> Any:
    """What a server's API answers."""
    request = urllib.request.Request(
        f"{address}/api/{path}",
        data=None if method == "GET" else json.dumps(body or {}).encode(),
        headers={"Content-Type": "application/json"},
        method=method,
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                content = response.read()
            return json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            if error.code != _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(1)


@contextmanager
def prefect_worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect worker start` as the guide says it, in this folder; its words go to worker.log."""
    words = [Path(sys.executable).with_name("prefect"), "worker", "start", "--pool", "chromaflow"]
    with (folder / "worker.log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for member in psutil.wait_procs(family, timeout=5)[1]:
            member.kill()
