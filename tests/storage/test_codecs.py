"""Each format has one codec, which does with real bytes what the table of formats says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from storage.errors import PhotoError
from storage.formats import FORMATS, require_codec, sniff
from storage.photos.codec import Codec, Like
from storage.photos.codecs import CODECS
from storage.photos.samples import sample

WRITTEN = sorted({format.output for format in FORMATS.values()})
CUT = {"JPEG", "PNG", "WEBP", "JPEG2000", "JPEGLS", "LJPEG", "JPEG12"}
"""Formats whose end can be told from their bytes without decoding."""


def test_every_format_has_a_codec_of_its_name_and_no_other_has() -> None:
    assert list(CODECS) == list(FORMATS)
    assert [codec.name for codec in CODECS.values()] == list(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_codec_reads_its_format(name: str) -> None:
    try:
        require_codec(name)
    except PhotoError as error:
        pytest.skip(str(error))
    codec, content = CODECS[name], sample(name)
    codec.check_whole(content)
    (page,) = codec.pages(content)
    samples = page.pixels()
    assert page.header.format == name
    assert samples.colours.shape[:2] == (page.header.height, page.header.width)
    assert samples.colours.dtype == (np.uint16 if page.header.bits > 8 else np.uint8)
    assert np.ptp(samples.colours) > 1 and samples.alpha is None


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_without_its_end_is_told_where_the_format_has_one(name: str) -> None:
    cut = sample(name)[:-100]
    if name not in CUT:
        CODECS[name].check_whole(cut)
        return
    with pytest.raises(PhotoError, match=f"end marker of {name}, found none") as caught:
        CODECS[name].check_whole(cut)
    assert caught.value.code == "TRUNCATED"


@pytest.mark.parametrize("name", FORMATS)
def test_a_codec_writes_what_the_table_says_is_written(name: str) -> None:
    codec = CODECS[name]
    dtype = np.uint16 if codec.writes_deep else np.uint8
    rgb = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (24, 40, 3), dtype)
    like = Like(quality=0, lossless=True, dpi=None)
    if name not in WRITTEN or codec.writes_pages:
        with pytest.raises(ValueError, match=f"written at once, got {name}"):
            codec.encode(rgb, like)
        return
    content = codec.encode(rgb, like)
    assert sniff(content) == name
    (page,) = codec.pages(content)
    assert codec.lossless(content) == codec.keeps_values(lossless=True) == (name != "JPEG")
    if name != "JPEG":
        np.testing.assert_array_equal(page.pixels().colours, rgb)
    assert (codec.quality(content) >= 95) == (name == "JPEG")


def test_only_a_tiff_is_written_in_pages_and_only_a_jpeg_is_read_reduced() -> None:
    assert [name for name, codec in CODECS.items() if codec.writes_pages] == ["TIFF"]
    reducing = [n for n, codec in CODECS.items() if type(codec).reduced is not Codec.reduced]
    assert reducing == ["JPEG"]
    content = sample("JPEG")
    header = CODECS["JPEG"].pages(content)[0].header
    assert CODECS["JPEG"].reduced(content, header, 8).shape == (8, 8)


def test_the_formats_are_known_without_what_decodes_them() -> None:
    code = "import sys, storage.formats; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "PIL", "tifffile", "imagecodecs"} & set(said.stdout.split()) == set()
