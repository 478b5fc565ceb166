"""The program of the field cases: its table, and its quickest case with the real command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def field(*words: object) -> subprocess.CompletedProcess[str]:
    """`python benchmarks/field WORDS`, from the repository."""
    return subprocess.run(
        [sys.executable, "benchmarks/field", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_the_quickest_case_is_right_and_shown_with_its_words(tmp_path: Path) -> None:
    told = tmp_path / "field/18-html-for-zip/case.md"
    told.parent.mkdir(parents=True)
    told.write_text("# html\n\n- Right: exit 2 | its words.\n- On 31f16b9: no such file.\n")
    done = field(tmp_path / "field", "--only", 18, "--keep", tmp_path / "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if "|" in line}
    shown = rows["18-html-for-zip"]
    assert (
        "| exit 2 \\| its words. | no such file. | plan: exit 2, " in shown and "| right |" in shown
    )
    assert "1 of 1 cases right" in done.stdout


def test_a_wrong_answer_is_wrong_and_exits_with_1() -> None:
    done = field("--only", 18, "--command", "false")
    assert done.returncode == 1, done.stdout
    assert "WRONG: plan: exit 1, not a word" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_all_cases_are_right() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/field"], cwd=ROOT, capture_output=True, text=True
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
