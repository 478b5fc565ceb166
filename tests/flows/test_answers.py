"""What commands answer, and where: stdout for people and programs, refusals at once, help in panels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from command import COMMAND, chromaflow

from flows.cli.commands import PANELS
from flows.cli.terminal import JSON_VERSION
from storage.errors import REASONS

ROOT = Path(__file__).parents[2]


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [*COMMAND, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def answer(*words: object, code: int = 0) -> dict[str, Any]:
    """The JSON of a command, which has a version."""
    found, out, err = chromaflow(*words, "--json")
    assert found == code, err
    value: dict[str, Any] = json.loads(out)
    assert value["version"] == JSON_VERSION
    return value


def test_an_answer_is_on_stdout_alone() -> None:
    for words, said in (
        (("--version",), f"chromaflow {version('chromaflow')}"),
        (("explain", "truncated"), "TRUNCATED: "),
        (("formats",), "JPEG"),
        (("models", "list"), "starter"),
        (("models", "show", "starter:people"), "parameters"),
    ):
        code, out, err = chromaflow(*words)
        assert (code, err) == (0, "") and said in out, (words, err)


def test_every_answer_is_json_on_demand(tmp_path: Path) -> None:
    assert answer("explain", "near-gray")["code"] == "NEAR_GRAY"
    assert {"name", "read", "written"} == answer("formats")["formats"][0].keys()
    assert {"name", "present", "path"} == answer("models", "list")["models"][0].keys()
    assert answer("models", "show", "starter:birds")["network"] == "unet-scene"
    checks = answer("doctor")["checks"]
    assert {"what", "finding", "fine"} == checks[0].keys()


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("explain", "nope"), "USAGE", "TRUNCATED"),
        (("explain", "--nope"), "USAGE", "--nope"),
        (("verify", "nowhere"), "USAGE", "OUT"),
        (("plan", "nowhere"), "USAGE", "OUT"),
        (("status", "--config", "nowhere.toml"), "USAGE", "nowhere.toml"),
        (("log", "--config", "nowhere.toml"), "USAGE", "nowhere.toml"),
    ],
)
def test_what_fails_is_an_object_too(words: tuple[str, ...], code: str, named: str) -> None:
    error = answer(*words, code=2)["error"]
    assert (error["code"], error["exit_code"]) == (code, 2) and named in error["message"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--workers", "-1"), "0 or more"),
        (("--format", "gif"), "jpeg, png, tiff, webp"),
        (("--saturation", "9"), "0..4"),
        (("--saturation", "2", "--vivid"), "--vivid"),
        (("--hints", "nowhere.csv"), "nowhere.csv"),
        (("--segmenter", "nobody"), "starter"),
        (("--merge", "firm"), "soft, hard"),
        (("--palette", "odd"), "likely"),
    ],
)
def test_a_wrong_option_is_refused_before_any_work(
    words: tuple[str, ...], named: str, tmp_path: Path, make_photo: Any
) -> None:
    make_photo(tmp_path / "in/a.png", gray=True)
    started = time.process_time(), os.times().children_user
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "out", *words)
    assert os.times().children_user - started[1] < 2  # a second, on a machine that others use too
    assert code == 2 and named in err and "Traceback" not in err, err
    assert not list(tmp_path.glob("out/*.png"))


def test_help_has_panels_in_the_order_of_the_work_and_no_types_of_switches() -> None:
    said = run("--help", COLUMNS="100").stdout
    places = [said.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places) and "─ Commands ─" not in said
    for names in PANELS.values():
        found = [said.index(f"│ {name} ") for name in names]
        assert found == sorted(found)
    for command in ("colorize", "verify", "run", "deploy"):
        assert "<bool>" not in run(command, "--help", COLUMNS="120").stdout
    assert "<bool>" not in run("models", "show", "--help").stdout + said


def test_forty_columns_without_colour_and_a_terminal() -> None:
    done = run("explain", "--nope", COLUMNS="40", NO_COLOR="1", TERM="xterm-256color")
    assert done.returncode == 2 and "\x1b[3" not in done.stderr
    assert max(map(len, done.stderr.splitlines())) < 60
    assert run("--help", COLUMNS="40", NO_COLOR="1").stdout.count("─ Start ─") == 1


def test_the_shell_completes_commands() -> None:
    words = {"COMP_WORDS": "chromaflow ver", "COMP_CWORD": "1"}
    script = "import sys; sys.argv[0] = 'chromaflow'; from flows.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **words,
            "_CHROMAFLOW_COMPLETE": "complete_bash",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["verify"], done.stderr
    assert "--install-completion" in run("--help", COLUMNS="100").stdout


def test_what_a_code_says_to_do_is_an_option_that_helps() -> None:
    for code in ("ALREADY_COLOR", "BILEVEL", "ANIMATED"):
        assert "--accept-photo NAME" in REASONS[code].remedy
    for code in ("EMPTY", "NOT_A_PHOTO", "DAMAGED", "UNSUPPORTED_MODE", "TOO_SMALL", "CRASHED"):
        assert "--exclude NAME" in REASONS[code].remedy
