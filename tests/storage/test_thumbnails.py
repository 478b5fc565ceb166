"""Packs of small pictures, EXIF in words, typed tables, scripts of data."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import draw_photo
from PIL import Image

from storage.metadata.descriptions import described
from storage.metadata.extraction import Metadata, read_metadata
from storage.pictures.thumbnails import read_pack, reduce_to, small_jpeg, write_pack
from storage.records.page_data import page_script
from storage.records.tables import REAL, TEXT, WHOLE, write_table


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1000, 500), (256, 128)),
        ((100, 90), (100, 90)),
        ((32, 9000), (32, 256)),
        ((9000, 20), (256, 20)),
    ],
)
def test_a_picture_is_reduced_to_its_long_side(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert reduce_to(np.zeros(shape, np.uint16), 256).shape == expected
    assert reduce_to(np.zeros((*shape, 3), np.uint8), 256).shape == (*expected, 3)


def test_a_pack_is_read_as_it_was_written_and_named_by_what_it_holds(tmp_path: Path) -> None:
    rgb = draw_photo(1)
    pictures = [{"before": small_jpeg(rgb[..., 0]), "after": small_jpeg(rgb)}, {}]
    record = write_pack(tmp_path, pictures)
    path = tmp_path / record.path
    assert read_pack(path) == pictures and record.bytes == path.stat().st_size
    assert re.fullmatch(r"thumbnails/[0-9a-f]{16}\.js", record.path)
    assert write_pack(tmp_path, pictures) == record
    assert write_pack(tmp_path, pictures[:1]).path != record.path
    shown = np.asarray(Image.open(io.BytesIO(pictures[0]["after"])), np.float64)
    assert np.abs(shown - rgb).mean() < 6


def test_exif_is_told_in_words(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[270], exif[315], exif[33432], exif[306] = "Caption", "A. Smith", "x" * 400, "1999"
    exif.get_ifd(0x8769)[36867] = "1931:05:02 10:00:00"
    Image.fromarray(draw_photo(1)).save(tmp_path / "a.jpg", exif=exif)
    said = described(read_metadata("JPEG", (tmp_path / "a.jpg").read_bytes()))
    assert said == {
        "description": "Caption",
        "date": "1931:05:02 10:00:00",
        "artist": "A. Smith",
        "copyright": "x" * 300,
    }
    assert described(Metadata()) == {} == described(Metadata(exif=b"II*\0 broken"))


def test_a_typed_table_keeps_types_where_values_are_missing(tmp_path: Path) -> None:
    columns = {"a": TEXT, "b": WHOLE, "c": REAL}
    write_table(tmp_path / "t.parquet", [{"b": 2**53 + 1}, {"a": "x", "c": 0.5}], columns)
    table = pd.read_parquet(tmp_path / "t.parquet", dtype_backend="numpy_nullable")
    assert table["b"][0] == 2**53 + 1 and table.isna().sum().to_dict() == {"a": 1, "b": 1, "c": 1}


def test_a_script_of_data_is_ascii_without_markup() -> None:
    value = {"a": "</script><!--\u2028\u202e é", "b": [None, 1.5]}
    script = page_script("run", value)
    assert script.isascii() and "<" not in script
    assert json.loads(script.partition(" = ")[2].rstrip(";\n")) == value
    with pytest.raises(ValueError, match="JSON"):
        page_script("run", float("nan"))
