"""Prefect servers that a run may and may not use: with a password, elsewhere, in a profile."""

from __future__ import annotations

import base64
import io
import json
import stat
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow
from PIL import Image
from prefect_server import free_port, prefect_server

LOGIN = "archivist:ein langes Wort"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks for a password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_API_AUTH_STRING", LOGIN)
        with prefect_server(tmp_path_factory.mktemp("guarded")) as address:
            yield address


def everything(address: str, what: str, login: str) -> Any:
    """All flow runs, or artifacts, on a server."""
    request = urllib.request.Request(
        f"{address}/api/{what}/filter",
        data=b"{}",
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


@pytest.mark.slow
def test_a_run_on_a_server_with_a_password(
    guarded: str, tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_photo(tmp_path / "in" / "a.png", gray=True)
    (tmp_path / "in" / "=broken.png").write_bytes(photo.read_bytes()[:99])
    monkeypatch.setenv("PREFECT_API_URL", f"{guarded}/api")
    words = ["colorize", tmp_path / "in", tmp_path / "out"]
    for login in ("", "archivist:wrong"):
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", login)
        code, _, err = chromaflow(*words)
        assert code == 2 and "PREFECT_API_AUTH_STRING" in err and "Traceback" not in err, err
    assert not list(tmp_path.glob("out/*.png"))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        everything(guarded, "flow_runs", "archivist:wrong")

    monkeypatch.setenv("PREFECT_API_AUTH_STRING", LOGIN)
    code, _, err = chromaflow(*words)
    assert code == 6, err
    (run,) = everything(guarded, "flow_runs", LOGIN)
    assert run["state"]["type"] == "COMPLETED" and len(list(tmp_path.glob("out/*.png"))) == 1
    shown = {row["key"]: row["data"] for row in everything(guarded, "artifacts", LOGIN)}
    assert [row["step"] for row in json.loads(shown["stages"])] == [
        "ingest/archive",
        "colorize/archive",
    ]
    (row,) = json.loads(shown["quarantine"])
    assert (row["path"], row["code"]) == ("=broken.png", "TRUNCATED")
    kind, _, picture = shown["contact-sheet"].rstrip(")").partition(",")
    assert kind.endswith("![colorize/archive](data:image/jpeg;base64")
    with Image.open(io.BytesIO(base64.b64decode(picture))) as sheet:
        assert sheet.width == 900
    state = tmp_path / "out" / ".chromaflow"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / ".prefect").stat().st_mode) == 0o700
    code, _, err = chromaflow("deploy", cwd=tmp_path)
    assert code == 0, err


def test_an_open_server_that_a_profile_names_is_refused(
    tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    profile = (
        'active = "away"\n[profiles.away]\nPREFECT_API_URL = "http://prefect.example:4200/api"\n'
    )
    (tmp_path / "home" / "profiles.toml").write_text(profile)
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "out")
    assert code == 2 and "prefect.example" in err and "PREFECT_API_AUTH_STRING" in err, err


def test_a_server_that_is_gone_is_named(
    tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    address = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", address)
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "out")
    assert code == 3 and address in err and "prefect server start" in err, err
    assert "Traceback" not in err
