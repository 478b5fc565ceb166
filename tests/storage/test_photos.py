"""Real photo files: pixels, alpha, orientation, and damage."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import draw_photo
from PIL import Image, ImageOps

from storage.containers.segments import png_chunk
from storage.errors import PhotoError
from storage.photos.photo import decode, decode_pages, inspect
from storage.photos.samples import sample


def gray_pixels(dtype: type, height: int = 37, width: int = 53) -> np.ndarray:
    peak = np.iinfo(dtype).max
    return np.linspace(0, peak, height * width).reshape(height, width).astype(dtype)


def saved(image: Image.Image, name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def as_tiff(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_photos_keep_their_code_values(name, dtype):
    gray = gray_pixels(dtype)
    content = saved(Image.fromarray(gray), "PNG") if name == "PNG" else as_tiff(gray)
    photo = decode(content)
    assert photo.pixels.dtype == dtype
    np.testing.assert_array_equal(photo.pixels, gray)
    assert photo.header.mode == ("L" if dtype == np.uint8 else photo.header.mode)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_min_is_white_tiff_is_inverted(dtype):
    gray = gray_pixels(dtype)
    content = as_tiff(np.iinfo(dtype).max - gray, photometric="miniswhite")
    np.testing.assert_array_equal(decode(content).pixels, gray)


def test_a_bilevel_min_is_white_tiff_shows_ink_black():
    ink = gray_pixels(np.uint8, 16, 24) > 128
    photo = decode(as_tiff(ink, photometric="miniswhite"))
    np.testing.assert_array_equal(photo.pixels, np.where(ink, 0, 255))


def test_sixteen_bit_colour_tiff_of_separate_planes_is_channels_last():
    rgb = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
    content = as_tiff(np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode(content).pixels, rgb)


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_alpha_is_apart_from_the_pixels(name):
    rgba = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    content = (
        saved(Image.fromarray(rgba), "PNG")
        if name == "PNG"
        else as_tiff(rgba, photometric="rgb", extrasamples=["unassalpha"])
    )
    photo = decode(content)
    np.testing.assert_array_equal(np.dstack([photo.pixels, photo.alpha]), rgba)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation):
    image = Image.fromarray(gray_pixels(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(image, "PNG", exif=exif)
    with Image.open(io.BytesIO(content)) as reread:
        expected = np.asarray(ImageOps.exif_transpose(reread))
    photo = decode(content)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert (photo.header.height, photo.header.width) == expected.shape


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_of_tiff_is_applied(orientation):
    turns = {3: 2, 6: 3, 8: 1}[orientation]
    gray = gray_pixels(np.uint8)
    photo = decode(as_tiff(gray, extratags=[(274, "H", 1, orientation, True)]))
    np.testing.assert_array_equal(photo.pixels, np.rot90(gray, turns))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "EMPTY"),
        (b"Dear Sir,\n", "NOT_A_PHOTO"),
        (b"RIFF\0\0\0\0WAVEfmt ", "NOT_A_PHOTO"),
        (b"8BPS" + bytes(20), "UNSUPPORTED_FORMAT"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "UNSUPPORTED_FORMAT"),
        (b"%PDF-1.7\n", "UNSUPPORTED_FORMAT"),
        (b"GIF89a" + bytes(20), "DAMAGED"),
    ],
)
def test_what_is_no_photo_has_its_code(content, code):
    assert code_of(content) == code


def code_of(content: bytes, **options) -> str:
    """Of the error that both inspecting and decoding give."""
    with pytest.raises(PhotoError) as caught:
        decode(content, **options)
    return caught.value.code


LOSSLESS = {
    "TIFF": lambda p: as_tiff(p),
    "TIFF-zlib": lambda p: as_tiff(p, compression="zlib"),
    "TIFF-tiles": lambda p: as_tiff(p, tile=(32, 32), compression="lzw"),
    "JXL": lambda p: bytes(imagecodecs.jpegxl_encode(p, lossless=True)),
    "JPEG2000": lambda p: bytes(imagecodecs.jpeg2k_encode(p, level=0)),
    "PPM": lambda p: saved(Image.fromarray(p), "PPM"),
    "PPM16": lambda p: b"P6 160 120 65535\n" + (p.astype(">u2") * 257).tobytes(),
    "GIF": lambda p: saved(Image.fromarray(p[..., 0]), "GIF"),
}


def noisy(name: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    make = LOSSLESS.get(name)
    return make(pixels) if make else saved(Image.fromarray(pixels), name)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "AVIF", *LOSSLESS])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.95, 0.999])
def test_a_file_cut_short_is_truncated_or_damaged(name, share):
    content = noisy(name)
    assert code_of(content[: int(len(content) * share)]) in ("TRUNCATED", "DAMAGED")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "AVIF", *LOSSLESS])
def test_the_whole_file_is_neither(name):
    assert decode(noisy(name)).pixels.shape[:2] == (120, 160)


def test_a_heic_cut_short_is_truncated_or_damaged():
    content = sample("HEIF")
    assert decode(content).pixels.shape[:2] == (64, 64)
    assert code_of(content[: len(content) // 2]) in ("TRUNCATED", "DAMAGED")


def test_a_progressive_jpeg_that_ends_between_scans_is_truncated():
    content = saved(Image.fromarray(gray_pixels(np.uint8)), "JPEG", progressive=True)
    last_scan = content.rindex(b"\xff\xda")
    assert code_of(content[:last_scan]) == "TRUNCATED"


def test_a_flipped_bit_in_a_png_is_damage():
    content = bytearray(noisy("PNG"))
    content[len(content) // 2] ^= 4
    assert code_of(bytes(content)) == "DAMAGED"


def test_a_loop_of_pages_is_damage():
    content = bytearray(as_tiff(gray_pixels(np.uint8)))
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * count, start)
    assert code_of(bytes(content)) == "DAMAGED"


FOUR = [np.roll(gray_pixels(np.uint8, 24, 32), step) for step in range(4)]


def by_pillow() -> bytes:
    """As libtiff writes: each directory behind its page's data."""
    first, *others = map(Image.fromarray, FOUR)
    return saved(first, "TIFF", save_all=True, append_images=others, compression="tiff_lzw")


def by_tifffile(**options: Any) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=options.pop("bigtiff", False)) as writer:
        for page in FOUR:
            writer.write(page, compression="lzw", photometric="minisblack", **options)
    return buffer.getvalue()


WRITERS = {
    "Pillow": by_pillow,
    "tifffile": by_tifffile,
    "tifffile, strips": lambda: by_tifffile(rowsperstrip=5, metadata=None),
    "tifffile, big": lambda: by_tifffile(bigtiff=True),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_pages_cut_anywhere_are_never_fewer_without_a_word(writer):
    content = WRITERS[writer]()
    assert len(list(decode_pages(content))) == 4
    salvaged = set()
    for end in range(8, len(content), 7):
        cut = content[:end]
        try:
            assert len(list(decode_pages(cut))) == 4, "what is missing are spare bytes at the end"
            continue
        except PhotoError as error:
            assert error.code == "TRUNCATED"
            told = re.search(r"; (\d) pages? can be read: --salvage", error.detail)
        try:
            pages = list(decode_pages(cut, salvage=True))
        except PhotoError as error:
            assert (error.code, told) == ("TRUNCATED", None), end
            continue
        assert told and int(told[1]) == len(pages) and inspect(cut, salvage=True).cut
        for page, whole in zip(pages, FOUR, strict=False):
            np.testing.assert_array_equal(page.pixels, whole)
        salvaged.add(len(pages))
    assert salvaged - {4} == {1, 2, 3}, "4: all but the last pointer"


def test_a_tiff_cut_in_its_first_directory_is_truncated():
    content = saved(Image.fromarray(FOUR[0]), "TIFF", compression="tiff_lzw")
    (start,) = struct.unpack_from("<I", content, 4)
    for end in range(start, len(content) - 12):
        assert code_of(content[:end]) == "TRUNCATED"


def test_a_tiff_of_20000_directories_is_no_loop():
    pointers = struct.Struct("<HHHIIHHIII")
    content = bytearray(b"II*\0" + struct.pack("<I", 8))
    for number in range(20_000):
        following = 8 + (number + 1) * pointers.size if number < 19_999 else 0
        content += pointers.pack(2, 256, 3, 1, 1, 257, 3, 1, 1, following)
    with pytest.raises(PhotoError, match="at most 10000 pages") as caught:
        inspect(bytes(content))
    assert caught.value.code == "TOO_LARGE"


def test_a_directory_of_nothing_is_damage():
    content = bytearray(by_tifffile())
    place = 4
    for _ in range(2):
        (start,) = struct.unpack_from("<I", content, place)
        place = start + 2 + 12 * struct.unpack_from("<H", content, start)[0]
    struct.pack_into("<I", content, place, len(content))
    assert code_of(bytes(content) + bytes(64)) == "DAMAGED"


@pytest.mark.parametrize("big", [False, True])
def test_a_chain_of_pages_that_leaves_the_file_is_taken_for_a_cut(big):
    content = bytearray(as_tiff(gray_pixels(np.uint8), bigtiff=big))
    pointer, number, place, entry = ("<Q", "<Q", 8, 20) if big else ("<I", "<H", 4, 12)
    (start,) = struct.unpack_from(pointer, content, place)
    (count,) = struct.unpack_from(number, content, start)
    end = start + struct.calcsize(number) + entry * count
    struct.pack_into(pointer, content, end, len(content) + 99)
    assert code_of(bytes(content)) == "TRUNCATED"
    (photo,) = decode_pages(bytes(content), salvage=True)
    assert photo.header.num_pages == 1
    np.testing.assert_array_equal(photo.pixels, gray_pixels(np.uint8))
    struct.pack_into(pointer, content, end, len(content))
    with pytest.raises(PhotoError, match="at most 4096 entries, got (65535|18446744073709551615)"):
        decode(bytes(content) + b"\xff" * 16)


TWELVE = gray_pixels(np.uint16) >> 4
FIVE = gray_pixels(np.uint8) >> 3
DECLARED = {
    "SMax": (TWELVE, [(340, "H", 1, 0, True), (341, "H", 1, 4095, True)]),
    "SMax alone": (TWELVE, [(341, "H", 1, 4095, True)]),
    "Max": (TWELVE, [(280, "H", 1, 0, True), (281, "H", 1, 4095, True)]),
    "SMin above 0": (TWELVE + 1000, [(340, "H", 1, 1000, True), (341, "H", 1, 5095, True)]),
    "8 bit, SMax": (FIVE, [(340, "B", 1, 0, True), (341, "B", 1, 31, True)]),
    "8 bit, Max": (FIVE, [(281, "H", 1, 31, True)]),
}


def whole_range(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * (np.iinfo(pixels.dtype).max / pixels.max())).astype(pixels.dtype)


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("name", DECLARED)
def test_a_declared_range_says_what_is_black_and_white(name, white):
    pixels, tags = DECLARED[name]
    shown = whole_range(pixels - pixels.min())
    photometric = "miniswhite" if white else "minisblack"
    photo = decode(as_tiff(pixels, photometric=photometric, extratags=tags))
    wanted = np.iinfo(pixels.dtype).max - shown if white else shown
    np.testing.assert_array_equal(photo.pixels, wanted)
    assert photo.note == "" and photo.pixels.dtype == pixels.dtype


def test_a_declared_range_is_of_the_colours_and_alpha_is_by_its_bits():
    pixels = np.dstack([TWELVE, gray_pixels(np.uint16)])
    tags = [(341, "H", 2, (4095, 65535), True)]
    photo = decode(as_tiff(pixels, photometric="minisblack", extrasamples=[2], extratags=tags))
    np.testing.assert_array_equal(photo.pixels, whole_range(TWELVE))
    np.testing.assert_array_equal(photo.alpha, pixels[..., 1])


@pytest.mark.parametrize(
    ("tags", "noted"),
    [
        ([(280, "H", 1, 3, True), (281, "H", 1, 60_000, True)], ""),
        ([(340, "H", 1, 9, True), (341, "H", 1, 9, True)], ""),
        ([(341, "f", 1, float("nan"), True)], ""),
        ([(341, "H", 1, 255, True)], "0..255 is declared, but many samples lie above"),
    ],
    ids=["statistics", "nothing between", "no number", "not meant"],
)
def test_what_cannot_be_a_range_changes_no_sample(tags, noted):
    pixels = gray_pixels(np.uint16)
    photo = decode(as_tiff(pixels, photometric="minisblack", extratags=tags))
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert noted in photo.note and bool(noted) == bool(photo.note)


NARROW = {
    "12 bits in a TIFF": (TWELVE, lambda p: as_tiff(p, photometric="minisblack")),
    "12 bits, white is 0": (TWELVE, lambda p: as_tiff(p, photometric="miniswhite")),
    "12 bits in a PNG": (TWELVE, lambda p: saved(Image.fromarray(p), "PNG")),
    "5 bits": (FIVE, lambda p: as_tiff(p, photometric="minisblack")),
    "5 bits of RGB": (np.dstack([FIVE] * 3), lambda p: as_tiff(p, photometric="rgb")),
}


@pytest.mark.parametrize("name", NARROW)
def test_an_undeclared_narrow_range_is_noted_and_stretched_on_request(name):
    pixels, write = NARROW[name]
    content, top = write(pixels), np.iinfo(pixels.dtype).max
    white = "white" in name
    photo = decode(content)
    np.testing.assert_array_equal(photo.pixels, top - pixels if white else pixels)
    assert f"under 1/8 of 0..{top}, at most {pixels.max()}" in photo.note
    assert "--range auto" in photo.note
    stretched = next(decode_pages(content, stretch=True))
    shown = whole_range(pixels)
    np.testing.assert_array_equal(stretched.pixels, top - shown if white else shown)
    assert stretched.note.startswith(f"range: read as 0..{pixels.max()}")


def test_what_uses_its_range_and_what_is_black_are_not_stretched():
    half, black = gray_pixels(np.uint8) >> 2, np.zeros((20, 30), np.uint8)
    for pixels, noted in ((half, False), (black, True)):
        content = saved(Image.fromarray(pixels), "PNG")
        photo = next(decode_pages(content, stretch=True))
        np.testing.assert_array_equal(photo.pixels, pixels)
        assert bool(photo.note) == noted


def test_sizes_and_modes_without_a_meaning_here_are_refused():
    large = saved(Image.new("L", (1001, 1000)), "PNG")
    large_page = as_tiff(np.zeros((1000, 1001), np.uint8))
    floats = as_tiff(np.zeros((20, 20), np.float32))
    extras = as_tiff(np.zeros((20, 20, 6), np.uint8), photometric="rgb")
    codes = [code_of(c, max_megapixels=1) for c in (large, large_page, floats, extras)]
    assert codes == ["TOO_LARGE", "TOO_LARGE", "RANGE", "UNSUPPORTED_MODE"]


def test_what_a_header_tells():
    pages = as_tiff(np.zeros((3, 20, 30), np.uint16), photometric="minisblack")
    header = inspect(pages)
    assert (header.format, header.width, header.height, header.bits) == ("TIFF", 30, 20, 16)
    assert header.num_pages == 3
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = inspect(saved(Image.new("L", (30, 20)), "JPEG", exif=exif))
    assert (turned.width, turned.height, turned.orientation) == (20, 30, 6)
    moving = saved(
        Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 200)]
    )
    assert inspect(moving).animated


def test_the_quality_of_a_jpeg_is_found():
    image = Image.fromarray(gray_pixels(np.uint8))
    for quality in (30, 75, 90, 97, 100):
        assert decode(saved(image, "JPEG", quality=quality)).quality == quality
    assert decode(saved(image, "PNG")).quality == 0


def test_whether_a_webp_is_lossless_is_known():
    image = Image.fromarray(gray_pixels(np.uint8))
    assert decode(saved(image, "WEBP", lossless=True)).lossless
    assert not decode(saved(image, "WEBP", quality=80)).lossless


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_an_avif_is_upright(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    rgb = np.dstack([gray_pixels(np.uint8)] * 3)
    content = saved(Image.fromarray(rgb), "AVIF", exif=exif, quality=95)
    with Image.open(io.BytesIO(content)) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = decode(content)
    assert (photo.header.height, photo.header.width) == shown.shape[:2]
    assert np.abs(photo.pixels.astype(int) - shown).max() <= 2


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_jpeg_xl_of_each_depth_is_as_bright_as_it_was(bits):
    levels = gray_pixels(np.uint16) >> (16 - bits)
    content = imagecodecs.jpegxl_encode(levels, lossless=True, bitspersample=bits)
    shown = np.rint(levels * (65535 / ((1 << bits) - 1)))
    assert np.abs(decode(bytes(content)).pixels - shown).max() <= 1


@pytest.mark.parametrize("step", [256, 257])
def test_a_palette_of_any_writer_is_as_bright_as_it_was(step):
    gray = gray_pixels(np.uint8)
    ramp = np.stack([np.arange(256, dtype=np.uint16) * step] * 3)
    photo = decode(as_tiff(gray, photometric="palette", colormap=ramp))
    top = np.iinfo(photo.pixels.dtype).max
    assert np.abs(photo.pixels / top - gray / 255).max() < 0.005


def test_a_large_photo_of_nothing_in_a_small_file_is_refused_unread():
    import zlib

    from storage.containers.segments import png_chunk

    def empty(side: int) -> bytes:
        header = struct.pack(">II5B", side, side, 16, 2, 0, 0, 0)
        rows = zlib.compress(bytes(side * (1 + side * 6)), 9)
        chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)

    assert inspect(empty(2000)).width == 2000  # 24 MB: whatever the file's size
    large = empty(7000)
    with pytest.raises(PhotoError, match="500 times the file's size") as refused:
        inspect(large)
    assert refused.value.code == "TOO_LARGE"
    assert inspect(large, max_megapixels=float("inf")).width == 7000  # let in before


def test_a_directory_without_a_picture_is_no_page():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(gray_pixels(np.uint8), photometric="minisblack")
        writer.write(gray_pixels(np.uint8), photometric="minisblack")
    content = bytearray(buffer.getvalue())
    (second,) = struct.unpack_from("<I", content, _end_of_directory(content, 0))
    num_tags = struct.unpack_from("<H", content, second)[0]
    for number in range(num_tags):
        place = second + 2 + 12 * number
        if struct.unpack_from("<H", content, place)[0] in (256, 257):
            struct.pack_into("<I", content, place + 8, 0)
    assert inspect(bytes(content)).num_pages == 1
    np.testing.assert_array_equal(decode(bytes(content)).pixels, gray_pixels(np.uint8))


def _end_of_directory(content: bytearray, number: int) -> int:
    (place,) = struct.unpack_from("<I", content, 4)
    return place + 2 + 12 * struct.unpack_from("<H", content, place)[0]


@pytest.mark.parametrize("sizes", ["32 bits", "64 bits", "to the end"])
@pytest.mark.parametrize("parted", [False, True])
def test_the_boxes_of_a_jpeg_xl_may_have_sizes_of_64_bits(sizes, parted):
    pixels = np.arange(48 * 40, dtype=np.uint8).reshape(48, 40)
    stream = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=False))
    assert stream.startswith(b"\xff\x0a")

    def box(kind: bytes, data: bytes) -> bytes:
        if sizes == "64 bits":
            return struct.pack(">I4sQ", 1, kind, 16 + len(data)) + data
        last = sizes == "to the end" and kind[:3] == b"jxl"
        return struct.pack(">I4s", 0 if last else 8 + len(data), kind) + data

    start = b"\x00\x00\x00\x0cJXL \r\n\x87\n" + struct.pack(">I", 20) + b"ftypjxl \0\0\0\0jxl "
    data = box(b"jxlp", struct.pack(">I", 1 << 31) + stream) if parted else box(b"jxlc", stream)
    content = start + box(b"Exif", b"\0\0\0\0II*\0\x08\0\0\0\0\0") + data
    assert inspect(content).width == 40
    assert (decode(content).pixels == pixels).all()


@pytest.mark.parametrize("k_only", [True, False])
def test_a_cmyk_jpeg_without_adobes_marker_that_shows_nothing_is_read_in_the_other_polarity(k_only):
    gray = np.asarray(Image.fromarray(draw_photo(5)).convert("L"))
    ink = np.zeros((*gray.shape, 4), np.uint8)
    ink[..., 3] = 255 - gray
    stored = ink if k_only else 255 - ink  # without ink 0, or 255 as Adobe's
    content = bytes(
        imagecodecs.jpeg8_encode(stored, level=98, colorspace="CMYK", outcolorspace="CMYK")
    )
    content = content.replace(content[2:18], b"", 1)  # Adobe's marker
    assert b"Adobe" not in content
    photo = decode(content)
    shown = photo.pixels if photo.pixels.ndim == 2 else photo.pixels.mean(axis=2)
    assert np.abs(shown - gray).mean() < 3
    assert ("polarity" in photo.note) == k_only


def test_a_code_is_what_was_found_and_not_a_librarys_word():
    photo = io.BytesIO()
    Image.fromarray(draw_photo(1)).save(photo, "PNG")
    content = photo.getvalue()
    head, rest = content[:33], content[33:]
    with_empty_srgb = head + png_chunk(b"sRGB", b"") + rest
    try:
        decode(with_empty_srgb)
    except PhotoError as error:
        assert error.code == "DAMAGED"
    gif = io.BytesIO()
    Image.fromarray(draw_photo(1)).convert("P").save(gif, "GIF")
    assert code_of(gif.getvalue()[:-40]) == "TRUNCATED"
