"""Every command that README, guide and site name is one that there is; what a newcomer is told to type works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import chromaflow
from conftest import draw_photo
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_ENDS = {"|", "||", "&&", ">", "2>&1", "<", ";", "#"}
_SHOWN = 40
"""Commands in code blocks that there are at least: fewer, and this test no longer finds them."""


def blocks(page: Path) -> Iterator[str]:
    """Command lines of a page's code blocks, whole where they go on on the next line."""
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^(?: {4}|\$ )(chromaflow(?: .*)?)$", text, re.M):
        if not line.startswith("chromaflow.") and not re.match(r"chromaflow\S", line):
            yield line


def inline(page: Path) -> Iterator[str]:
    """Commands within sentences."""
    yield from re.findall(r"`(chromaflow [^`]+)`", page.read_text())


def words_of(line: str) -> list[str]:
    """The words of a command, up to what belongs to the shell or is a remark."""
    words = shlex.split(re.sub(r"\s#.*", "", line.replace("\\|", "|")))
    end = next((number for number, word in enumerate(words) if word in _ENDS), len(words))
    return words[1:end]


def unknown_words(words: list[str]) -> str | None:
    """What of a command is no command or option of ours."""
    from typer.main import get_command

    from flows.cli.app import app

    command: Any = get_command(app)
    while words and not words[0].startswith("-") and getattr(command, "commands", None):
        command, words = command.commands.get(words[0]), words[1:]
        if command is None:
            return "command"
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--install-completion", "--show-completion", "--version"}
    asked = [word.partition("=")[0].strip("[]") for word in words if re.match(r"\[?--?[a-z]", word)]
    return next((word for word in asked if word not in known), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_names_is_there(page: Path) -> None:
    for line in (*blocks(page), *inline(page)):
        assert unknown_words(words_of(line)) is None, line


def test_enough_commands_are_found() -> None:
    assert sum(len(list(blocks(page))) for page in PAGES) >= _SHOWN
    assert unknown_words(["colorize", "IN", "OUT", "--nowhere"]) == "--nowhere"
    assert unknown_words(["colourise"]) == "command"


def photo(path: Path, seed: int, *, gray: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(draw_photo(seed, 120, 96))
    (picture.convert("L") if gray else picture).save(path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("no_server")
def test_what_readme_and_archive_guide_say_works_in_their_order(tmp_path: Path) -> None:
    for number in range(4):
        photo(tmp_path / f"IN/{number}.png", number, gray=True)
        photo(tmp_path / f"scans/{1930 + number}/a.png", number, gray=True)
    (tmp_path / "scans/1932/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for category in ("people", "birds", "animals", "places"):
        for number in range(40):
            photo(tmp_path / category / f"{number}.jpg", 100 + number, gray=False)
    (tmp_path / "archive").mkdir()
    photo(tmp_path / "archive/a.png", 9, gray=True)
    ran = 0
    for page in (ROOT / "README.md", ROOT / "docs/index.md", ROOT / "docs/archives.md"):
        for line in blocks(page):
            words = words_of(line)
            if words[0] == "review":  # a page that waits for a person; tests/browser has it
                continue
            code, out, err = chromaflow(*words, cwd=tmp_path)
            assert code in ((0, 6) if words[-1] in ("colour", "scans") else (0,)) or (
                "scans" in words and code == 6
            ), (line, code, err)
            if words[0] == "init":
                config = tmp_path / "chromaflow.toml"
                text = re.sub(r"^epochs = .*", "epochs = 1", config.read_text(), flags=re.M)
                config.write_text(re.sub(r"= \"(\S*)/(\w+)\"", r'= "\2"', text))
            ran += 1
    assert ran >= 14
    coloured = sorted(path.name for path in (tmp_path / "OUT").glob("*.png"))
    assert coloured == [f"{number}.png.color.png" for number in range(4)]
    assert len(list((tmp_path / "colour").rglob("*.color.png"))) == 4
    assert np.ptp(np.asarray(Image.open(tmp_path / "OUT/0.png.color.png")), axis=2).max() > 3
    assert list((tmp_path / "approved").rglob("*.png")) == []  # nobody has approved any


@pytest.mark.slow
@pytest.mark.usefixtures("no_server")
def test_the_five_lines_of_the_readme_colour_a_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "gray.jpg", 3, gray=True)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(code.strip().splitlines()) <= 6
    exec(code, {})
    assert np.ptp(np.asarray(Image.open("colour.png")), axis=2).max() > 3
