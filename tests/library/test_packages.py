"""What is published: source distribution and wheel, whole, checked by twine, and used by a stranger."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wheel_install import build_distributions, install_wheel

_SCRIPT = """
import time
started = time.perf_counter()
import chromaflow
seconds = time.perf_counter() - started
import sys
import numpy as np
from PIL import Image
assert "torch" not in sys.modules and seconds < 1.5, seconds
photo = np.asarray(Image.open("gray.png"))
Image.fromarray(chromaflow.colorize(photo)).save("by-array.png")
assert "prefect" not in sys.modules and "dask" not in sys.modules
print(chromaflow.__file__)
"""


@pytest.mark.timeout(600)
def test_the_packages_are_whole_and_the_wheel_colours_as_its_command(tmp_path: Path) -> None:
    wheel, source = build_distributions(tmp_path)
    twine = [sys.executable, "-m", "twine", "check", "--strict", wheel, source]
    done = subprocess.run(twine, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names} - {
        f"chromaflow-{wheel.name.split('-')[1]}.dist-info"
    }
    assert tops == {"chromaflow", "colorization", "flows", "storage", "tasks"}
    assert "chromaflow/py.typed" in names and wheel.stat().st_size <= 95e6
    with tarfile.open(source) as archive:
        kept = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in names if ".dist-info/" not in name} <= kept

    python = install_wheel(tmp_path, wheel)
    (tmp_path / "elsewhere").mkdir()
    gray = np.linspace(30, 220, 96 * 80).reshape(80, 96).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "elsewhere/gray.png")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = {"cwd": tmp_path / "elsewhere", "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([python, "-c", _SCRIPT], **run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "venv"))
    command = python.with_name("chromaflow")
    done = subprocess.run([command, "colorize", "gray.png", "by-command.png"], **run)
    assert done.returncode == 0, done.stderr
    by_array, by_command = (
        np.asarray(Image.open(tmp_path / f"elsewhere/by-{how}.png")) for how in ("array", "command")
    )
    assert np.array_equal(by_array, by_command)
    print(f"wheel {wheel.stat().st_size / 1e6:.1f} MB, source {source.stat().st_size / 1e6:.1f} MB")
