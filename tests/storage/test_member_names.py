"""Names of members of zips and tars: UTF-8, Info-ZIP's extra field, an encoding that is told, a guess."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zlib
from pathlib import Path

import pytest

from storage.sources.source import open_source

NFD = "Fotos/Großmu\u0308tter e\u0301.jpg"
JAPANESE = "写真/表ソ能.jpg"
DOS, UNIX = 0, 3


def zipped(
    path: Path, *raw_names: bytes, host: int = UNIX, flags: int = 0, extra: bytes = b""
) -> str:
    """A zip of members with these very bytes as names, as old programs write it."""
    body, directory = b"", b""
    for number, raw in enumerate(raw_names):
        content = b"%d" % number
        facts = struct.pack(
            "<4H3L2H", flags, 0, 0, 33, zlib.crc32(content), 1, 1, len(raw), len(extra)
        )
        place = struct.pack("<3H2L", 0, 0, 0, 0, len(body))
        directory += b"PK\1\2" + bytes([20, host, 20, 0]) + facts + place + raw + extra
        body += b"PK\3\4" + bytes([20, 0]) + facts + raw + extra + content
    end = struct.pack("<4H2LH", 0, 0, len(raw_names), len(raw_names), len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\5\6" + end)
    return str(path)


def listed(location: str, encoding: str = "") -> tuple[list[str], int]:
    """Names without the archive's own, and how many are guessed; every member can be read, by one
    who does not know the encoding too."""
    listing = open_source(location, encoding=encoding).listing()
    assert not listing.problems
    anyone = open_source(location)
    contents = [anyone.read(file.path, file.offset, file.bytes) for file in listing.files]
    assert sorted(contents) == [b"%d" % number for number in range(len(contents))]
    return [file.path.partition("/")[2] for file in listing.files], listing.num_guessed


def unicode_path(raw: bytes, name: str, *, version: int = 1) -> bytes:
    content = bytes([version]) + struct.pack("<L", zlib.crc32(raw)) + name.encode()
    return b"\x55\x54\1\0\0" + struct.pack("<2H", 0x7075, len(content)) + content


def test_names_that_are_utf_8_are_so_without_the_flag(tmp_path):
    location = zipped(tmp_path / "a.zip", NFD.encode(), JAPANESE.encode(), b"plain.jpg")
    for encoding in ("", "cp932"):
        assert listed(location, encoding) == ([NFD, JAPANESE, "plain.jpg"], 0)


def test_other_names_are_as_the_encoding_says_or_a_counted_guess(tmp_path):
    location = zipped(tmp_path / "a.zip", JAPANESE.encode("cp932"), b"a.jpg", NFD.encode())
    assert listed(location, "cp932") == ([JAPANESE, "a.jpg", NFD], 0)
    guess = JAPANESE.encode("cp932").decode("cp437")
    assert listed(location) == ([guess, "a.jpg", NFD], 1)
    assert listed(location, "gb18030")[1] == 0
    strange = zipped(tmp_path / "b.zip", b"\x81 1.jpg")
    assert listed(strange, "cp932") == (["ü 1.jpg"], 1), "it does not fit"


def test_a_flag_that_says_utf_8_of_other_bytes_is_not_believed(tmp_path):
    location = zipped(tmp_path / "a.zip", "Käthe.jpg".encode("cp850"), flags=0x800)
    assert listed(location) == (["Käthe.jpg"], 1)
    assert listed(location, "cp850") == (["Käthe.jpg"], 0)


def test_the_extra_field_of_info_zip_is_honoured_where_it_is_of_this_name(tmp_path):
    raw = b"K\x84the.jpg"
    good = unicode_path(raw, "Käthe 祖母.jpg")
    assert listed(zipped(tmp_path / "a.zip", raw, extra=good)) == (["Käthe 祖母.jpg"], 0)
    for bad in (unicode_path(b"other", "Wrong.jpg"), unicode_path(raw, "Wrong.jpg", version=2)):
        assert listed(zipped(tmp_path / "a.zip", raw, extra=bad)) == (["Käthe.jpg"], 1)
    unsafe = zipped(tmp_path / "b.zip", raw, extra=unicode_path(raw, "../x.jpg"))
    (problem,) = open_source(unsafe).listing().problems
    assert problem.code == "UNSAFE_NAME"


@pytest.mark.parametrize(
    ("name", "encoding", "host", "expected"),
    [
        ("Fotos\\1931\\a.jpg", "ascii", DOS, "Fotos/1931/a.jpg"),
        ("Fotos\\1931\\a.jpg", "ascii", 10, "Fotos/1931/a.jpg"),
        ("Fotos\\1931\\a.jpg", "ascii", UNIX, "Fotos\\1931\\a.jpg"),
        ("Fotos/back\\slash.jpg", "ascii", DOS, "Fotos/back\\slash.jpg"),
        ("写真\\表ソ能.jpg", "cp932", DOS, "写真/表ソ能.jpg"),
        ("Büro\\Käthe.jpg", "cp850", DOS, "Büro/Käthe.jpg"),
    ],
)
def test_backslashes_of_dos_hosts_separate_folders(tmp_path, name, encoding, host, expected):
    location = zipped(tmp_path / "a.zip", name.encode(encoding), host=host)
    assert listed(location, "" if encoding == "ascii" else encoding) == ([expected], 0)


def test_half_of_a_character_separates_no_folders_in_a_guess(tmp_path):
    """0x5C ends characters of CP932: `表.jpg` would become a hidden file of a folder."""
    raw = "表.jpg".encode("cp932")
    assert listed(zipped(tmp_path / "a.zip", raw, host=DOS)) == (["ò\\.jpg"], 1)
    assert listed(zipped(tmp_path / "b.zip", b"B\x81RO\\a.jpg", host=DOS)) == (["BüRO/a.jpg"], 1)


def test_a_backslash_leads_no_member_out_of_its_archive(tmp_path):
    (problem,) = open_source(zipped(tmp_path / "a.zip", b"..\\x.jpg", host=DOS)).listing().problems
    assert problem.code == "UNSAFE_NAME"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_tars_are_utf_8_the_encoding_or_their_own_bytes(tmp_path, form):
    names = [NFD, JAPANESE]
    for encoding in ("utf-8", "cp932"):
        kept = names if encoding == "utf-8" else [JAPANESE]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form, encoding=encoding) as tar:
            for number, name in enumerate(kept):
                member = tarfile.TarInfo(name)
                member.size = 1
                tar.addfile(member, io.BytesIO(b"%d" % number))
        path = tmp_path / f"{encoding}.tar"
        path.write_bytes(buffer.getvalue())
        assert listed(str(path), "cp932") == (kept, 0)
        is_utf_8 = encoding == "utf-8" or form == tarfile.PAX_FORMAT
        own = kept if is_utf_8 else [os.fsdecode(JAPANESE.encode("cp932"))]
        assert listed(str(path)) == (own, 0)
