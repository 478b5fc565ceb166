"""The demo's data comes from the installed wheels and stays the same on a second call."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from storage.sources.files import list_files, listing_digest
from tasks.config.demo import write_demo


def test_demo_data_is_written_once_and_the_archive_is_gray(tmp_path: Path) -> None:
    write_demo(tmp_path)
    first = {name: listing_digest(list_files(tmp_path / name)) for name in ("photos", "gray")}
    write_demo(tmp_path)
    assert first == {name: listing_digest(list_files(tmp_path / name)) for name in first}
    for gray in (tmp_path / "gray").iterdir():
        with Image.open(gray) as image, Image.open(tmp_path / "truth" / gray.name) as truth:
            assert image.mode == "L" and image.size == truth.size
