"""Photos over 100 megapixels in bounded memory, and pictures that are built to be too large."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from command import chromaflow, start

from storage.errors import PhotoError
from storage.photos.decoder import Decoder

HEIGHT, WIDTH = 9_766, 12_190
"""119 megapixels."""
_STRIP = 64
_DRAW = """
import sys
import numpy as np, tifffile
path, height, width, strip = sys.argv[1], *map(int, sys.argv[2:])
rng = np.random.default_rng(0)
pixels = np.empty((height, width), np.uint16)
x = np.linspace(0, 40, width)
for top in range(0, height, strip):
    rows = np.arange(top, min(top + strip, height))[:, None] / height
    shade = 30000 + 20000 * np.sin(x + 9 * rows) + rng.normal(0, 600, (len(rows), width))
    pixels[top : top + strip] = np.clip(shade, 0, 65535)
tifffile.imwrite(path, pixels, rowsperstrip=strip, metadata=None, resolution=(1200, 1200),
                 resolutionunit="INCH")
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_16_bit_tiff_of_119_megapixels_takes_under_2_gb(
    tmp_path: Path, shared_server: None
) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "plate.tif"
    words = [str(path), str(HEIGHT), str(WIDTH), str(_STRIP)]
    subprocess.run([sys.executable, "-c", _DRAW, *words], check=True)
    peak, started = 0, time.monotonic()
    with start("colorize", tmp_path / "in", tmp_path / "out", "--workers", 1, "--json") as run:
        while run.poll() is None:
            peak = max(peak, largest_resident(run.pid))
            time.sleep(0.1)
        assert run.stdout is not None
        result = json.loads(run.stdout.read())
    seconds = time.monotonic() - started
    assert run.returncode == 0
    with tifffile.TiffFile(tmp_path / "out/plate.tif.color.tif") as file:
        page = file.pages[0]
        assert (page.shape, page.dtype) == ((HEIGHT, WIDTH, 3), np.dtype("uint16"))
    recorded = max(step["peak_mb"] for step in result["steps"])
    code, said, err = chromaflow("verify", tmp_path / "out", "--originals", tmp_path / "in")
    assert (code, "gray within 1 code" in said or "gray within 0 code" in said) == (0, True), err
    assert max(peak / 1e6, recorded) < 2000
    print(
        f"\n119 megapixels in {seconds:.0f} s, at most {max(peak / 1e6, recorded):.0f} MB a process"
    )


def largest_resident(pid: int) -> int:
    """Bytes of the largest process of a tree."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    sizes = [0]
    for member in family:
        try:
            sizes.append(member.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return max(sizes)


def test_a_picture_of_3600_megapixels_is_refused_by_its_header() -> None:
    import io

    buffer = io.BytesIO()
    strip = np.zeros((64, 64), np.uint8)
    tifffile.imwrite(buffer, strip, metadata=None)
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        tags = file.pages[0].tags
        for tag in (256, 257):
            place = tags[tag].valueoffset
            size = 2 if tags[tag].dtype == 3 else 4
            content[place : place + size] = (60_000).to_bytes(size, "little")
    decoder = Decoder()
    started = time.monotonic()
    with pytest.raises(PhotoError) as caught:
        decoder.inspect(bytes(content))
    decoder.close()
    assert caught.value.code == "TOO_LARGE"
    assert time.monotonic() - started < 5


def test_a_progressive_jpeg_of_10000_scans_is_refused_in_the_time_it_takes_to_count() -> None:
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00"
    content = b"\xff\xd8\xff\xe0" + scan * 10_000 + b"\xff\xd9"
    decoder = Decoder()
    started = time.monotonic()
    with pytest.raises(PhotoError) as caught:
        decoder.inspect(content)
    decoder.close()
    assert caught.value.code == "TOO_SLOW"
    assert time.monotonic() - started < 5
