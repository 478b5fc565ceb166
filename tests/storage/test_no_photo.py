"""What is no photo: by names that others leave, by content, and what a pattern brings back."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from storage.errors import PhotoError
from storage.formats import sniff
from storage.sources.datasets import arrange
from storage.sources.no_photo import CLUTTER, HIDDEN, TABLE, Ignored, is_no_photo, is_text
from storage.sources.source import open_source

KEPT = [
    "1.jpg",
    "db/1.jpg",
    "Thumbs.db.jpg",
    "recycle/1.jpg",
    "x.db/1.jpg",
    "icons/Icon",
    "a@b.jpg",
]


LEFT = (
    "1931/@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB_XL.jpg|#recycle/1931/gone.jpg|$RECYCLE.BIN/S-1/$R1.jpg|"
    "System Volume Information/1.jpg|lost+found/#12.jpg|.Trash-1000/files/1.jpg|.thumbnails/a.png|"
    "__MACOSX/Fotos/1.jpg|@Recycle/1.jpg|RECYCLER/1.jpg|found.000/1.jpg|My Previews.lrdata/1.jpg|"
    "Thumbs.db|a/ehthumbs.db|ZbThumbnail.info|desktop.ini|Picasa.ini|a/digikam4.db|@SynoEAStream|"
    "1.jpg@SynoEAStream|IMG_1.THM|IMG_1.AAE|1.jpg.pp3|sums.md5|SHA.sha256|icon.ico|Icon\r|._1.jpg|"
    ".DS_Store"
)


@pytest.mark.parametrize("path", LEFT.split("|"))
def test_what_cameras_editors_boxes_and_systems_leave_is_left_out(path):
    why = TABLE.why(path.split("/"))
    assert why == (HIDDEN if any(part.startswith(".") for part in path.split("/")) else CLUTTER)


@pytest.mark.parametrize("path", KEPT)
def test_what_only_looks_alike_is_kept(path):
    assert TABLE.why(path.split("/")) == ""


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("@eaDir/", "1931/@eaDir/1.jpg/THUMB.jpg", ""),
        ("1931/@eaDir/**", "1931/@eaDir/1.jpg/THUMB.jpg", ""),
        ("@eaDir/**", "1931/@eaDir/1.jpg/THUMB.jpg", CLUTTER),
        ("*.jpg", "1931/@eaDir/1.jpg/THUMB.jpg", CLUTTER),
        ("**", "#recycle/1.jpg", CLUTTER),
        ("#RECYCLE", "#recycle/1.jpg", ""),
        ("#*", "#recycle/1.jpg", ""),
        ("#recycle/*.jpg", "#recycle/.hidden.jpg", HIDDEN),
        ("*.db", "a/Thumbs.db", ""),
        ("Thumbs.db", "a/Thumbs.db", ""),
        ("*.db", ".x.db", HIDDEN),
        ("*.jpg", "._1.jpg", HIDDEN),
        ("._*", "a/._1.jpg", ""),
        (".trash-*/", ".Trash-1000/files/1.jpg", ""),
        ("IMG_*", "IMG_1.THM", CLUTTER),
        ("*.THM", "IMG_1.thm", ""),
    ],
)
def test_a_pattern_that_means_it_brings_it_back(pattern, path, expected):
    assert Ignored.but(["*.tif", pattern]).why(path.split("/")) == expected


@pytest.mark.parametrize("form", ["folder", "zip", "file URL"])
def test_left_out_names_are_counted_and_included_ones_read(tmp_path, form):
    paths = [
        "1931/1.jpg",
        "1931/@eaDir/1.jpg/T.jpg",
        "#recycle/2.jpg",
        "Icon\r",
        ".thumbnails/3.png",
    ]
    root = tmp_path / "in"
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    location = str(root)
    if form == "zip":
        location = str(tmp_path / "in.zip")
        with zipfile.ZipFile(location, "w") as archive:
            for path in paths:
                archive.write(root / path, path)
    elif form == "file URL":
        location = f"file://{root}"
    before = "in.zip/" if form == "zip" else ""

    def read(*include: str) -> list[str]:
        arranged = arrange(open_source(location, include=include), "plain", include)
        assert not arranged.problems
        return [entry.file.path.removeprefix(before) for entry in arranged.entries]

    assert open_source(location).listing().left_out == {HIDDEN: 1, CLUTTER: 3}
    assert read() == ["1931/1.jpg"]
    assert sorted(read("**", "@eaDir", "#recycle/")) == sorted(paths[:3])
    assert read(".thumbnails") == [".thumbnails/3.png"]


TEXT = "Großmutter – im Garten, “Sommer” 1931"
CAPTIONS = {
    "utf-8": TEXT,
    "utf-8-sig": TEXT,
    "cp1252": TEXT,
    "latin-1": "L'été à la rivière, Zoë",
    "shift_jis": "祖母の家 昭和六年 表ソ能",
    "euc_jp": "祖母の家",
    "iso2022_jp": "祖母の家",
    "gb18030": "祖母的花园",
    "koi8-r": "Бабушка в саду",
    "utf-16": "file,caption\nIMG_0001.jpg,Käthe\n",
    "utf-16-le": "file,caption\nIMG_0001.jpg,Käthe\n",
    "utf-16-be": "file,caption\nIMG_0001.jpg,Käthe\n",
    "utf-32": TEXT,
}


def refused(path: str, content: bytes) -> bool:
    """Whether content that is no picture is a failure under this name."""
    try:
        sniff(content)
        error = PhotoError("DAMAGED", "the decoder refuses it")
    except PhotoError as caught:
        error = caught
    return not is_no_photo(path, content, error)


@pytest.mark.parametrize("encoding", CAPTIONS)
def test_text_is_text_in_every_encoding(encoding):
    content = CAPTIONS[encoding].encode(encoding)
    assert is_text(content)
    for name in ("caption.txt", "LIESMICH", "caption", "caption.nfo"):
        assert not refused(name, content)
    assert refused("caption.jpg", content)


@pytest.mark.parametrize(
    "content", [b"BM" + bytes(60), bytes(range(256)), b"II*\0" + bytes(40), b"\x00\x01\xff"]
)
def test_binary_is_no_text(content):
    assert not is_text(content)


def video(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(12)


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("note.txt", b"BMW meeting, 1931\n" * 9, False),
        ("note.txt", b"P5 is the fifth page", False),
        ("note.txt", b"BM" + bytes(60), True),
        ("cut", b"BM" + bytes(60), True),
        ("empty.txt", b"", False),
        ("empty", b"", False),
        ("empty.TIF", b"", True),
        ("noise.bin", bytes(range(256)), False),
        ("noise.CR2", bytes(range(256)), True),
        ("noise.jpeg", bytes(range(256)), True),
        ("scan.psd", b"8BPS\0\1" + bytes(20), True),
        ("scan", b"8BPS\0\1" + bytes(20), True),
        ("scan.pdf", b"%PDF-1.7\n", True),
        ("film.mp4", video(b"mp42"), False),
        ("film.mov", video(b"qt  "), False),
        ("film.jpg", video(b"mp42"), True),
        ("raw.cr3", video(b"crx "), True),
        ("letter.docx", b"PK\3\4" + bytes(60), False),
        ("photos", b"PK\3\4" + bytes(60), True),
        ("photos.rar", b"Rar!\x1a\7" + bytes(60), True),
        ("photos.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60), True),
    ],
)
def test_what_claims_to_be_a_photo_and_is_none_stays_a_failure(path, content, expected):
    assert refused(path, content) == expected


def test_a_table_name_in_the_folder_above_is_no_matter(tmp_path: Path) -> None:
    root = tmp_path / "#recycle/.hidden"
    root.mkdir(parents=True)
    (root / "1.jpg").write_bytes(b"x")
    with zipfile.ZipFile(root / ".a.zip", "w") as archive:
        archive.writestr("1.jpg", b"x")
    assert [file.path for file in open_source(str(root)).listing().files] == ["1.jpg"]
    inside = open_source(str(root / ".a.zip")).listing().files
    assert [file.path for file in inside] == [".a.zip/1.jpg"]
