"""A run that fails, crashes or leaves photos in quarantine is told: by mail and by webhook, from a real
server, of runs of a real worker."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiosmtpd.controller import Controller
from command import chromaflow
from prefect_server import free_port, post, prefect_server, prefect_worker, server_errors

PATIENCE = 240.0


@contextmanager
def mailbox() -> Iterator[tuple[str, list[str]]]:
    """An SMTP server on loopback: its address for Apprise, and the mails that came."""
    mails: list[str] = []

    class Sink:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            from email import message_from_bytes, policy

            mail = message_from_bytes(envelope.content, policy=policy.default)
            body = mail.get_body(("plain", "html"))
            mails.append(f"{mail['subject']}\n{body.get_content() if body else ''}")
            return "250 OK"

    controller = Controller(Sink(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        to = "?from=chromaflow@example.org&to=archivist@example.org"
        yield f"mailto://127.0.0.1:{controller.port}/{to}", mails
    finally:
        controller.stop()


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web server on loopback: its address, and what was posted to it."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
    finally:
        server.shutdown()
        server.server_close()


def wait_until(is_so: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, os.getloadavg()
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mail_and_webhook_tell_of_quarantine_failure_and_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_photo: Any
) -> None:
    make_photo(tmp_path / "in/a.png", seed=1, gray=True)
    (tmp_path / "in/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for number in range(40):
        make_photo(tmp_path / f"many/{number}.png", seed=number, gray=True)
    with prefect_server(tmp_path) as address, mailbox() as mail, webhook() as hook:
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
        told = ("--notify", mail[0], "--notify", hook[0])
        code, _, err = chromaflow(
            "deploy", "colorize-archive", "--notify", "gopher://x", cwd=tmp_path
        )
        assert code == 2 and "--notify" in err and "gopher" in err, err
        code, out, err = chromaflow("deploy", "colorize-archive", *told, "--json", cwd=tmp_path)
        assert code == 0, err
        actions = {row["what"]: row["action"] for row in json.loads(out)["changes"]}
        assert actions["notices"] == "created"
        code, out, err = chromaflow("deploy", "colorize-archive", *told, cwd=tmp_path)
        assert "left     notices" in out + err

        name = "deployments/name/colorize/colorize-archive"
        with prefect_worker(tmp_path):
            deployment = post(address, name, None, "GET")["id"]

            def begin(archive: str, output: str) -> str:
                parameters = {"archive": str(tmp_path / archive), "output": str(tmp_path / output)}
                body = {"parameters": parameters}
                run = post(address, f"deployments/{deployment}/create_flow_run", body)
                return str(run["id"])

            begin("in", "out")
            wait_until(lambda: len(mail[1]) == 1 and len(hook[1]) == 1)
            assert "1 photo in quarantine (colorize-archive)" in mail[1][0]
            assert "TRUNCATED 1" in mail[1][0] and "report" in mail[1][0]
            assert "1 photo in quarantine" in hook[1][0]["title"]
            assert "TRUNCATED 1" in hook[1][0]["message"]

            begin("nowhere", "out2")
            wait_until(lambda: len(mail[1]) == 2 and len(hook[1]) == 2)
            assert "run failed (colorize-archive)" in mail[1][1] and "nowhere" in mail[1][1]

            begin("many", "out3")
            wait_until(lambda: list(tmp_path.glob("out3/*.png")))
            for process in psutil.Process().children(recursive=True):
                if "flows.cli.deployed" in " ".join(process.cmdline()):
                    process.kill()
            wait_until(lambda: len(mail[1]) == 3 and len(hook[1]) == 3)
            assert "run crashed (colorize-archive)" in mail[1][2]

            code, out, err = chromaflow("deploy", "colorize-archive", "--notify", "", cwd=tmp_path)
            assert code == 0 and "deleted" in out + err, err
            begin("nowhere", "out2")
            wait_until(
                lambda: (
                    len(post(address, "flow_runs/filter", {}))
                    == sum(
                        run["end_time"] is not None for run in post(address, "flow_runs/filter", {})
                    )
                )
            )
        assert (len(mail[1]), len(hook[1])) == (3, 3)
        assert server_errors(tmp_path) == []
