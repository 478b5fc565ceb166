"""The wheel, installed elsewhere and cut off from every network, colours with what it carries."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_photo
from PIL import Image
from wheel_install import build_distributions, install_wheel

from storage.pictures.lettering import FONTS

CUT_OFF = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""In a network namespace that has loopback only."""
ASK = """
import socket
try:
    socket.create_connection(("9.9.9.9", 443), 2)
except OSError:
    from flows.cli.app import main
    main()
"""
"""Where the network can be reached it does nothing, and no photo is there at the end."""


@pytest.mark.slow
def test_the_wheel_colours_with_the_network_unreachable(tmp_path: Path) -> None:
    if subprocess.run([*CUT_OFF, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs unshare -rn and ip: user namespaces are not allowed here")
    wheel, _ = build_distributions(tmp_path)
    python = install_wheel(tmp_path, wheel)
    with zipfile.ZipFile(wheel) as archive:
        weights = {
            i.filename: i.file_size for i in archive.infolist() if "safetensors" in i.filename
        }
    with zipfile.ZipFile(wheel) as archive:
        fonts = [name for name in archive.namelist() if name.endswith(".ttf")]
    assert len(fonts) == len(FONTS) and wheel.stat().st_size < 95e6
    print(
        f"\nwheel {wheel.stat().st_size / 1e6:.1f} MB, starter weights {sum(weights.values()) / 1e6:.1f} MB"
    )
    assert sum(weights.values()) <= 60e6

    photos = tmp_path / "in"
    photos.mkdir()
    gray = np.asarray(Image.fromarray(draw_photo(1, 120, 90)).convert("L"))
    Image.fromarray(gray).save(photos / "a.png")
    environment = {**os.environ, "HOME": str(tmp_path)}
    for name in list(environment):
        if name.startswith("PREFECT_"):
            del environment[name]
    done = subprocess.run(
        [*CUT_OFF, python, "-c", ASK, "colorize", photos, tmp_path / "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    coloured = np.asarray(Image.open(tmp_path / "out/a.png.color.png").convert("RGB")).astype(int)
    assert coloured.shape == (90, 120, 3)
    assert np.abs(coloured[..., 0] - coloured[..., 2]).max() > 3
