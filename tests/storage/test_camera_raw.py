"""Camera raw is told by content for every maker, developed or refused, and never its preview taken."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import draw_photo

from storage import formats
from storage.camera_raw import camera_raw
from storage.errors import PhotoError
from storage.formats import sniff
from storage.photos.photo import decode
from storage.photos.samples import sample

CFA, NIKON_COMPRESSED = 32803, 34713
BODY = bytes(range(256)) * 8
OTHERS = {
    "Fujifilm RAF": b"FUJIFILMCCD-RAW 0201FF383501X-T1" + BODY,
    "Panasonic RW2": b"IIU\0\x18\0\0\0" + BODY,
    "Olympus ORF": b"IIRS\x08\0\0\0" + BODY,
    "Minolta MRW": b"\0MRM" + BODY,
    "Sigma X3F": b"FOVb" + BODY,
    "Canon CRW": b"II\x1a\0\0\0HEAPCCDR" + BODY,
    "Canon CR3": struct.pack(">I", 24) + b"ftypcrx \0\0\0\1crx isom" + BODY,
}
MAKES = {
    "Nikon NEF": ("NIKON CORPORATION", "NIKON D70"),
    "Nikon NRW": ("NIKON", "COOLPIX P6000"),
    "Sony ARW": ("SONY", "DSLR-A100"),
    "Pentax PEF": ("PENTAX Corporation", "PENTAX *ist D"),
    "Kodak DCR or KDC": ("EASTMAN KODAK COMPANY", "KODAK DC120"),
    "Hasselblad 3FR": ("Hasselblad", "H3D"),
    "Samsung SRW": ("SAMSUNG", "NX100"),
}


def structure(make: str, model: str, *, kind: int = CFA, compression: int = 1) -> bytes:
    """A preview of 160 × 120, and below it a directory that says it holds the sensor's pixels."""
    said: list[Any] = [(271, 2, 0, make, True), (272, 2, 0, model, True)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        options: dict[str, Any] = {"metadata": None, "subfiletype": 1, "subifds": 1}
        writer.write(draw_photo(1, 160, 120), photometric="rgb", extratags=said, **options)
        writer.write(
            np.arange(64 * 48, dtype=np.uint16).reshape(48, 64), photometric=kind, metadata=None
        )
    content = bytearray(file.getvalue())
    if compression != 1:
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            below: Any = tiff.pages[0].pages
            place = below[0].tags[259].valueoffset
        struct.pack_into("<H", content, place, compression)
    return bytes(content)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_container_of_its_own_is_told(kind: str) -> None:
    assert camera_raw(OTHERS[kind]) == kind and sniff(OTHERS[kind]) == "RAW"


@pytest.mark.parametrize("kind", MAKES)
def test_a_tiff_with_a_sensors_pixels_is_told(kind: str) -> None:
    content = structure(*MAKES[kind])
    assert camera_raw(content) == kind and sniff(content) == "RAW"


def test_nikons_own_compression_is_told() -> None:
    packed = structure("", "", kind=1, compression=NIKON_COMPRESSED)
    assert camera_raw(packed) == "of an unknown maker"


def test_a_scan_of_a_scanner_of_such_a_maker_is_a_tiff() -> None:
    said: list[Any] = [(271, 2, 0, "Nikon", True), (272, 2, 0, "LS-5000", True)]
    file = io.BytesIO()
    tifffile.imwrite(file, draw_photo(2)[..., 0], photometric="minisblack", extratags=said)
    assert camera_raw(file.getvalue()) == "" and sniff(file.getvalue()) == "TIFF"


def test_a_digital_negative_stays_one() -> None:
    assert camera_raw(sample("DNG")) == "" and sniff(sample("DNG")) == "DNG"


def test_without_the_package_the_maker_and_the_command_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(PhotoError, match=r"camera raw \(Nikon NEF\): pip install") as caught:
        decode(structure(*MAKES["Nikon NEF"]))
    assert caught.value.code == "CODEC_MISSING"


@pytest.mark.parametrize("kind", OTHERS)
def test_what_libraw_does_not_read_is_refused(kind: str) -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(PhotoError) as caught:
        decode(OTHERS[kind])
    assert caught.value.code == "UNSUPPORTED_FORMAT"
    assert kind in caught.value.detail and "<" not in caught.value.detail


def test_what_libraw_reads_is_developed_and_the_settings_are_said() -> None:
    pytest.importorskip("rawpy")
    photo = decode(sample("RAW"))
    assert photo.header.format == "RAW" and photo.pixels.dtype == np.uint16
    assert photo.pixels.shape == (24, 40, 3)
    assert photo.note.startswith("developed by LibRaw") and "white balance" in photo.note
