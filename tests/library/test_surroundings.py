"""What is beside the program: the site's pages, container, timer and crontab name what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def command_names() -> set[str]:
    from typer.main import get_command

    from flows.cli.app import app

    return set(get_command(app).commands)  # type: ignore[attr-defined]


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    words = [sys.executable, "-m", "flows.cli.reference"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "docs/commands.md").read_text(), "`make docs` writes it anew"


def test_the_site_is_built_without_a_broken_link_and_without_addresses_of_others(
    tmp_path: Path,
) -> None:
    pytest.importorskip("mkdocs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for page in ("index", "library", "commands", "faq"):
        text = (tmp_path / f"{page}.html").read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"(https?:[^\"]+)", text)
        loaded += re.findall(r"<link[^>]+rel=\"stylesheet\"[^>]+href=\"(https?:[^\"]+)", text)
        assert loaded == [], page
    assert "Colorizer" in (tmp_path / "library.html").read_text()


def test_the_container_copies_what_there_is_and_starts_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    own = [name for names in copied for name in names if not name.startswith(("--from", "/"))]
    assert own and all((ROOT / name).exists() for name in own)
    packages = re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE)
    assert {"chromaflow", "colorization", "flows", "storage", "tasks"} == set(packages)
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["worker"]["command"][0] in command_names()
    assert services["server"]["ports"] == ["127.0.0.1:4200:4200"], "no address but loopback"
    assert services["worker"]["image"] == services["server"]["image"]


def test_timer_and_crontab_run_commands_that_there_are() -> None:
    folder = ROOT / "examples"
    service = (folder / "systemd/chromaflow-colorize.service").read_text()
    crontab = (folder / "chromaflow.cron").read_text()
    lines = [line for line in f"{service}\n{crontab}".splitlines() if not line.startswith("#")]
    words = [word for line in lines for word in re.findall(r"\bchromaflow ([a-z]+)", line)]
    assert len(words) >= 2 and set(words) <= command_names()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_no_fault_in_service_and_timer(tmp_path: Path) -> None:
    for path in (ROOT / "examples/systemd").iterdir():
        text = path.read_text()
        # a command that this machine has, for the one that is installed there
        (tmp_path / path.name).write_text(
            text.replace("/opt/chromaflow/bin/chromaflow", "/bin/true")
        )
    words = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "chromaflow-colorize" not in done.stderr, done.stderr
