"""The log of decisions: only added to, whole after a kill, one writer."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from storage.errors import DamagedError, LockedError, OutputError
from storage.records import decisions as module
from storage.records.decisions import Decided, decisions_path, open_decisions, read_decisions
from storage.records.names import STATE_NAME


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / STATE_NAME).mkdir()
    return tmp_path


def decided(name: str = "a.jpg", **what: Any) -> Decided:
    return Decided(path=name, sha256="0" * 64, **what)


def test_what_was_said_last_of_a_photo_holds_and_survives(output: Path) -> None:
    hint = (1.5, 2.0, 200, 10, 20)
    with open_decisions(output) as log:
        log.write("approve", [decided(verdict="approved", output="f" * 64)])
        log.write("hints", [decided(hints=(hint,)), decided("\udcff=.jpg", note="<b>")])
    found = read_decisions(output)
    assert found.number == 2 and found.of((0, "a.jpg", "0" * 64)).hints == (hint,)
    assert found.of((0, "a.jpg", "0" * 64)).verdict == ""
    assert found.of((0, "\udcff=.jpg", "0" * 64)).note == "<b>"
    assert found.of((0, "a.jpg", "1" * 64)).says_nothing, "another file under that path"


def test_undo_goes_back_line_by_line_and_through_a_restart(output: Path) -> None:
    with open_decisions(output) as log:
        log.write("approve", [decided(verdict="approved")])
        log.write("palette", [decided(verdict="approved", palette="3"), decided("b", palette="3")])
    with open_decisions(output) as log:
        assert [one.palette for one in log.undo()] == ["", ""]
        assert log.decisions.of((0, "a.jpg", "0" * 64)).verdict == "approved"
        assert log.undo()[0].says_nothing and log.undo() == []
    assert len(decisions_path(output).read_bytes().splitlines()) == 4, "nothing was taken out"


def test_a_torn_line_was_told_to_nobody_and_is_gone(output: Path) -> None:
    with open_decisions(output) as log:
        log.write("approve", [decided(verdict="approved")])
    path = decisions_path(output)
    whole = path.read_bytes()
    for length in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole + whole[:length])
        assert read_decisions(output).number == 1
        with open_decisions(output) as log:
            log.write("note", [decided(note="x")])
        assert read_decisions(output).number == 2
        path.write_bytes(whole)


def test_a_damaged_line_or_a_later_version_is_refused(output: Path) -> None:
    path = decisions_path(output)
    later = json.dumps({"version": 2, "what": "approve", "photos": []})
    for content, said in (
        ("{}\n", "line 1"),
        ("nonsense\n", "line 1"),
        (later + "\n", "version 1"),
    ):
        path.write_text(content)
        with pytest.raises(DamagedError, match=said):
            read_decisions(output)


def test_there_is_one_writer(output: Path) -> None:
    with open_decisions(output), pytest.raises(LockedError, match="the review of"):
        open_decisions(output).__enter__()
    with open_decisions(output) as log:
        assert log.decisions.number == 0


def test_a_full_disk_leaves_the_log_as_it_was(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: int, content: bytes, place: int) -> int:
        if place:
            raise OSError(28, "No space left on device")
        return pwrite(file, content[:10], place)

    pwrite = os.pwrite
    with open_decisions(output) as log:
        monkeypatch.setattr(module.os, "pwrite", half)
        with pytest.raises(OutputError, match="No space left"):
            log.write("approve", [decided(verdict="approved")])
        monkeypatch.undo()
        assert decisions_path(output).read_bytes() == b""
        log.write("approve", [decided(verdict="approved")])
    assert read_decisions(output).number == 1


def write_until_killed(output: Path, told: Any) -> None:
    with open_decisions(output) as log:
        for number in range(100_000):
            log.write("note", [decided(f"{number}", note="n" * (number % 700))])
            told.send(number)


def test_kills_lose_nothing_that_was_told(output: Path) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(20):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=write_until_killed, args=(output, theirs))
        process.start()
        theirs.close()
        told = [ours.recv() for _ in range(15)]
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        while ours.poll():
            try:
                told.append(ours.recv())
            except EOFError:
                break
        found = {one.path for one in read_decisions(output).photos.values()}
        assert {str(number) for number in told} <= found
