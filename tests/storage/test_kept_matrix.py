"""Format × depth × what a photo says of itself: kept in the output, or named as lost. None silently.

docs/formats.md prints what is kept as `storage.formats` has it; here it is measured on real files.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from test_formats import Outcome
from test_metadata import IPTC, RESOURCES
from test_profiles import gray_profile

from colorization.colour.lab import linear_to_srgb
from storage.containers.segments import JPEGXL_START, iso_box, jpeg_segment
from storage.formats import FORMATS, sniff
from storage.metadata.extraction import read_metadata
from storage.photos.codec import SWAPS_SIDES
from storage.photos.photo import decode
from storage.records.item_record import OutputFacts

HEIGHT, WIDTH = 40, 56
WORD = "Kept Word"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:source>Kept Word</dc:source>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
PARTS = ("ICC", "EXIF", "IPTC", "XMP")
JP2_UUIDS = {
    "EXIF": b"JpgTiffExif->JP2",
    "XMP": bytes.fromhex("be7acfcb97a942e89c71999491e3afac"),
    "IPTC": bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"),
}


@dataclass(frozen=True)
class Drawn:
    """What a drawn file holds beside its pixels."""

    icc: bytes = b""
    exif: bytes = b""
    iptc: bytes = b""
    xmp: bytes = b""


@cache
def exif(orientation: int = 0) -> bytes:
    found = Image.Exif()
    if orientation:
        found[0x0112] = orientation
    else:
        found[0x013B] = WORD  # Artist
    return found.tobytes()


def drawn(part: str) -> Drawn:
    return {
        "ICC": Drawn(icc=gray_profile(1.0)),
        "EXIF": Drawn(exif=exif()),
        "IPTC": Drawn(iptc=IPTC),
        "XMP": Drawn(xmp=XMP),
    }[part]


def gray(depth: int) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    levels = ((x * 3 + y * 2) % 200 + 20).astype(np.uint16)
    return levels.astype(np.uint8) if depth == 8 else levels * 257


def saved(pixels: np.ndarray, name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **{k: v for k, v in options.items() if v})
    return file.getvalue()


def with_segments(content: bytes, part: Drawn) -> bytes:
    added = jpeg_segment(0xE1, part.exif) if part.exif else b""
    if part.xmp:
        added += jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + part.xmp)
    if part.icc:
        added += jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + part.icc)
    if part.iptc:
        added += jpeg_segment(0xED, b"Photoshop 3.0\0" + RESOURCES)
    return content[:2] + added + content[2:]


def jpeg(pixels: np.ndarray, part: Drawn) -> bytes:
    return with_segments(saved(pixels, "JPEG", quality=95), part)


def jpegls(pixels: np.ndarray, part: Drawn) -> bytes:
    return with_segments(bytes(imagecodecs.jpegls_encode(pixels)), part)


def ljpeg(pixels: np.ndarray, part: Drawn) -> bytes:
    return with_segments(bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=16)), part)


def jpeg12(pixels: np.ndarray, part: Drawn) -> bytes:
    encoded = imagecodecs.jpeg8_encode(pixels >> 4, level=95, bitspersample=12)
    return with_segments(bytes(encoded), part)


def png(pixels: np.ndarray, part: Drawn) -> bytes:
    info = PngImagePlugin.PngInfo()
    if part.xmp:
        info.add_itxt("XML:com.adobe.xmp", part.xmp.decode())
    if part.iptc:
        info.add_text("Raw profile type iptc", f"\niptc\n{len(RESOURCES)}\n{RESOURCES.hex()}\n")
    return saved(pixels, "PNG", exif=part.exif, icc_profile=part.icc, pnginfo=info)


def tiff(pixels: np.ndarray, part: Drawn) -> bytes:
    extra: list[Any] = []
    if part.exif:
        said = Image.Exif()
        said.load(part.exif)
        kinds = {0x0112: (3, 1), 0x013B: (2, 0)}
        extra += [(tag, *kinds[tag], value, True) for tag, value in said.items()]
    for tag, data in ((700, part.xmp), (33723, part.iptc)):
        extra += [(tag, 7, len(data), data, True)] if data else []
    file = io.BytesIO()
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(file, pixels, extratags=extra, iccprofile=part.icc or None, **options)
    return file.getvalue()


def webp(pixels: np.ndarray, part: Drawn) -> bytes:
    rgb = np.repeat(pixels[..., None], 3, axis=2)
    icc = bytes(imagecodecs.cms_profile("adobergb")) if part.icc else b""  # it holds RGB only
    return saved(rgb, "WEBP", lossless=True, exif=part.exif, xmp=part.xmp, icc_profile=icc)


def avif(pixels: np.ndarray, part: Drawn) -> bytes:
    options = {"exif": part.exif, "xmp": part.xmp, "icc_profile": part.icc}
    return saved(pixels, "AVIF", quality=95, **options)


def bmp(pixels: np.ndarray, part: Drawn) -> bytes:
    content = saved(pixels, "BMP")
    if not part.icc:
        return content
    start = struct.unpack_from("<I", content, 10)[0]
    head = bytearray(content[14:54].ljust(124, b"\0"))
    head[0:4], head[56:60] = struct.pack("<I", 124), b"DEBM"
    body = content[54:]  # palette and pixels
    struct.pack_into("<II", head, 112, 124 + len(body), len(part.icc))
    size = 14 + 124 + len(body) + len(part.icc)
    return struct.pack("<2sIHHI", b"BM", size, 0, 0, start + 84) + bytes(head) + body + part.icc


def gif(pixels: np.ndarray, part: Drawn) -> bytes:
    content = saved(pixels, "GIF")
    added = b""
    if part.xmp:
        trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
        added += b"\x21\xff\x0bXMP DataXMP" + part.xmp + trailer
    if part.icc:
        blocks = [part.icc[i : i + 255] for i in range(0, len(part.icc), 255)]
        data = b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
        added += b"\x21\xff\x0bICCRGBG1012" + data
    place = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    return content[:place] + added + content[place:]


def ppm(pixels: np.ndarray, part: Drawn) -> bytes:
    top = np.iinfo(pixels.dtype).max
    samples = pixels.astype(f">u{pixels.itemsize}").tobytes()
    return b"P5\n%d %d\n%d\n" % (WIDTH, HEIGHT, top) + samples


def jpeg2000(pixels: np.ndarray, part: Drawn) -> bytes:
    content = bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2"))
    said = {"EXIF": part.exif.removeprefix(b"Exif\0\0"), "XMP": part.xmp, "IPTC": part.iptc}
    boxes = b"".join(iso_box(b"uuid", JP2_UUIDS[k] + v) for k, v in said.items() if v)
    if part.icc:
        old = content.index(b"colr") - 4
        size = int.from_bytes(content[old : old + 4], "big")
        colr = iso_box(b"colr", b"\2\0\0" + part.icc)
        head = content.index(b"jp2h") - 4
        told = int.from_bytes(content[head : head + 4], "big") + len(colr) - size
        content = (
            content[:head]
            + told.to_bytes(4, "big")
            + content[head + 4 : old]
            + colr
            + content[old + size :]
        )
    place = content.index(b"jp2c") - 4
    return content[:place] + boxes + content[place:]


def jxl(pixels: np.ndarray, part: Drawn) -> bytes:
    stream = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=False))
    boxed = stream.startswith(JPEGXL_START)  # 16 bits want one
    boxes = iso_box(b"Exif", bytes(4) + part.exif.removeprefix(b"Exif\0\0")) if part.exif else b""
    boxes += iso_box(b"xml ", part.xmp) if part.xmp else b""
    if not boxes:
        return stream
    if boxed:
        place = stream.index(b"jxlc") - 4
        return stream[:place] + boxes + stream[place:]
    start = JPEGXL_START + b"\r\n\x87\n" + iso_box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return start + boxes + iso_box(b"jxlc", stream)


MAKERS: dict[str, tuple[Callable[[np.ndarray, Drawn], bytes], str, tuple[int, ...]]] = {
    "JPEG": (jpeg, ".jpg", (8,)),
    "PNG": (png, ".png", (8, 16)),
    "TIFF": (tiff, ".tif", (8, 16)),
    "WEBP": (webp, ".webp", (8,)),
    "BMP": (bmp, ".bmp", (8,)),
    "GIF": (gif, ".gif", (8,)),
    "PPM": (ppm, ".pgm", (8, 16)),
    "JPEG2000": (jpeg2000, ".jp2", (8, 16)),
    "JXL": (jxl, ".jxl", (8, 16)),
    "AVIF": (avif, ".avif", (8,)),
    "JPEGLS": (jpegls, ".jls", (8, 16)),
    "LJPEG": (ljpeg, ".ljpg", (16,)),
    "JPEG12": (jpeg12, ".jpg", (16,)),
}
HAS_NO = {
    "BMP": {"EXIF", "IPTC", "XMP"},
    "GIF": {"EXIF", "IPTC"},
    "PPM": set(PARTS),
    "JXL": {"IPTC", "ICC"},
    "AVIF": {"IPTC"},
    "WEBP": {"IPTC"},
}
"""What a format has no place for, or what no encoder here puts into it."""
TURNED = {"JPEG", "PNG", "TIFF", "WEBP", "JPEGLS", "LJPEG", "JPEG12"}
"""Formats whose orientation is EXIF's or a tag of their own."""


def said(outcome: Outcome, name: str) -> bytes:
    """All that the output and its sidecar say."""
    path = outcome.path(name)
    beside = path.with_name(path.name + ".xmp")
    content = path.read_bytes()
    found = read_metadata(sniff(content), content)
    return found.exif + found.iptc + found.xmp + (beside.read_bytes() if beside.exists() else b"")


@pytest.mark.parametrize("name", MAKERS)
def test_every_part_is_kept_or_named_as_lost(name: str, tmp_path: Path) -> None:
    make, suffix, depths = MAKERS[name]
    parts = [part for part in PARTS if part not in HAS_NO.get(name, set())]
    files = {
        f"{part} {depth}{suffix}": make(gray(depth), drawn(part))
        for depth in depths
        for part in parts
    }
    files |= {f"plain {depth}{suffix}": make(gray(depth), Drawn()) for depth in depths}
    outcome = Outcome(tmp_path, files)
    assert not outcome.codes
    kept = set()
    for depth in depths:
        plain = decode(files[f"plain {depth}{suffix}"]).pixels.astype(int)
        for part in parts:
            file = f"{part} {depth}{suffix}"
            facts = OutputFacts.from_dict(outcome.facts[file])
            if part == "ICC":
                if name not in ("JPEG", "WEBP", "AVIF", "JPEG12"):
                    linear = decode(files[file]).pixels / 65535
                    by_hand = linear_to_srgb(gray(depth) / np.iinfo(gray(depth).dtype).max)
                    assert np.abs(linear - by_hand).max() < 0.005 or name == "GIF"
                is_kept = np.abs(decode(files[file]).pixels.astype(int) - plain).max() > 3
            else:
                word = b"market" if part == "IPTC" else WORD.encode()
                is_kept = word in said(outcome, file)
            named = any(line.startswith("ICC" if part == "ICC" else part) for line in facts.lost)
            assert is_kept or named, f"{file}: neither kept nor lost: {facts.lost}"
            kept |= {part} if is_kept else set()
            assert facts.bits == (8 if depth == 8 or name == "JPEG" else 16)
    assert kept == set(FORMATS[name].keeps), "as docs/formats.md says"


@pytest.mark.parametrize("name", sorted(TURNED))
def test_all_eight_orientations_come_upright(name: str, tmp_path: Path) -> None:
    make, suffix, depths = MAKERS[name]
    files = {f"{o}{suffix}": make(gray(depths[-1]), Drawn(exif=exif(o))) for o in range(1, 9)}
    outcome = Outcome(tmp_path, files)
    first = decode(files[f"1{suffix}"]).pixels
    for o in range(1, 9):
        photo = decode(files[f"{o}{suffix}"])
        turned = {
            1: first, 2: first[:, ::-1], 3: first[::-1, ::-1], 4: first[::-1], 5: first.T,
            6: first[::-1].T, 7: first[::-1, ::-1].T, 8: first[:, ::-1].T,
        } if first.ndim == 2 else None  # fmt: skip
        if turned is not None:
            assert np.array_equal(photo.pixels, turned[o]), o
        assert photo.pixels.shape[:2] == ((WIDTH, HEIGHT) if o in SWAPS_SIDES else (HEIGHT, WIDTH))
        output = decode(outcome.path(f"{o}{suffix}").read_bytes())
        assert output.header.orientation == 1 and output.pixels.shape[:2] == photo.pixels.shape[:2]


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG2000", "JXL", "AVIF"])
def test_alpha_is_carried_over(name: str, tmp_path: Path) -> None:
    opacity = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    rgba = np.dstack([gray(8)] * 3 + [opacity])
    suffix = MAKERS[name][1]
    content = {
        "PNG": lambda: saved(rgba, "PNG"),
        "TIFF": lambda: _tiff_with_alpha(rgba),
        "WEBP": lambda: saved(rgba, "WEBP", lossless=True, exact=True),
        "JPEG2000": lambda: bytes(imagecodecs.jpeg2k_encode(rgba, level=0)),
        "JXL": lambda: bytes(imagecodecs.jpegxl_encode(rgba, lossless=True)),
        "AVIF": lambda: saved(rgba, "AVIF", quality=95),
    }[name]()
    outcome = Outcome(tmp_path, {f"a{suffix}": content})
    found, given = decode(outcome.path(f"a{suffix}").read_bytes()).alpha, decode(content).alpha
    assert found is not None and given is not None and np.array_equal(found, given)


@pytest.mark.parametrize("name", ["PNG", "WEBP", "GIF", "AVIF"])
def test_further_frames_are_a_reason_and_further_pages_are_kept(name: str, tmp_path: Path) -> None:
    file, other = io.BytesIO(), Image.fromarray(gray(8)[::-1].copy())
    Image.fromarray(gray(8)).save(file, name, save_all=True, append_images=[other], duration=100)
    outcome = Outcome(tmp_path, {f"a{MAKERS[name][1]}": file.getvalue()})
    assert set(outcome.codes.values()) == {"ANIMATED"}


def _tiff_with_alpha(rgba: np.ndarray) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, rgba, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    return file.getvalue()


def test_the_profile_that_is_drawn_is_one() -> None:
    assert ImageCms.ImageCmsProfile(io.BytesIO(gray_profile(1.0))).profile.xcolor_space == "GRAY"
