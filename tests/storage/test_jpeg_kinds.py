"""JPEG of other kinds: what imagecodecs writes of each is read at its depth, told by its frame."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from conftest import draw_photo
from PIL import Image

from storage.containers.segments import jpeg_segment
from storage.errors import PhotoError
from storage.formats import sniff
from storage.photos.encoding import output_format
from storage.photos.photo import decode

RGB = draw_photo(7)
GRAY = np.asarray(Image.fromarray(RGB).convert("L"))
DEEP = GRAY.astype(np.uint16) * 257
TWELVE = DEEP >> 4
FILES = {
    "JPEG-LS gray": ("JPEGLS", 8, GRAY, imagecodecs.jpegls_encode(GRAY)),
    "JPEG-LS RGB": ("JPEGLS", 8, RGB, imagecodecs.jpegls_encode(RGB)),
    "JPEG-LS 16 bit": ("JPEGLS", 16, DEEP, imagecodecs.jpegls_encode(DEEP)),
    "lossless 16 bit": ("LJPEG", 16, DEEP, imagecodecs.ljpeg_encode(DEEP, bitspersample=16)),
    "lossless 12 bit": ("LJPEG", 12, DEEP, imagecodecs.ljpeg_encode(TWELVE, bitspersample=12)),
    "JPEG 12 bit": (
        "JPEG12",
        12,
        DEEP,
        imagecodecs.jpeg8_encode(TWELVE, level=98, bitspersample=12),
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_each_kind_is_read_at_its_own_depth(kind: str) -> None:
    name, bits, pixels, content = FILES[kind]
    assert sniff(content) == name
    photo = decode(content)
    assert photo.header.bits == bits and photo.pixels.dtype == pixels.dtype
    assert photo.lossless == (name != "JPEG12")
    most = {"JPEG12": 900, "LJPEG": 16}.get(name, 0) if bits == 12 else 0
    assert np.abs(photo.pixels.astype(int) - pixels).max() <= most
    assert output_format(photo.header) == "PNG"


@pytest.mark.parametrize("kind", FILES)
def test_a_cut_one_is_truncated_or_damaged(kind: str) -> None:
    content = FILES[kind][3]
    for cut in (len(content) // 2, len(content) - 2):
        with pytest.raises(PhotoError) as caught:
            decode(content[:cut])
        assert caught.value.code == "TRUNCATED"


def test_its_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = FILES["JPEG-LS gray"][3]
    turned = content[:2] + jpeg_segment(0xE1, exif.tobytes()) + content[2:]
    np.testing.assert_array_equal(decode(turned).pixels, np.rot90(GRAY, -1))


@pytest.mark.parametrize(("marker", "kind"), [(0xC5, "hierarchical"), (0xCB, "arithmetic")])
def test_a_kind_that_is_not_read_is_named(marker: int, kind: str) -> None:
    content = FILES["lossless 16 bit"][3].replace(b"\xff\xc3", bytes([0xFF, marker]), 1)
    with pytest.raises(PhotoError, match=f"got .*{kind}") as caught:
        decode(content)
    assert caught.value.code == "UNSUPPORTED_FORMAT"
