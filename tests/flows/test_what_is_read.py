"""What an archive holds beside plain files, through both stages of `chromaflow colorize`."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import fsspec
import numpy as np
import pandas as pd
import pytest
from colorizing import colorize_here, local_cluster
from command import chromaflow
from failing_disk import FailingDisk
from PIL import Image

from storage.errors import NoInputError
from storage.metadata.derivative import read_metadata
from storage.records.ledger import read_json
from storage.records.names import STATE_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.engine.retry import Retry
from tasks.report.writer import write_report

PAGE = b"<!DOCTYPE html><html><title>Quota exceeded</title></html>"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with local_cluster() as address:
        yield address


def gray_jpeg(seed: int, **options: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(
        buffer, "JPEG", **options
    )
    return buffer.getvalue()


def outputs(out: Path) -> set[str]:
    return {
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file() and STATE_NAME not in path.parts
    }


def codes(out: Path, stage: str = "ingest") -> dict[str, str]:
    rows = read_rows(out / STATE_NAME / f"current/{stage}/archive/quarantine.parquet")
    return {row["path"]: row["code"] for row in rows}


def test_an_archive_of_links_is_coloured_under_the_links_paths(
    cluster: str, tmp_path: Path
) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    annex, album = photos / ".git/annex/objects", tmp_path / "album"
    for folder in (annex, album, photos / "1931"):
        folder.mkdir(parents=True)
    (annex / "SHA256E-1.jpg").write_bytes(gray_jpeg(1))
    (album / "2.jpg").write_bytes(gray_jpeg(2))
    (photos / "1931/1.jpg").symlink_to("../.git/annex/objects/SHA256E-1.jpg")
    (photos / "1931/gone.jpg").symlink_to("../.git/annex/objects/SHA256E-3.jpg")
    (photos / "album").symlink_to(album)
    (photos / "album2").symlink_to(album)
    (photos / "colour").symlink_to(out)
    (photos / "self").symlink_to(photos)
    os.mkfifo(photos / "pipe")
    before = {path: path.read_bytes() for path in (annex / "SHA256E-1.jpg", album / "2.jpg")}
    for _ in range(2):  # what the first run wrote is no photo of the second
        assert colorize_here(cluster, photos, out)["done"] == 2
        assert outputs(out) == {"1931/1.jpg.color.jpg", "album/2.jpg.color.jpg"}
    assert codes(out) == {
        **dict.fromkeys(["1931/gone.jpg", "pipe"], "NOT_REGULAR"),
        **dict.fromkeys(["album2", "colour", "self"], "NOT_FOLLOWED"),
    }
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in album.iterdir()} == {"2.jpg"}


def test_links_are_left_on_request_and_named(cluster: str, tmp_path: Path) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    (photos / "own.jpg").write_bytes(gray_jpeg(1))
    (tmp_path / "other.jpg").write_bytes(gray_jpeg(2))
    (photos / "link.jpg").symlink_to(tmp_path / "other.jpg")
    assert colorize_here(cluster, photos, out, follow=False)["done"] == 1
    assert codes(out) == {"link.jpg": "NOT_FOLLOWED"}


def test_an_archive_that_could_not_be_read_for_a_while_is_tried_again(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.jpg", gray_jpeg(1))
    fsspec.filesystem("failing").pipe_file("/attic/photos.zip", buffer.getvalue())
    monkeypatch.setattr(FailingDisk, "error", TimeoutError(110, "Connection timed out"))
    with pytest.raises(NoInputError, match="UNREADABLE .*: Connection timed out"):
        colorize_here(cluster, "failing://attic/photos.zip", tmp_path)
    assert codes(tmp_path) == {"photos.zip": "UNREADABLE"}
    monkeypatch.setattr(FailingDisk, "error", None)
    assert colorize_here(cluster, "failing://attic/photos.zip", tmp_path, Retry())["done"] == 1
    assert outputs(tmp_path) == {"photos.zip/1.jpg.color.jpg"} and codes(tmp_path) == {}


def test_an_archive_without_photos_says_what_it_holds(cluster: str, tmp_path: Path) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    with pytest.raises(NoInputError, match="it is empty"):
        colorize_here(cluster, photos, tmp_path / "empty")
    for number in range(3):
        (photos / f"{number}.jpg").symlink_to(f".git/annex/objects/{number}")
    for name in (".hidden.jpg", "Thumbs.db", "notes.txt", "left.tif"):
        (photos / name).write_text("words")
    (photos / "more.zip").write_bytes(PAGE)
    with pytest.raises(NoInputError) as caught:
        colorize_here(cluster, photos, tmp_path / "out", exclude=["left.*"])
    assert caught.value.exit_code == 4
    for words in (
        "1 hidden;",
        "1 system files;",
        "1 other files;",
        "1 left out by include and exclude;",
        "3 NOT_REGULAR (as 0.jpg: a link to nothing",
        "more.zip is no zip but a web page (HTML)",
    ):
        assert words in str(caught.value)


@pytest.mark.slow
def test_the_command_exits_4_on_an_empty_folder(
    tmp_path: Path, prefect_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{prefect_address}/api")
    (tmp_path / "in").mkdir()
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "out")
    assert code == 4 and "it is empty" in err and "Traceback" not in err


def test_a_web_page_saved_as_a_zip_is_called_so_by_the_command(tmp_path: Path) -> None:
    archive = tmp_path / "img_align_celeba.zip"
    archive.write_bytes(PAGE)
    said = "img_align_celeba.zip is no zip but a web page (HTML); download it again"
    code, _, err = chromaflow("colorize", archive, tmp_path / "out")
    assert code == 2 and said in err and "Traceback" not in err
    config = tmp_path / "chromaflow.toml"
    config.write_text(f'workspace = "w"\n[datasets]\npeople = "{archive}"\n')
    code, _, err = chromaflow("plan", "--config", config)
    assert code == 2 and said in err and "Traceback" not in err


def lied_about(jpeg: bytes) -> bytes:
    """Its EXIF tells of more entries than there are."""
    start = jpeg.index(b"Exif\0\0") + 6
    order = "<" if jpeg[start : start + 2] == b"II" else ">"
    place = start + struct.unpack(order + "I", jpeg[start + 4 : start + 8])[0]
    return jpeg[:place] + struct.pack(order + "H", 9999) + jpeg[place + 2 :]


def test_lost_metadata_is_told_in_the_record_and_the_report(cluster: str, tmp_path: Path) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    exif = Image.Exif()
    exif[271], exif[315] = "Kodak", "E. Smith"
    whole = gray_jpeg(1, exif=exif.tobytes())
    (photos / "whole.jpg").write_bytes(whole)
    (photos / "lying.jpg").write_bytes(lied_about(whole))
    assert colorize_here(cluster, photos, out)["done"] == 2
    records = (out / STATE_NAME / "current/colorize/archive/done").glob("*.json")
    facts = [one for path in records for one in (read_json(path) or {}).get("outputs", ())]
    lost = {one["photo"]: one["lost"] for one in facts}
    assert lost["whole.jpg"] == []
    assert len(lost["lying.jpg"]) == 1 and "expected 9999 entries, 2 can" in lost["lying.jpg"][0]
    kept = read_metadata("JPEG", (out / "lying.jpg.color.jpg").read_bytes())
    assert b"Kodak" in kept.exif and b"E. Smith" in kept.exif
    report = write_report(Workspace(out / STATE_NAME), output=str(out))
    table = pd.read_parquet(report.folder / "photos.parquet").set_index("path")
    assert "9999" in table.loc["lying.jpg", "lost"] and pd.isna(table.loc["whole.jpg", "lost"])
    page = (report.folder / "photos/000000.js").read_text()
    assert "9999" in page and json.dumps("lost") in page


def sidecar(rating: int, keyword: str) -> str:
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
    xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmp:Rating="{rating}"><dc:subject><rdf:Bag><rdf:li>{keyword}</rdf:li></rdf:Bag></dc:subject>
    </rdf:Description></rdf:RDF></x:xmpmeta>"""


def said(out: Path) -> dict[str, tuple[str, str]]:
    """Rating and keyword of every output, by name, as Pillow reads them."""
    found = {}
    for name in outputs(out):
        with Image.open(out / name) as image:
            root = ElementTree.fromstring(image.info["xmp"])
        rating = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("}Rating")]
        keyword = root.findtext(".//{http://purl.org/dc/elements/1.1/}subject//*/*")
        found[name.removesuffix(".color.jpg")] = ("".join(rating), keyword or "")
    return found


def test_an_xmp_file_follows_its_photo_and_a_change_of_it_colours_that_photo_anew(
    cluster: str, tmp_path: Path
) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    for seed, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        (photos / name).write_bytes(gray_jpeg(seed))
    (photos / "a.xmp").write_text(sidecar(4, "Oma"))
    (photos / "b.jpg.xmp").write_bytes(sidecar(5, "Zürich").encode("latin-1"))
    (photos / "c.jpg.xmp").write_text(sidecar(3, "cut")[:200])
    assert colorize_here(cluster, photos, out)["done"] == 3
    assert codes(out) == {}
    assert said(out) == {"a.jpg": ("4", "Oma"), "b.jpg": ("5", "Zürich"), "c.jpg": ("", "")}
    report = write_report(Workspace(out / STATE_NAME), output=str(out))
    lost = pd.read_parquet(report.folder / "photos.parquet").set_index("path")["lost"]
    assert "sidecar: expected well-formed XMP" in lost["c.jpg"] and pd.isna(lost["a.jpg"])
    before = {name: (out / name).stat().st_mtime_ns for name in outputs(out)}
    (photos / "a.xmp").write_text(sidecar(1, "Opa"))
    (photos / "b.jpg.xmp").unlink()
    assert colorize_here(cluster, photos, out)["done"] == 3
    assert said(out) == {"a.jpg": ("1", "Opa"), "b.jpg": ("", ""), "c.jpg": ("", "")}
    after = {name: (out / name).stat().st_mtime_ns for name in outputs(out)}
    same = {name for name in before if before[name] == after[name]}
    assert same == {"c.jpg.color.jpg"}


def test_an_xmp_file_in_an_archive_follows_its_photo(cluster: str, tmp_path: Path) -> None:
    packed = tmp_path / "photos.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for name, content in (
            ("1931/a.xmp", sidecar(4, "Oma").encode()),
            ("1931/a.jpg", gray_jpeg(1)),
            ("1931/b.jpg", gray_jpeg(2)),
            ("1931/b.jpg.xmp", sidecar(2, "Opa").encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert colorize_here(cluster, packed, tmp_path / "out")["done"] == 2
    assert sorted(said(tmp_path / "out").values()) == [("2", "Opa"), ("4", "Oma")]


REGION = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:a="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:d="http://ns.adobe.com/xap/1.0/sType/Dimensions#"><r:Regions rdf:parseType="Resource">
 <r:AppliedToDimensions d:w="64" d:h="48"/><r:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource">
 <r:Area a:x="0.25" a:y="0.5" a:w="0.25" a:h="0.5"/></rdf:li></rdf:Bag></r:RegionList></r:Regions>
 </rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_a_region_is_turned_and_makes_room_for_a_border(cluster: str, tmp_path: Path) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    exif = Image.Exif()
    exif[274] = 8
    (photos / "a.jpg").write_bytes(gray_jpeg(1, exif=exif, xmp=REGION.encode()))
    assert colorize_here(cluster, photos, out, settings={"label": "border"})["done"] == 1
    with Image.open(out / "a.jpg.color.jpg") as image:
        size, root = image.size, ElementTree.fromstring(image.info["xmp"])
    assert size[0] == 48 and size[1] > 64
    (area,) = [e for e in root.iter() if e.tag.endswith("}Area")]
    (sides,) = [e for e in root.iter() if e.tag.endswith("}AppliedToDimensions")]
    assert list(map(float, sides.attrib.values())) == list(size)
    told = {name.partition("}")[2]: float(text) for name, text in area.attrib.items()}
    assert (told["x"] * 48, told["w"] * 48) == pytest.approx((24, 24), abs=0.01)
    assert (told["y"] * size[1], told["h"] * size[1]) == pytest.approx((48, 16), abs=0.01)
