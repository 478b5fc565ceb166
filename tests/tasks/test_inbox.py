"""A look at an inbox: what is new, what is still being written, what is none of it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from colorization.errors import ConfigError
from storage.errors import LockedError, UsageError
from storage.records.manifest import MANIFEST_COLUMNS
from storage.records.tables import write_table
from storage.records.workspace import Workspace
from storage.sources.source import open_source
from tasks.inbox.arrivals import look
from tasks.inbox.copies import inbox_output, kept_copies

MakePhoto = Callable[..., Path]


def listed(location: str) -> list[str]:
    return [file.path for file in open_source(location).listing().files]


def test_a_file_that_grows_is_left_and_one_that_is_whole_is_listed(
    tmp_path: Path, make_photo: MakePhoto
) -> None:
    inbox = tmp_path / "inbox"
    make_photo(inbox / "a" / "whole\nphoto.png")
    (inbox / "notes.txt").write_text("a companion")
    growing = (inbox / "growing.png").open("wb")
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.05):
            growing.write(b"x")
            growing.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        arrival = look(inbox, tmp_path / "out", 0.5)
    finally:
        stop.set()
        writer.join()
        growing.close()
    assert arrival.new == ("a/whole\nphoto.png",) and arrival.waiting == ("growing.png",)
    assert listed(arrival.location) == ["a/whole\nphoto.png"]
    later = look(inbox, tmp_path / "out", 0.1)
    assert later.new == ("a/whole\nphoto.png", "growing.png") and later.waiting == ()


def test_a_file_that_gets_its_size_at_once_is_watched_by_its_time(
    tmp_path: Path, make_photo: MakePhoto
) -> None:
    photo = make_photo(tmp_path / "inbox" / "a.png")
    touch = threading.Timer(0.3, lambda: os.utime(photo))
    touch.start()
    arrival = look(tmp_path / "inbox", tmp_path / "out", 1.0)
    touch.join()
    assert arrival.waiting == ("a.png",) and arrival.location == ""


def test_an_empty_inbox_is_nothing_to_wait_for(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    started = time.monotonic()
    arrival = look(tmp_path / "inbox", tmp_path / "out", 60)
    assert time.monotonic() - started < 5
    assert arrival.location == "" and arrival.new == arrival.waiting == ()
    assert not (tmp_path / "out").exists()


def test_wrong_folders_are_refused(tmp_path: Path, make_photo: MakePhoto) -> None:
    with pytest.raises(UsageError, match="new photos"):
        look(tmp_path / "missing", tmp_path / "out", 0)
    make_photo(tmp_path / "inbox" / "deep" / "a.png")
    with pytest.raises(UsageError, match="outside"):
        look(tmp_path / "inbox", tmp_path / "inbox" / "out", 0)
    with pytest.raises(ConfigError, match="0 or more"):
        look(tmp_path / "inbox", tmp_path / "out", -1)


def test_the_list_of_a_run_under_way_is_not_replaced(tmp_path: Path, make_photo: MakePhoto) -> None:
    make_photo(tmp_path / "inbox" / "a.png")
    workspace = Workspace(tmp_path / "out" / ".chromaflow")
    workspace.create()
    with workspace.lock(), pytest.raises(LockedError):
        look(tmp_path / "inbox", tmp_path / "out", 0)
    assert not list(workspace.root.glob("*.txt"))


def test_copies_that_a_dead_run_set_aside_are_put_back(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out" / ".chromaflow")
    workspace.create()
    kept = workspace.root / "kept"
    for name, content in (("a/gone.png", b"1"), ("a/same.png", b"2"), ("other.png", b"3")):
        copy = kept / f"{name}.color.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    output = tmp_path / "out"
    (output / "a").mkdir()
    (output / "a" / "same.png.color.png").write_bytes(b"2")
    (output / "other.png.color.png").write_bytes(b"another photo of that name")
    with workspace.lock(), pytest.raises(LockedError):
        inbox_output(str(output))
    assert inbox_output(str(output)) == output
    marked = f"other.png~{hashlib.sha256(b'3').hexdigest()[:8]}.color.png"
    found = {str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*.color*.png")}
    assert found == {
        "a/gone.png.color.png": b"1",
        "a/same.png.color.png": b"2",
        "other.png.color.png": b"another photo of that name",
        marked: b"3",
    }
    assert not kept.exists()


def test_copies_come_back_after_a_failed_run_whose_error_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "out"
    Workspace(output / ".chromaflow").create()
    copy = output / "a.png.color.png"
    copy.write_bytes(b"colour")
    with pytest.raises(LockedError, match="of the run"), kept_copies(output, ["a.png"], ["a.png"]):
        copy.unlink()
        raise LockedError("of the run")
    assert copy.read_bytes() == b"colour"

    with pytest.raises(KeyboardInterrupt) as stopped, kept_copies(output, ["a.png"], ["a.png"]):
        copy.unlink()
        copy.mkdir()  # its name is taken, and cannot be compared
        raise KeyboardInterrupt
    kept = output / ".chromaflow" / "kept"
    assert str(kept) in stopped.value.__notes__[0]
    assert (kept / "a.png.color.png").read_bytes() == b"colour"
    copy.rmdir()
    inbox_output(str(output))
    assert copy.read_bytes() == b"colour" and not kept.exists()


def test_an_inbox_is_not_coloured_into_a_url() -> None:
    with pytest.raises(UsageError, match="mirrors it"):
        inbox_output("s3://bucket/colour")


def _published_inbox(output: Path, names: list[str]) -> Workspace:
    """An output as a run left it: its manifest and one copy of each photo."""
    workspace = Workspace(output / ".chromaflow")
    workspace.create()
    folder = workspace.stage_dir("ingest", "archive", "f" * 64)
    rows = [dict.fromkeys(MANIFEST_COLUMNS) | {"path": name} for name in names]
    write_table(folder / "manifest.parquet", rows, MANIFEST_COLUMNS)
    workspace.set_current("ingest", "archive", folder)
    for name in names:
        (output / f"{name}.color.png").write_bytes(name.encode())
    return workspace


@pytest.mark.parametrize("links", [True, False])
def test_a_photo_named_as_the_copy_of_another_stops_no_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Both were set aside under one name, and every later look failed on it."""
    output, names = tmp_path / "out", ["a.png", "a.png.color.png"]
    workspace = _published_inbox(output, names)
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    for new in (names, names[:1], names[1:], ["a.png", "other.png"]):
        with workspace.lock(), kept_copies(output, new, names):
            (output / "a.png.color.png").unlink()
            kept = {path.name for path in (workspace.root / "kept").iterdir()}
            assert kept == {f"{name}.color.png" for name in new if name in names}
            (output / "a.png.color.png").write_bytes(b"a.png")
        assert not (workspace.root / "kept").exists()
        for name in names:
            assert (output / f"{name}.color.png").read_bytes() == name.encode()


def _no_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(source))
