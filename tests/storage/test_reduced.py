"""Decoding at training size: what size, which way up, how close to decoding whole, what is refused."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image
from skimage import data

from storage.errors import PhotoError
from storage.photos.reduced import decode_rgb, thumbnail


def saved(image: Image.Image, name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(400, 300), (30, 20), (64, 64)])
@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_decoding_for_training_gives_the_short_side_and_upright_colours(name, size):
    image = Image.new("RGB", size, (200, 60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = decode_rgb(saved(image, name, exif=exif), short_side=64)
    assert min(rgb.shape[:2]) == 64
    assert rgb.shape[0] / rgb.shape[1] == pytest.approx(size[0] / size[1], rel=0.02)
    assert np.abs(rgb.astype(int) - (200, 60, 30)).max() <= 3


@pytest.mark.parametrize("short_side", [64, 100, 128, 190])
def test_a_jpeg_reduced_in_the_decoder_is_close_to_one_averaged_after_it(short_side):
    content = saved(Image.fromarray(data.astronaut()), "JPEG", quality=92)
    whole = simplejpeg.decode_jpeg(content)
    averaged = cv2.resize(whole, (short_side, short_side), interpolation=cv2.INTER_AREA)
    reduced = decode_rgb(content, short_side=short_side)
    assert reduced.shape == averaged.shape
    # area and Lanczos filters differ from each other by 1.5 to 3 on this picture
    exact_eighth = 512 * 8 / short_side % 1 == 0 and short_side % 64 == 0
    assert np.abs(reduced.astype(int) - averaged).mean() < (0.6 if exact_eighth else 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_once(orientation):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:20, :20] = 255  # top left, as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb = decode_rgb(saved(Image.fromarray(pixels), "JPEG", exif=exif, quality=95), short_side=64)
    top, left = orientation in (1, 2, 5, 6), orientation in (1, 4, 5, 8)
    corner = rgb[:16] if top else rgb[-16:]
    corner = corner[:, :16] if left else corner[:, -16:]
    assert corner.mean() > 240 and rgb.mean() < 40


def test_a_jpeg_with_damage_in_the_middle_is_refused_though_pillow_decodes_it():
    content = bytearray(saved(Image.fromarray(data.astronaut()), "JPEG", quality=92))
    half = len(content) // 2
    content[half : half + 2] = b"\xff\xd9"
    Image.open(io.BytesIO(content)).load()
    with pytest.raises(PhotoError, match="DAMAGED"):
        decode_rgb(bytes(content), short_side=64)


def test_a_gray_jpeg_comes_as_three_equal_channels():
    content = saved(Image.fromarray(data.camera()), "JPEG")
    rgb = decode_rgb(content, short_side=64)
    assert rgb.shape == (64, 64, 3) and np.ptp(rgb, axis=2).max() == 0


def test_a_jpeg_of_many_scans_is_refused_unread():
    content = saved(Image.fromarray(data.camera()), "JPEG", progressive=True)
    scan = content.index(b"\xff\xda")
    with pytest.raises(PhotoError, match="TOO_SLOW"):
        decode_rgb(content[:scan] + content[scan:-2] * 300 + b"\xff\xd9", short_side=64)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((400, 800), (64, 128)),
        ((20, 30), (64, 96)),
        ((32, 9760), (64, 512)),
        ((9000, 640), (512, 64)),
    ],
)
def test_a_thumbnail_is_small_whatever_the_shape_of_the_photo(shape, expected):
    pixels = np.full((*shape, 3), (10, 200, 30), np.uint16)
    small = thumbnail(pixels, 64)
    assert small.shape == (*expected, 3)
    assert small.dtype == np.uint16
    assert (small == (10, 200, 30)).all()
