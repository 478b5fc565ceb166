"""Real photo files: pixels, alpha, orientation, damage, and the encoding of colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from storage.errors import PhotoError
from storage.photos import decode, encode, inspect


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


def noisy(name: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    return as_tiff(pixels) if name == "TIFF" else saved(Image.fromarray(pixels), name)


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
def test_alpha_is_carried_to_the_output(name):
    rgba = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    content = (
        saved(Image.fromarray(rgba), "PNG")
        if name == "PNG"
        else as_tiff(rgba, photometric="rgb", extrasamples=["unassalpha"])
    )
    photo = decode(content)
    np.testing.assert_array_equal(np.dstack([photo.pixels, photo.alpha]), rgba)
    back = decode(encode(255 - photo.pixels, photo))
    np.testing.assert_array_equal(back.alpha, rgba[..., 3])
    np.testing.assert_array_equal(back.pixels, 255 - rgba[..., :3])


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
    output = encode(np.dstack([expected] * 3), photo)
    np.testing.assert_array_equal(decode(output).pixels[..., 0], expected)


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
        (b"GIF89a" + bytes(20), "UNSUPPORTED_FORMAT"),
    ],
)
def test_what_is_no_photo_has_its_code(content, code):
    with pytest.raises(PhotoError) as caught:
        inspect(content)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_file_cut_short_is_truncated_or_damaged(name, share):
    content = noisy(name)
    with pytest.raises(PhotoError) as caught:
        decode(content[: int(len(content) * share)])
    assert caught.value.code in ("TRUNCATED", "DAMAGED")


def test_a_flipped_bit_in_a_png_is_damage():
    content = bytearray(noisy("PNG"))
    content[len(content) // 2] ^= 4
    with pytest.raises(PhotoError) as caught:
        decode(bytes(content))
    assert caught.value.code == "DAMAGED"


def test_pages_sizes_and_modes_without_a_meaning_here_are_refused():
    pages = as_tiff(np.zeros((3, 20, 20), np.uint8), photometric="minisblack")
    cmyk = saved(Image.new("CMYK", (20, 20)), "JPEG")
    large = saved(Image.new("L", (1001, 1000)), "PNG")
    floats = as_tiff(np.zeros((20, 20), np.float32))
    codes = []
    for content in (pages, cmyk, large, floats):
        with pytest.raises(PhotoError) as caught:
            inspect(content, max_megapixels=1)
        codes.append(caught.value.code)
    assert codes == ["MULTI_PAGE", "UNSUPPORTED_MODE", "TOO_LARGE", "UNSUPPORTED_MODE"]


def source(name: str, dtype: type) -> bytes:
    gray = gray_pixels(dtype)
    if name == "TIFF":
        return as_tiff(gray, resolution=(300, 300), resolutionunit="INCH")
    return saved(Image.fromarray(gray), name, **({} if name == "WEBP" else {"dpi": (300, 300)}))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(n, np.uint8) for n in ("JPEG", "PNG", "TIFF", "WEBP", "BMP")]
    + [("PNG", np.uint16), ("TIFF", np.uint16)],
)
def test_encoding_keeps_format_size_depth_and_resolution(name, dtype):
    photo = decode(source(name, dtype))
    rgb = np.dstack([gray_pixels(dtype)] * 3)
    back = decode(encode(rgb, photo))
    assert (back.header.format, back.pixels.dtype, back.pixels.shape) == (name, dtype, rgb.shape)
    if name in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(back.pixels, rgb)
    if name != "WEBP":
        assert back.dpi == pytest.approx((300, 300), abs=0.1)
