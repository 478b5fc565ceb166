"""Downloads of weights: from a real server, whole or not at all, and checked when they are used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from colorization.errors import ModelMissingError
from storage.errors import DamagedError
from tasks.weights.models import (
    IMAGENET_ENCODER,
    ModelFile,
    fetch,
    find_model,
    imagenet_encoder,
    require,
    segmenter_file,
)
from tasks.weights.releases import RELEASES, download, published_hash

WEIGHTS = bytes(range(256)) * 5000
NAME = f"net-{hashlib.sha256(WEIGHTS).hexdigest()[:8]}.pth"


class Server:
    """A loopback server of weights. how: whole, cut, page, other or missing."""

    def __init__(self) -> None:
        self.how = "whole"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                content = {"page": b"\n<!doctype html><p>Log in", "other": WEIGHTS[1:]}.get(
                    self.how, WEIGHTS
                )
                handler.send_response(404 if self.how == "missing" else 200)
                handler.send_header("Content-Length", str(len(content)))
                handler.end_headers()
                handler.wfile.write(content[:1000] if self.how == "cut" else content)

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/models/{NAME}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.stop()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_a_download_with_the_hash_of_its_name_is_kept(tmp_path: Path, server: Server) -> None:
    target = download(server.address, tmp_path / "cache" / "net.pth")
    assert target.read_bytes() == WEIGHTS
    assert [path.name for path in target.parent.iterdir()] == ["net.pth"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "Try again"),
        ("missing", "404"),
        ("page", "a web page of"),
        ("other", "a file of 1,279,999 bytes"),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing(
    tmp_path: Path, server: Server, how: str, words: str
) -> None:
    server.how, target = how, tmp_path / "cache" / "net.pth"
    with pytest.raises(ModelMissingError, match=words) as refused:
        download(server.address, target)
    assert str(target) in str(refused.value) and not list(target.parent.iterdir())
    server.how = "whole"
    assert download(server.address, target).read_bytes() == WEIGHTS


def test_a_refused_download_leaves_the_file_before_it(tmp_path: Path, server: Server) -> None:
    target = download(server.address, tmp_path / "net.pth")
    for server.how in ("cut", "page", "other"):
        with pytest.raises(ModelMissingError):
            download(server.address, target)
        assert target.read_bytes() == WEIGHTS


def test_fetch_checks_what_it_downloads(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = RELEASES[IMAGENET_ENCODER].rpartition("/")[2]
    mirror = server.address.replace(NAME, official)
    monkeypatch.setitem(RELEASES, IMAGENET_ENCODER, mirror)
    with pytest.raises(ModelMissingError, match="f37072fd"):
        fetch(IMAGENET_ENCODER)
    assert not imagenet_encoder().present and not list(cache.iterdir())


def test_the_addresses_are_those_that_torchvision_names() -> None:
    from torchvision.models import get_model_weights

    for name, address in RELEASES.items():
        kind, _, network = name.partition(":")
        if kind == "torchvision":
            assert get_model_weights(network).DEFAULT.url == address
        assert len(published_hash(address)) == 8 and int(published_hash(address), 16)


@pytest.mark.parametrize("model", [IMAGENET_ENCODER, "torchvision:lraspp_mobilenet_v3_large"])
def test_a_file_in_the_cache_is_checked_when_it_is_used(cache: Path, model: str) -> None:
    file = imagenet_encoder() if model == IMAGENET_ENCODER else segmenter_file(model)
    file.path.write_bytes(WEIGHTS)
    with pytest.raises(DamagedError, match=f"models fetch {model}"):
        require(file)


def test_releases_are_known_by_their_file_names_and_other_files_are_not(tmp_path: Path) -> None:
    for name in ("siggraph17-df00044c.pth", "colorization_release_v2-9b330a0b.pth"):
        (tmp_path / name).write_bytes(WEIGHTS)
        with pytest.raises(DamagedError, match="download it from https"):
            find_model(str(tmp_path / name))
        with pytest.raises(DamagedError, match="as it was published"):
            require(ModelFile("file", tmp_path / name))
    own = tmp_path / "birds-20260131.pth"  # eight digits, but a date
    own.write_bytes(WEIGHTS)
    assert find_model(str(own)) == own and require(ModelFile("expert:birds", own)) == own
