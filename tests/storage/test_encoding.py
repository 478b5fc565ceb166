"""Colour to bytes: each output format by readers of its own, labels, and what a format cannot hold."""

from __future__ import annotations

import io
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from colorization.colour.full_size import strips
from storage.errors import PhotoError
from storage.formats import FORMATS
from storage.metadata.derivative import Metadata, Provenance, derivative
from storage.photos import encoding
from storage.photos.codec import Header
from storage.photos.encoding import (
    ColoredPage,
    check_encodable,
    encode,
    holds_metadata,
    is_lossless,
    output_dtype,
    output_format,
    srgb_profile,
)
from storage.photos.photo import Photo
from storage.pictures.labels import label_box, labelled_shape, with_label

HEIGHT, WIDTH = 50, 70
PROVENANCE = Provenance(
    system="Chromaflow", version="1", original_sha256="0" * 64, checkpoints=(("people", "1" * 64),)
)


def colours(dtype: Any = np.uint8, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    noise = np.random.default_rng(0).random((height, width, 3))
    return np.rint(noise * np.iinfo(dtype).max).astype(dtype)


def photo(dtype: Any = np.uint8, *, name: str = "TIFF", alpha: bool = False, **facts: Any) -> Photo:
    rgb = colours(dtype)
    header = Header(
        format=name, width=WIDTH, height=HEIGHT, mode="RGB", bits=8 * np.dtype(dtype).itemsize
    )
    return Photo(header=header, pixels=rgb, alpha=rgb[::-1, :, 0] if alpha else None, **facts)


def page(original: Photo, rgb: np.ndarray, label: str = "", rows: int = 16) -> ColoredPage:
    cut = [rgb[top : top + rows] for top in range(0, len(rgb), rows)]
    shape = rgb.shape[:2]
    return ColoredPage(
        photo=original,
        strips=with_label(cut, shape, label) if label else cut,
        shape=labelled_shape(shape, label),
        metadata=derivative(Metadata(dpi=(300, 300)), PROVENANCE),
    )


def written(name: str, *pages: ColoredPage) -> bytes:
    file = io.BytesIO()
    encode(file, pages, name)
    return file.getvalue()


def reread(content: bytes, name: str) -> np.ndarray:
    if name == "JXL":
        return np.asarray(imagecodecs.jpegxl_decode(content))
    if name == "TIFF":
        return tifffile.imread(io.BytesIO(content))
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


WRITTEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "JXL")
CASES = [
    (name, dtype, alpha)
    for name in ("PNG", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "JXL")
    for dtype in (np.uint8, np.uint16)
    for alpha in (False, True)
    if not (alpha and name in ("BMP", "PPM"))
    and not (dtype is np.uint16 and name in ("WEBP", "BMP"))
]


@pytest.mark.parametrize(("name", "dtype", "alpha"), CASES)
def test_lossless_formats_keep_every_code_value_and_alpha(name, dtype, alpha):
    original, rgb = photo(dtype, alpha=alpha), ~colours(dtype)
    pixels = reread(written(name, page(original, rgb)), name)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels[..., :3], rgb)
    if alpha:
        np.testing.assert_array_equal(pixels[..., 3], original.alpha)
    assert is_lossless(original, name)


@pytest.mark.parametrize(("own", "quality"), [(0, 95), (40, 95), (98, 98), (100, 100)])
def test_a_jpeg_is_saved_at_95_or_better_without_subsampling(own, quality):
    smooth = cv2.GaussianBlur(colours(), (0, 0), 4)
    content = written("JPEG", page(photo(quality=own), smooth))
    with Image.open(io.BytesIO(content)) as image:
        assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)
        expected = Image.new("RGB", (8, 8))
        buffer = io.BytesIO()
        expected.save(buffer, "JPEG", quality=quality)
        assert image.quantization == Image.open(buffer).quantization
        assert np.abs(np.asarray(image).astype(int) - smooth).max() < 8
    assert not is_lossless(photo(), "JPEG")


def test_a_webp_is_lossy_where_its_original_is():
    smooth = cv2.GaussianBlur(colours(), (0, 0), 4)
    lossy = photo(name="WEBP", lossless=False)
    content = written("WEBP", page(lossy, smooth))
    assert b"VP8 " in content and not is_lossless(lossy, "WEBP")
    assert np.abs(reread(content, "WEBP").astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_profile_resolution_and_label_of_origin_are_embedded(name):
    assert holds_metadata(name)
    content = written(name, page(photo(), colours()))
    assert b"compositeWithTrainedAlgorithmicMedia" in content
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["icc_profile"] == srgb_profile()
        if name != "WEBP":  # it has no field for it beside EXIF
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_the_same_photo_gives_the_same_bytes():
    for name in WRITTEN:
        once, again = (written(name, page(photo(), colours())) for _ in range(2))
        assert once == again, name


def test_pages_of_a_tiff_keep_their_order_size_depth_and_alpha():
    first, second, third = photo(), photo(np.uint16, alpha=True), photo(alpha=True, associated=True)
    pages = [page(first, colours()), page(second, colours(np.uint16)), page(third, colours())]
    content = written("TIFF", *pages)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert [p.shape[-1] for p in file.pages] == [3, 4, 4]
        assert [str(p.dtype) for p in file.pages] == ["uint8", "uint16", "uint8"]
        assert [[int(kind) for kind in p.extrasamples] for p in file.pages] == [[], [2], [1]]
        assert all(p.rowsperstrip == 16 for p in file.pages)
        np.testing.assert_array_equal(file.pages[1].asarray()[..., :3], colours(np.uint16))
        assert [p.tags[282].value for p in file.pages] == [(300, 1)] * 3


def test_a_tiff_that_could_pass_4_gb_is_a_big_one(monkeypatch):
    monkeypatch.setattr(encoding, "_CLASSIC_TIFF", 1000)
    content = written("TIFF", page(photo(), colours()))
    assert content[:4] == b"II+\0"
    np.testing.assert_array_equal(reread(content, "TIFF"), colours())


def test_alpha_of_16_bits_goes_to_8_in_an_8_bit_format():
    original = photo(np.uint16, alpha=True)
    pixels = reread(written("WEBP", page(original, colours())), "WEBP")
    np.testing.assert_array_equal(pixels[..., 3], np.rint(original.alpha / 257))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_an_output_and_a_depth_for_it(name):
    header = photo(name=name).header
    own = output_format(header)
    assert own in WRITTEN
    assert output_format(header, "png") == "PNG"
    deep = photo(np.uint16, name=name)
    assert output_dtype(deep, "JPEG") is output_dtype(deep, "WEBP") is np.uint8
    assert output_dtype(deep, "PNG") is output_dtype(deep, "TIFF") is np.uint16


def code_of(original: Photo, name: str) -> str:
    with pytest.raises(PhotoError) as caught:
        check_encodable(original, name)
    return caught.value.code


def test_what_an_output_format_cannot_hold_is_refused():
    header = Header(format="TIFF", width=16_384, height=9, mode="RGB")
    wide = Photo(header=header, pixels=np.zeros((9, 16_384, 3), np.uint8))
    assert code_of(wide, "WEBP") == "TOO_LARGE"
    check_encodable(wide, "JPEG")
    header = Header(format="TIFF", width=WIDTH, height=HEIGHT, mode="RGB", num_pages=2)
    many = Photo(header=header, pixels=colours())
    assert {code_of(many, name) for name in ("PNG", "JPEG", "WEBP")} == {"MULTI_PAGE"}
    check_encodable(many, "TIFF")
    assert {code_of(photo(alpha=True), n) for n in ("JPEG", "PPM", "BMP")} == {"UNSUPPORTED_MODE"}
    check_encodable(photo(alpha=True), "PNG")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("label", ["corner", "border"])
@pytest.mark.parametrize("shape", [(50, 70), (400, 300), (9, 300), (300, 9), (1, 1), (13, 2000)])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_label_covers_its_box_and_nothing_else(shape, label, dtype, rows):
    rgb = colours(dtype, *shape)
    cut = [rgb[top : top + rows] for top in range(0, len(rgb), rows)]
    drawn = list(with_label(cut, shape, label))
    assert {len(strip) for strip in drawn[:-1]} <= {len(drawn[0])} and len(drawn[-1]) <= len(
        drawn[0]
    )
    labelled = np.concatenate(drawn)
    assert labelled.shape == (*labelled_shape(shape, label), 3) and labelled.dtype == dtype
    outside = np.ones(labelled.shape[:2], bool)
    outside[label_box(shape, label)] = False
    np.testing.assert_array_equal(
        labelled[: shape[0]][outside[: shape[0]]], rgb[outside[: shape[0]]]
    )
    assert (~outside).any() and (label == "border" or labelled.shape == rgb.shape)
    np.testing.assert_array_equal(np.concatenate(cut), rgb)  # the photo itself stays


def test_no_label_changes_nothing():
    assert labelled_shape((50, 70), "") == (50, 70)
    assert label_box((50, 70), "") == (slice(0, 0), slice(0, 0))


@pytest.mark.parametrize("name", ["TIFF", "PNG", "JXL"])
def test_a_border_is_opaque_and_goes_into_the_file(name):
    original = photo(alpha=True)
    pixels = reread(written(name, page(original, colours(), label="border")), name)
    assert pixels.shape == (*labelled_shape((HEIGHT, WIDTH), "border"), 4)
    np.testing.assert_array_equal(pixels[:HEIGHT, :, 3], original.alpha)
    assert pixels[HEIGHT:, :, 3].min() == 255


def test_strips_of_a_photo_are_equal_but_for_the_last():
    for height, width in ((1, 1), (5000, 3), (3, 200_000), (997, 1009)):
        rows = list(strips(height, width))
        heights = [part.stop - part.start for part in rows]
        assert sum(heights) == height and len(set(heights[:-1])) <= 1
        assert heights[-1] <= heights[0]
