"""The decoding process: the same photos, and the parent lives through whatever a file does to it."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from storage.errors import PhotoError
from storage.photos import decoder as decoder_module
from storage.photos.decoder import Decoder
from storage.photos.photo import decode_pages, inspect


def gray(height: int = 30, width: int = 40) -> np.ndarray:
    return np.linspace(0, 65535, height * width).reshape(height, width).astype(np.uint16)


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def pages_tiff(*pages: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in pages:
            writer.write(page, metadata=None, contiguous=False, **options)
    return buffer.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">II", width, height) + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", head), *chunks, (b"IEND", b""))
    )


def tiff_header(width: int, height: int, strip: bytes) -> bytes:
    """A Deflate TIFF of one strip that says it is of any size."""
    values = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (277, 1), (278, height)]
    tags = sorted([*values, (273, 8), (279, len(strip))])
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(strip))
    return start + strip + struct.pack("<H", len(tags)) + directory + bytes(4)


PHOTO = saved(Image.fromarray((gray() >> 8).astype(np.uint8)), "PNG")


def code_of(decode: Callable[[], object]) -> str:
    with pytest.raises(PhotoError) as caught:
        decode()
    return caught.value.code


def child_of(decoder: Decoder) -> psutil.Process:
    assert decoder._process is not None
    return psutil.Process(decoder._process.pid)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    shared = Decoder()
    yield shared
    shared.close()


def test_photos_are_those_of_decoding_here(decoder):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Kodak", 6
    rgba = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    for content in (
        pages_tiff(gray(), gray(7, 9), resolution=(300, 300), resolutionunit="INCH"),
        saved(Image.fromarray(rgba), "PNG", exif=exif, dpi=(300, 300)),
        saved(Image.fromarray(rgba[..., 0]), "JPEG", exif=exif, quality=77, comment=b"Market"),
    ):
        here, there = list(decode_pages(content)), list(decoder.pages(content))
        assert len(here) == len(there)
        for ours, theirs in zip(here, there, strict=True):
            assert theirs.header == ours.header and theirs.metadata == ours.metadata
            assert (theirs.associated, theirs.quality) == (ours.associated, ours.quality)
            assert theirs.lossless == ours.lossless and theirs.pixels.dtype == ours.pixels.dtype
            np.testing.assert_array_equal(theirs.pixels, ours.pixels)
            np.testing.assert_array_equal(theirs.alpha, ours.alpha)
        assert decoder.inspect(content) == inspect(content)


def test_one_process_lives_through_bad_photos(decoder):
    next(decoder.pages(PHOTO))
    child = child_of(decoder).pid
    assert code_of(lambda: decoder.inspect(b"")) == "EMPTY"
    assert code_of(lambda: next(decoder.pages(PHOTO[:-20]))) == "TRUNCATED"
    assert code_of(lambda: decoder.inspect(PHOTO, max_megapixels=0.001)) == "TOO_LARGE"
    assert next(decoder.pages(PHOTO)).header.width == 40
    assert child_of(decoder).pid == child


def test_a_photo_left_half_read_does_not_disturb_the_next(decoder):
    pages = decoder.pages(pages_tiff(*[gray()] * 3))
    next(pages)
    assert next(decoder.pages(PHOTO)).header.format == "PNG"


def test_a_page_larger_than_the_first_gets_what_its_own_size_needs(decoder):
    ranged = [(340, "f", 1, 0.0, True), (341, "f", 1, 1.0, True)]
    small, large = np.zeros((20, 20), np.float32), np.zeros((5000, 6000), np.float32)
    content = pages_tiff(
        small, large, photometric="minisblack", compression="zlib", extratags=ranged
    )
    assert [photo.pixels.shape for photo in decoder.pages(content)] == [small.shape, large.shape]


def test_threads_may_share_a_decoder(decoder):
    results: list[tuple[int, int]] = []

    def work(width: int) -> None:
        content = saved(Image.new("L", (width, 8), width), "PNG")
        results.extend((width, decoder.inspect(content).width) for _ in range(5))

    threads = [threading.Thread(target=work, args=(width,)) for width in (11, 22)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(11, 11)] * 5 + [(22, 22)] * 5


def test_a_killed_process_costs_one_photo_at_most(decoder):
    pages = decoder.pages(pages_tiff(gray(), gray()))
    next(pages)
    child_of(decoder).send_signal(signal.SIGKILL)
    with pytest.raises(PhotoError, match="SIGKILL") as caught:
        next(pages)
    assert caught.value.code == "CRASHED"
    assert next(decoder.pages(PHOTO)).header.width == 40


def test_a_process_killed_between_two_photos_costs_none(decoder):
    next(decoder.pages(PHOTO))
    child = child_of(decoder)
    child.send_signal(signal.SIGKILL)
    while child.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert next(decoder.pages(PHOTO)).header.width == 40


def test_a_process_that_hangs_is_ended(decoder, monkeypatch):
    next(decoder.pages(PHOTO))
    child = child_of(decoder)
    monkeypatch.setattr(decoder_module, "_PATIENCE", 0.05)
    child.suspend()
    assert code_of(lambda: decoder.inspect(PHOTO)) == "TOO_SLOW"
    assert not child.is_running()
    monkeypatch.undo()
    assert next(decoder.pages(PHOTO)).header.width == 40


def scans() -> bytes:
    content = saved(Image.fromarray((gray(64, 64) >> 8).astype(np.uint8)), "JPEG", progressive=True)
    first = content.index(b"\xff\xda")
    return content[:first] + content[first:-2] * 1700 + b"\xff\xd9"


HUGE = {
    "png": png(60_000, 60_000, (b"IDAT", zlib.compress(bytes(9000)))),
    "tiff": tiff_header(60_000, 60_000, zlib.compress(bytes(9000))),
}
BOMBS = {
    "text": png(
        40,
        30,
        *[(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 << 20), 9))] * 8,
        (b"IDAT", zlib.compress(bytes(41 * 30))),
    ),
    "strip": tiff_header(40, 30, zlib.compress(bytes(1 << 30), 1)),
    "webp": b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\xff\xff\xff\x0f" + bytes(12),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_header_of_3600_megapixels_is_refused_at_once(decoder, name):
    decoder.inspect(PHOTO)
    started = time.monotonic()
    assert code_of(lambda: next(decoder.pages(HUGE[name]))) == "TOO_LARGE"
    assert time.monotonic() - started < 1


def test_a_jpeg_of_ten_thousand_scans_is_refused_unread(decoder):
    content = scans()
    assert content.count(b"\xff\xda") > 10_000
    started = time.monotonic()
    assert code_of(lambda: next(decoder.pages(content))) == "TOO_SLOW"
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_memory_of_ours(decoder, name):
    decoder.inspect(PHOTO)
    child, before = child_of(decoder), psutil.Process().memory_info().rss
    most = [0]

    def watch() -> None:
        while not done.wait(0.01):
            if child.is_running():
                most[0] = max(most[0], child.memory_info().rss)

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        photo = next(decoder.pages(BOMBS[name]))
        assert photo.pixels.shape == (30, 40)  # what the header says, and no more
    except PhotoError as error:
        assert error.code in ("OUT_OF_MEMORY", "DAMAGED", "TRUNCATED", "TOO_LARGE", "CRASHED")
    finally:
        done.set()
        watcher.join()
    assert psutil.Process().memory_info().rss - before < 64e6
    assert most[0] < 1.2e9
    assert next(decoder.pages(PHOTO)).header.width == 40


@pytest.mark.parametrize("kind", ["kept", "too much"])
def test_what_one_photo_took_is_not_missing_from_the_next_ones_share(kind, monkeypatch):
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):  # as Dask workers have them
        monkeypatch.setenv(name, str(1 << 29))
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((12000, 12000, 3), np.uint8)).save(buffer, "PNG", compress_level=1)
    small = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 99, 199)).save(small, "WEBP", lossless=True)
    own = Decoder()
    try:
        if kind == "kept":
            assert next(own.pages(buffer.getvalue())).pixels.shape == (12000, 12000, 3)
        else:
            assert code_of(lambda: own.inspect(BOMBS["text"])) in ("OUT_OF_MEMORY", "DAMAGED")
        for _ in range(3):
            assert next(own.pages(small.getvalue())).pixels[0, 0].tolist() == [9, 99, 199]
            assert next(own.pages(PHOTO)).header.width == 40
    finally:
        own.close()


def test_closing_leaves_no_process():
    own = Decoder()
    own.inspect(PHOTO)
    child = child_of(own)
    own.close()
    assert not child.is_running()
    own.close()


_PARENT = """
import sys, time
from storage.photos.decoder import Decoder
decoder = Decoder()
decoder.inspect(sys.stdin.buffer.read())
print(decoder._process.pid, flush=True)
time.sleep(60)
"""


def test_the_process_ends_with_its_parent():
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        parent.stdin.write(PHOTO)
        parent.stdin.close()
        child = psutil.Process(int(parent.stdout.readline()))
        child.suspend()  # as busy as a decoder can be
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    child.resume()
    deadline = time.monotonic() + 3
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the decoder outlives its parent"
        time.sleep(0.05)


DYING = """
import json, os, sys, time

def half_a_line(facts):
    os.write(answers, dumps(facts).encode()[:30])
    os._exit(0)

def no_json(facts):
    os.write(answers, b"Killed\\n")
    time.sleep(3600)

def other_facts(facts):
    return dumps({"header": {"width": 3}, "held": 0})

def part_of_the_pixels(facts):
    if "arrays" in facts:
        os.write(answers, dumps(facts).encode() + b"\\n" + b"abc")
        time.sleep(3600)
    return dumps(facts)

def pixels_without_end(facts):
    for form in facts.get("arrays", {}).values():
        form["dtype"] = "object"
    return dumps(facts)

if "storage.photos.decoder_process" in sys.orig_argv:
    answers, dumps = os.dup(1), json.dumps
    json.dumps = WAY
"""


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("half_a_line", "CRASHED"),
        ("no_json", "CRASHED"),
        ("other_facts", "CRASHED"),
        ("pixels_without_end", "CRASHED"),
        ("part_of_the_pixels", "TOO_SLOW"),
    ],
)
def test_what_a_broken_decoder_says_is_not_trusted(
    way: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DYING.replace("WAY", way))
    monkeypatch.syspath_prepend(str(tmp_path))
    if code == "TOO_SLOW":
        monkeypatch.setattr(decoder_module, "_PATIENCE", 1.0)
    decoder = Decoder()
    started = time.monotonic()
    assert code_of(lambda: next(decoder.pages(PHOTO))) == code
    assert time.monotonic() - started < 60
    assert decoder._process is None


def test_pages_of_two_photos_are_not_mixed(decoder):
    pages = decoder.pages(pages_tiff(gray(), gray()))
    next(pages)
    decoder.inspect(PHOTO)
    with pytest.raises(ValueError, match="before another one"):
        next(pages)


def test_what_a_worker_cannot_hold_is_refused_by_the_header_with_its_figure():
    big = imagecodecs.webp_encode(np.zeros((6000, 9000, 3), np.uint8), level=10, method=0)
    header = inspect(big)
    assert (header.width, header.height) == (9000, 6000), "its decoder makes room when it opens one"
    with pytest.raises(PhotoError, match=r"in 0\.5 GB, got 54 megapixels.*about 1\.0 GB") as caught:
        inspect(big, max_bytes=5e8)
    assert caught.value.code == "TOO_LARGE"


def test_a_format_that_takes_long_by_its_size_alone_is_not_to_be_all_but_empty():
    bomb = bytes(imagecodecs.jpeg2k_encode(np.zeros((3000, 3000), np.uint8), level=0))
    with pytest.raises(PhotoError, match="no photograph is that empty") as caught:
        inspect(bomb)
    assert caught.value.code == "TOO_LARGE"
