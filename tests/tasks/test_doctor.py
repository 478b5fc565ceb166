"""`doctor` on machines that are not well: it says so and ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage.formats import FORMATS, sniff
from storage.photos.photo import decode
from storage.photos.samples import codec_problems, sample
from tasks.queries.status import _codec, _gpu


def test_every_format_is_tried_by_a_picture_of_its_own() -> None:
    problems = codec_problems()
    assert list(problems) == list(FORMATS) and len(problems) == 16
    for name, problem in problems.items():
        assert sniff(sample(name)) == name and len(sample(name)) < 2500
        assert problem is None or problem.code == "CODEC_MISSING", (name, problem)
        if problem is None:
            assert decode(sample(name)).pixels.std() > 1


def test_a_codec_that_is_broken_is_no_fine_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of imagecodecs that does not load, as on another processor or an old libc."""
    broken = tmp_path / "imagecodecs"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libjxl.so: version GLIBC_2.99')")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [_codec(name, problem) for name, problem in codec_problems().items()]
    assert any(not fine for _, _, fine in rows), rows


@pytest.mark.parametrize("script", ["sleep 600", "sleep 600 & wait"])
def test_a_driver_that_hangs_is_said_and_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("tasks.queries.status._GPU_SECONDS", 0.5)
    started = time.monotonic()
    finding, fine = _gpu()
    assert "no answer in 0.5 s" in finding and "restart" in finding and not fine
    assert time.monotonic() - started < 60


def test_an_nvidia_smi_that_does_not_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_bytes(b"\x7fELF of another machine")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _gpu() == (f"{command} does not start: Exec format error", False)
