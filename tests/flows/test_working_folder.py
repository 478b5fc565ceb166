"""Nothing is imported from the folder that one stands in, and photos are done all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from strangers import lay_modules, run_in


@pytest.mark.usefixtures("ephemeral_server")
def test_colorize_imports_nothing_from_the_working_folder(
    tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name in ("a", "b"):
        make_photo(tmp_path / "scans" / f"{name}.png", gray=True)
    lay_modules(tmp_path)
    cache = {"CHROMAFLOW_CACHE": str(tmp_path / "cache")}  # Prefect's database is made too
    run_in(tmp_path, "colorize", "scans", "out", variables=cache)
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert not list(tmp_path.glob("imported-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_run_imports_nothing_from_the_working_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    lay_modules(project.parent)
    run_in(project.parent, "run")
    assert not list(project.parent.glob("imported-*"))


@pytest.mark.parametrize("way", ["-m", "-c", "file"])
def test_what_pythonpath_names_stays(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the process was started that starts a child."""
    (tmp_path / "start.py").write_text(
        "import subprocess, sys\n"
        "from storage.children import child_environment, module_command\n"
        "words = [*module_command('this')[:-2], '-c', 'import sys; print(sys.path)']\n"
        "print(subprocess.check_output(words, env=child_environment(), text=True))\n"
    )
    (tmp_path / "mine").mkdir()
    words = {"-m": ["-m", "start"], "-c": ["-c", "import start"], "file": ["start.py"]}[way]
    for named, expected in ((tmp_path / "mine", False), (tmp_path, True)):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(named)]))
        said = subprocess.check_output([sys.executable, *words], cwd=tmp_path, text=True)
        assert repr(str(named)) in said
        assert (repr(str(tmp_path)) in said) is expected
