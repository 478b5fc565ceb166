"""What a disk or a service refuses while photos are read: it may pass, and is called so."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import fsspec
import pytest
from failing_disk import FailingDisk
from s3_server import CREDENTIALS, s3_server

from storage.errors import PhotoError, may_pass
from storage.reading import RemoteError
from storage.records.ledger import read_json
from storage.sources.source import open_source
from tasks.jobs.ingest import IngestItem, ingest_chunk

PHOTO = os.urandom(300_000)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.jpg", content)
    return buffer.getvalue()


ARCHIVE = zipped(a=PHOTO, b=PHOTO[::-1])


class _Server(ThreadingHTTPServer):
    behaviour = "well"


class _Handler(BaseHTTPRequestHandler):
    """One zip, in parts; it can stall, cut off or refuse."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(is_head=True)

    def do_GET(self) -> None:
        self._answer(is_head=False)

    def _answer(self, *, is_head: bool) -> None:
        server: Any = self.server
        if not self.path.endswith(".zip"):
            self.send_error(404)
            return
        if server.behaviour == "refuses":
            self.send_error(503)
            return
        first, last = 0, len(ARCHIVE) - 1
        if given := self.headers.get("Range"):
            start, _, end = given.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        content = b"" if is_head else ARCHIVE[first : last + 1]
        self.send_response(206 if given else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(ARCHIVE)}")
        self.end_headers()
        if server.behaviour == "stalls":
            time.sleep(3)
        half = content[: len(content) // 2] if server.behaviour == "cuts" else content
        self.wfile.write(half)
        self.close_connection = True

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=0.7)}, "block_size": 4096}
    monkeypatch.setitem(fsspec.config.conf, "http", options)
    with _Server(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("behaviour", ["stalls", "cuts", "refuses"])
def test_a_member_that_a_web_server_does_not_deliver_is_not_damaged(
    server: _Server, behaviour: str
) -> None:
    source = open_source(f"http://127.0.0.1:{server.server_port}/photos.zip")
    first, _ = source.listing().files
    server.behaviour = behaviour
    with pytest.raises(PhotoError) as caught:
        source.read(first.path, first.offset, first.bytes)
    assert caught.value.code == "UNREADABLE" and may_pass(caught.value.code)
    server.behaviour = "well"
    assert source.read(first.path, first.offset, first.bytes) == PHOTO


@pytest.mark.parametrize("behaviour", ["stalls", "refuses"])
def test_a_listing_that_a_web_server_does_not_deliver_is_not_damaged(
    server: _Server, behaviour: str
) -> None:
    source = open_source(f"http://127.0.0.1:{server.server_port}/photos.zip")
    server.behaviour = behaviour
    assert [problem.code for problem in source.listing().problems] == ["UNREADABLE"]
    server.behaviour = "well"
    assert len(source.listing().files) == 2


def test_a_web_server_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(RemoteError, match="127.0.0.1:9") as caught:
        open_source("http://127.0.0.1:9/photos.zip")
    assert caught.value.exit_code == 5 and "network" in str(caught.value)


def test_photos_in_a_bucket_that_stops_to_answer_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (CREDENTIALS | {"AWS_MAX_ATTEMPTS": "1"}).items():
        monkeypatch.setenv(name, value)
    with s3_server(tmp_path, "attic") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        fs = fsspec.filesystem("s3")
        fs.pipe_file("attic/in/a.jpg", PHOTO)
        fs.pipe_file("attic/in.zip", ARCHIVE)
        folder, archive = (open_source(f"s3://attic/{name}") for name in ("in", "in.zip"))
        (photo,), members = folder.listing().files, archive.listing().files
        fresh = open_source("s3://attic/in.zip")
    with pytest.raises(OSError):
        folder.read(photo.path)
    with pytest.raises(PhotoError, match="UNREADABLE"):
        archive.read(members[0].path, members[0].offset, members[0].bytes)
    assert [problem.code for problem in fresh.listing().problems] == ["UNREADABLE"]
    with pytest.raises(RemoteError):
        folder.listing()
    item = IngestItem(
        name="0",
        folder=str(tmp_path),
        source="s3://attic/in",
        photos=(
            {"path": "a.jpg", "offset": -1, "bytes": len(PHOTO), "stamp": "", "label": ""}
            | {"official_split": "", "check_below": 1.0},
        ),
        config={"seed": 0},
    )
    monkeypatch.setattr("tasks.jobs.items.open_source", lambda location: folder)
    ingest_chunk(item)
    record = read_json(tmp_path / "done/0.json") or {}
    assert [row["code"] for row in record["seen"]] == ["UNREADABLE"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(5, "Input/output error"), "UNREADABLE"),
        (PermissionError(13, "Permission denied"), "UNREADABLE"),
        (TimeoutError(), "UNREADABLE"),
        (MemoryError(), "OUT_OF_MEMORY"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_a_disk_refuses_is_no_damage_of_the_archive(
    error: Exception, code: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = fsspec.filesystem("failing")
    disk.pipe_file(f"/photos.{kind}", ARCHIVE)  # content decides
    source = open_source(f"failing://photos.{kind}")
    member = source.listing().files[0]
    fresh = open_source(f"failing://photos.{kind}")
    monkeypatch.setattr(FailingDisk, "error", error)
    (problem,) = fresh.listing().problems
    assert (problem.path, problem.code) == (f"photos.{kind}", code)
    with pytest.raises(PhotoError, match=code) as caught:
        fresh.read(member.path, member.offset, member.bytes)
    assert may_pass(caught.value.code)
    monkeypatch.setattr(FailingDisk, "error", None)
    assert fresh.read(member.path, member.offset, member.bytes) == PHOTO


def test_a_zip_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    """As another user than root, for whom no permission counts."""
    tmp_path.chmod(0o755)
    path = tmp_path / "photos.zip"
    path.write_bytes(ARCHIVE)
    path.chmod(0)
    source = open_source(str(path))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                for folder in path.parents:
                    if folder.is_relative_to(tempfile.gettempdir()):
                        folder.chmod(0o755)
                os.seteuid(65534)
            codes = [problem.code for problem in source.listing().problems]
            os.write(writing, ",".join(codes).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    assert os.read(reading, 100) == b"UNREADABLE"
    os.close(reading)
