"""Small hostile photos and archives, drawn here byte by byte, and what must become of each.

The shapes are those of the corpus in ../shared/data/hostile, which the slow tests read.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from conftest import draw_photo
from PIL import Image

from storage.containers.segments import png_chunk
from storage.photos.samples import sample

DONE, IGNORED = "done", "ignored"
COLOUR = np.asarray(draw_photo(1, 64, 48))
GRAY = np.asarray(Image.fromarray(COLOUR).convert("L"))
_HUGE = 65_500
"""Pixels a side: more than any limit."""


def saved(pixels: np.ndarray | Image.Image, name: str, **options: Any) -> bytes:
    """A picture as a file of Pillow's."""
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _tiff(*pages: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in pages:
            writer.write(page, metadata=None, contiguous=False, **options)
    return buffer.getvalue()


def _cut(content: bytes, share: float = 0.5) -> bytes:
    return content[: int(len(content) * share)]


def _packed(layout: str, content: bytes, place: int, *values: int) -> bytes:
    """The same with these numbers, as struct packs them, at a place."""
    changed = bytearray(content)
    struct.pack_into(layout, changed, place, *values)
    return bytes(changed)


def _jpeg_of_size(height: int, width: int) -> bytes:
    content = saved(GRAY, "JPEG")
    return _packed(">HH", content, content.index(b"\xff\xc0") + 5, height, width)


def _jpeg_with(marker: int, data: bytes) -> bytes:
    """A JPEG with one more segment at its start."""
    content = saved(GRAY, "JPEG")
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + content[2:]


def _jpeg_with_exif(count: int, after: int) -> bytes:
    """count: of the first directory's entries, of which there is one; after: the next one's place."""
    entry = struct.pack("<HHII", 0x0131, 4, 1, 0)
    first = struct.pack("<H", count) + entry + struct.pack("<I", after)
    return _jpeg_with(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + first)


def _cmyk_without_marker() -> bytes:
    inks = np.dstack([np.zeros((*GRAY.shape, 3), np.uint8), 255 - GRAY])
    content = saved(Image.fromarray(inks, "CMYK"), "JPEG")
    start = content.index(b"\xff\xee")  # APP14, "Adobe"
    (size,) = struct.unpack_from(">H", content, start + 2)
    return content[:start] + content[start + 2 + size :]


def _jpeg_of_scans(num_scans: int) -> bytes:
    content = saved(GRAY, "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * num_scans + content[-2:]


def _png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">II5B", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _png_with_bad_crc() -> bytes:
    content = saved(GRAY, "PNG")
    place = content.index(b"IDAT") + 30
    return _packed("B", content, place, content[place] ^ 4)


def _tag_place(content: bytes, code: int) -> int:
    """Where a little-endian TIFF's first directory has the value of a tag."""
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    places = (start + 2 + 12 * number for number in range(count))
    return next(p for p in places if struct.unpack_from("<H", content, p)[0] == code) + 8


def _tiff_with(code: int, value: int) -> bytes:
    content = _tiff(GRAY)
    return _packed("<I", content, _tag_place(content, code), value)


def _tiff_in_a_circle(num_pages: int) -> bytes:
    """The last page's directory names the first as the next one."""
    content = _tiff(*[GRAY] * num_pages)
    (first,) = (place,) = struct.unpack_from("<I", content, 4)
    for _ in range(num_pages):
        end = place + 2 + 12 * struct.unpack_from("<H", content, place)[0]
        (place,) = struct.unpack_from("<I", content, end)
    return _packed("<I", content, end, first)


def _moving(name: str) -> bytes:
    frames = [Image.fromarray(np.roll(GRAY, 9 * n, axis=1)) for n in range(3)]
    return saved(frames[0], name, save_all=True, append_images=frames[1:])


def _jxl_in_large_boxes() -> bytes:
    stream = bytes(imagecodecs.jpegxl_encode(GRAY, lossless=True, usecontainer=False))
    start = b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I", 20) + b"ftypjxl \0\0\0\0jxl "
    return start + struct.pack(">I4sQ", 1, b"jxlc", 16 + len(stream)) + stream


def _extremes() -> np.ndarray:
    """16 bits: black beside white, and the codes next to them."""
    return np.tile(np.array([[0, 65535], [1, 65534]], np.uint16), (24, 32))


_PHOTOS: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg/cut.jpg": (lambda: _cut(saved(GRAY, "JPEG")), "TRUNCATED"),
    "jpeg/start only.jpg": (lambda: b"\xff\xd8", "NOT_A_PHOTO"),
    "jpeg/huge.jpg": (lambda: _jpeg_of_size(_HUGE, _HUGE), "TOO_LARGE"),
    "jpeg/many scans.jpg": (lambda: _jpeg_of_scans(300), "TOO_SLOW"),
    "jpeg/exif of 65535 entries.jpg": (lambda: _jpeg_with_exif(65535, 0), DONE),
    "jpeg/exif in a circle.jpg": (lambda: _jpeg_with_exif(1, 8), DONE),
    "jpeg/profile of noise.jpg": (
        lambda: _jpeg_with(0xE2, b"ICC_PROFILE\0\1\1" + bytes(range(200))),
        DONE,
    ),
    "jpeg/cmyk without marker.jpg": (_cmyk_without_marker, DONE),
    "jpeg/web page.jpg": (lambda: b"<!DOCTYPE html><title>404</title>", "NOT_A_PHOTO"),
    "jpeg/empty.jpg": (lambda: b"", "EMPTY"),
    "jpeg/is a png.jpg": (lambda: saved(GRAY, "PNG"), DONE),
    "png/cut.png": (lambda: _cut(saved(GRAY, "PNG")), "TRUNCATED"),
    "png/bad crc.png": (_png_with_bad_crc, "DAMAGED"),
    "png/huge.png": (lambda: _png_of_size(_HUGE, _HUGE), "TOO_LARGE"),
    "png/rows missing.png": (lambda: _png_of_size(64, 48), "TRUNCATED"),
    "png/one line.png": (lambda: saved(GRAY[:1], "PNG"), "TOO_SMALL"),
    "png/alpha.png": (lambda: saved(np.dstack([GRAY, GRAY[::-1]]), "PNG"), DONE),
    "png/extremes.png": (lambda: saved(_extremes(), "PNG"), DONE),
    "png/moving.png": (lambda: _moving("PNG"), "ANIMATED"),
    "png/bilevel.png": (lambda: saved(Image.fromarray(GRAY).convert("1"), "PNG"), "BILEVEL"),
    "png/colour.png": (lambda: saved(COLOUR, "PNG"), "ALREADY_COLOR"),
    "png/text with a mark.png": (lambda: "Dear Sir".encode("utf-16"), "NOT_A_PHOTO"),
    "tiff/cut.tif": (lambda: _cut(_tiff(GRAY), 0.9), "TRUNCATED"),
    "tiff/strip outside.tif": (lambda: _tiff_with(273, 1 << 30), "TRUNCATED"),
    "tiff/strip too long.tif": (lambda: _tiff_with(279, 1 << 30), "TRUNCATED"),
    "tiff/huge.tif": (lambda: _tiff_with(257, 1 << 30), "TOO_LARGE"),
    "tiff/circle of one.tif": (lambda: _tiff_in_a_circle(1), "DAMAGED"),
    "tiff/circle of two.tif": (lambda: _tiff_in_a_circle(2), "DAMAGED"),
    "tiff/directory outside.tif": (lambda: b"II*\0\xf0\xff\xff\xff" + bytes(99), "TRUNCATED"),
    "tiff/pages cut.tif": (lambda: _cut(_tiff(*[GRAY] * 4), 0.6), "TRUNCATED"),
    "tiff/no range.tif": (lambda: _tiff(GRAY.astype(np.float32)), "RANGE"),
    "tiff/extremes.tif": (lambda: _tiff(_extremes()), DONE),
    "tiff/photoshop.tif": (lambda: b"8BPS\0\1" + bytes(99), "UNSUPPORTED_FORMAT"),
    "other/cut.webp": (lambda: _cut(saved(GRAY, "WEBP")), "TRUNCATED"),
    "other/moving.webp": (lambda: _moving("WEBP"), "ANIMATED"),
    "other/cut.gif": (lambda: _cut(saved(GRAY, "GIF"), 0.8), "TRUNCATED"),
    "other/huge.gif": (lambda: _packed("<HH", saved(GRAY, "GIF"), 6, _HUGE, _HUGE), "TOO_LARGE"),
    "other/moving.gif": (lambda: _moving("GIF"), "ANIMATED"),
    "other/cut.heic": (lambda: _cut(sample("HEIF")), "TRUNCATED"),
    "other/cut.jxl": (lambda: _cut(_jxl_in_large_boxes()), "TRUNCATED"),
    "other/large boxes.jxl": (_jxl_in_large_boxes, DONE),
    "other/no samples.pgm": (lambda: b"P5 %d %d 255\n" % (_HUGE, _HUGE), "TOO_LARGE"),
    "names/\x1b[31mline\nbreak.png": (lambda: saved(GRAY, "PNG"), DONE),
    "names/bidi\u202egnp.png": (lambda: saved(GRAY, "PNG"), DONE),
    "names/latin\udcff.png": (lambda: saved(GRAY, "PNG"), DONE),
    "text/notes.txt": (lambda: b"\xef\xbb\xbfFound in the attic.", IGNORED),
    "text/photos.zip": (lambda: b"PK\5\6" + bytes(18), "NESTED_ARCHIVE"),
}
"""Path → content, and what colorize makes of it."""


def write_photos(folder: Path) -> dict[str, str]:
    """Write them all, a pipe, links to nothing and a file that may not be read.

    Returns path → done, ignored or the code.
    """
    for path, (content, _) in _PHOTOS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content())
    os.mkfifo(folder / "names/pipe.jpg")
    (folder / "names/nowhere.jpg").symlink_to("not there.jpg")
    (folder / "names/loop.jpg").symlink_to("loop.jpg")
    outcomes = {path: outcome for path, (_, outcome) in _PHOTOS.items()}
    outcomes |= dict.fromkeys(
        ("names/pipe.jpg", "names/nowhere.jpg", "names/loop.jpg"), "NOT_REGULAR"
    )
    if os.geteuid():  # root may read all
        locked = folder / "names/locked.png"
        locked.write_bytes(saved(GRAY, "PNG"))
        locked.chmod(0)
        outcomes["names/locked.png"] = "UNREADABLE"
    return outcomes


def write_zip(path: Path) -> dict[str, str]:
    """A zip of one good photo among members that are not to be read. Returns what becomes of each."""
    content = saved(COLOUR, "PNG")
    names = ["good.png", "NAMELESS", "/root.png", "../above.png", "bad crc.png", "secret.png"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"bad crc.png") + 200] ^= 4
    start = packed.rindex(b"secret.png") - 46
    packed[start + 8] |= 1  # APPNOTE 4.4.4: encrypted
    nameless = packed.rindex(b"NAMELESS") - 46
    struct.pack_into("<H", packed, nameless + 28, 0)
    struct.pack_into("<H", packed, nameless + 30, len("NAMELESS"))  # its name is an extra field
    path.write_bytes(packed)
    unsafe = dict.fromkeys((".", "/root.png", "../above.png"), "UNSAFE_NAME")
    return {
        "good.png": DONE,
        **unsafe,
        "bad crc.png": "ARCHIVE_DAMAGED",
        "secret.png": "ENCRYPTED",
    }


def write_tar(path: Path, *, cut: bool, packed: bool) -> dict[str, str]:
    """Two photos; cut: the second one ends too early; packed: by gzip, whatever the name."""
    buffer, names = io.BytesIO(), ["one.png", "two.png"]
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for seed, name in enumerate(names):
            content = saved(draw_photo(20 + seed, 64, 48), "PNG")
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()[: info.offset_data + 999 if cut else None]
    path.write_bytes(gzip.compress(content) if packed else content)
    return {"one.png": DONE, ".": "ARCHIVE_DAMAGED"} if cut else dict.fromkeys(names, DONE)
