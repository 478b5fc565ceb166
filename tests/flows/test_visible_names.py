"""Names of files that would act on a terminal: every command shows them, none obeys them."""

from __future__ import annotations

import csv
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import COMMAND, chromaflow

from storage.errors import UsageError
from storage.visible import ascii_json, visible, visible_value
from tasks.engine.progress import PlainTerminal, RichTerminal

HOSTILE = (
    "red\x1b[31m.png",
    "title\x1b]0;owned\x07.png",
    "bell\x07.png",
    "return\rdone.png",
    "line\nfailed nothing: all is well.png",
    "tab\t.png",
    "del\x7f.png",
    "c1\u009b31m.png",
    "separator\u2028.png",
    "bidi\u202efig.png",
    "[red]markup[b] :smile:.png",
)
_ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def test_what_acts_on_a_terminal_is_an_escape_and_the_rest_stays() -> None:
    for name in HOSTILE[:-1]:
        shown = visible(name)
        assert shown != name and not _ACTING.search(shown) and "\n" not in shown
        assert visible(shown) == shown
    assert visible("a\x1b[31m") == "a\\x1b[31m" and visible("\ufeff\u00ad") == "\\ufeff\\xad"
    for name in ("Müller 1931.png", "写真\u3000帳.png", "a\u00a0b", "نمی\u200cدانم", HOSTILE[-1]):
        assert visible(name) == name
    assert visible_value([{"path": "a\r", "n": 1}]) == [{"path": "a\\r", "n": 1}]
    assert ascii_json("\x7f\x1b") == '"\\u007f\\u001b"'
    assert str(UsageError("no a\x1b[2J")) == "no a\\x1b[2J"


def test_the_terminal_of_a_run_shows_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    PlainTerminal().message(f"seen {HOSTILE[0]} {HOSTILE[3]}")
    assert not _ACTING.search(capsys.readouterr().err)
    bars = RichTerminal()
    bars.update("[red]markup[/red]", 1, 2, "[b]:smile:")
    bars.message(HOSTILE[-1] + HOSTILE[0])
    bars.stop()
    shown = capsys.readouterr().err
    assert HOSTILE[-1] in shown and "[red]markup[/red]" in shown and "\x1b[31m" not in shown


def test_no_command_obeys_a_name(tmp_path: Path, make_photo: Any, no_server: None) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for number, name in enumerate(HOSTILE):
        make_photo(source / name, seed=number, gray=True) if number % 3 == 0 else None
        if number % 3:
            source.mkdir(exist_ok=True)
            (source / name).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    said = {"colorize": chromaflow("colorize", source, output)}
    assert said["colorize"][0] == 6
    for command in ("status", "verify", "report", "plan"):
        said[command] = chromaflow(command, output)
    said["log"] = chromaflow("log", "--output", output)
    said["lineage"] = chromaflow("lineage", source / HOSTILE[0], "--output", output)
    said["refused"] = chromaflow("colorize", tmp_path / HOSTILE[0], tmp_path / "other")
    for command in ("status", "plan", "verify", "report"):
        said[f"{command} --json"] = chromaflow(command, output, "--json")
    for command, (code, out, err) in said.items():
        assert not _ACTING.search(out + err), (command, err)
        assert "\nfailed nothing" not in out + err, command
        assert code in (0, 2, 6), (command, err)
    assert "bell\\x07.png" in said["colorize"][2] and "bell\\x07.png" in said["log"][1]
    damaged = [visible(name) for number, name in enumerate(HOSTILE) if number % 3]
    told = said["status"][1] + said["status"][2]
    assert [name for name in damaged if name in told], told
    assert not [name for name in damaged if name not in said["colorize"][2]]
    with (output / ".chromaflow" / "report" / "failures.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 5 and not any(_ACTING.search(cell) for row in rows for cell in row)


@pytest.mark.slow
def test_no_name_reaches_a_real_terminal(tmp_path: Path, make_photo: Any, no_server: None) -> None:
    source = tmp_path / "in"
    make_photo(source / "good.png", gray=True)
    for name in HOSTILE:
        (source / name).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    leader, follower = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*COMMAND, "colorize", str(source), str(tmp_path / "out")],
        stdout=follower,
        stderr=follower,
        env=environment,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:
            break
        shown += part
    process.wait()
    os.close(leader)
    for sign in (b"red\x1b[31m", b"\x1b]0;owned", b"bell\x07", b"return\r"):
        assert sign not in shown
    assert b"red\\x1b[31m.png" in shown
