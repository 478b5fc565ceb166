"""Every error of ours has the one root, a code of its own, and an exit code that the README names."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chromaflow.errors import ChromaflowError, code_of, exit_code_of
from colorization.errors import ConfigError
from storage.errors import PhotoError, UsageError
from tasks.results import RunFailedError, RunResult, StepFailure

ROOT = Path(__file__).parents[2]
PACKAGES = ("chromaflow", "colorization", "flows", "storage", "tasks")
CAUGHT_WITHIN = {"PipeEndedError", "RefusedError", "ServerGoneError", "_BagError", "_DiedError"}
"""They end where they are caught, as another error or a quarantine; nobody outside meets them."""


def defined() -> dict[str, str]:
    """Names of the exception classes in our source → their modules."""
    return {
        node.name: path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ClassDef) and re.search(r"(Error|Exception)$", node.name)
    }


def classes() -> list[type[ChromaflowError]]:
    """Those that people meet."""
    found = [
        getattr(importlib.import_module(module), name)
        for name, module in defined().items()
        if name not in CAUGHT_WITHIN
    ]
    assert len(found) > 15
    return found


def test_every_error_has_the_root_and_a_code_of_its_own() -> None:
    assert [c.__name__ for c in classes() if not issubclass(c, ChromaflowError)] == []
    codes = Counter(vars(c).get("code", "") for c in classes())
    assert [code for code, count in codes.items() if count > 1] == []
    assert [code for code in codes if not re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)] == []


def test_every_exit_code_is_in_the_table_of_the_readme() -> None:
    table = (ROOT / "README.md").read_text().partition("## Exit codes")[2].partition("## ")[0]
    said = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert {c.__name__: c.exit_code for c in classes() if c.exit_code not in said} == {}


def test_a_mistake_of_ours_is_an_internal_error() -> None:
    mistake = KeyError("x")
    assert (code_of(mistake), exit_code_of(mistake)) == ("INTERNAL", 1)
    assert (code_of(UsageError("x")), exit_code_of(ConfigError("x"))) == ("USAGE", 2)


def test_a_photo_keeps_the_code_of_its_reason() -> None:
    assert code_of(PhotoError("EMPTY", "no bytes")) == "EMPTY" and PhotoError.code == "PHOTO"


@pytest.mark.parametrize(
    ("errors", "codes", "exit_code"),
    [
        ([ConfigError("a")], ["CONFIG"], 2),
        ([ConfigError("a"), KeyError("b")], ["CONFIG", "INTERNAL"], 6),
    ],
)
def test_failed_steps_are_named_with_their_codes(
    errors: list[Exception], codes: list[str], exit_code: int
) -> None:
    failures = [StepFailure(("train", f"s{n}"), error) for n, error in enumerate(errors)]
    result = RunResult("20260101T000000-abcdef", failures=failures)
    assert [failure["code"] for failure in result.to_dict()["failures"]] == codes
    assert RunFailedError(result).exit_code == exit_code and RunFailedError.exit_code == 6


def test_the_root_imports_nothing_heavy() -> None:
    code = "import sys, chromaflow.errors; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"torch", "numpy", "prefect", "dask", "PIL", "typer", "storage", "colorization"}
    assert heavy & set(said.stdout.split()) == set()
