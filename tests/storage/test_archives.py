"""Zips and tars, whole and hostile, on a real disk."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from storage.errors import PhotoError, UsageError
from storage.sources.datasets import arrange
from storage.sources.source import open_source

MEMBERS = {"a/1.jpg": b"one" * 500, "a/2.jpg": b"two", "b/ü.jpg": bytes(range(256)) * 9}
KINDS = (
    "photos.zip",
    "photos.tar",
    "photos.tgz",
    "photos.tar.gz",
    "photos.tar.bz2",
    "photos.tar.xz",
    "photos.tar.zst",
    "photos.tzst",
)
ROOT = Path(__file__).parents[2]


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    if path.suffix in (".zst", ".tzst"):
        plain = pack(path.with_suffix(".plain"), members)
        path.write_bytes(zstandard.compress(plain.read_bytes()))
        plain.unlink()
        return path
    compression = {".tgz": "gz", ".gz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, content in members.items():
            archive.addfile(member(name, len(content)), io.BytesIO(content))
    return path


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


def contents(location: Path) -> dict[str, bytes]:
    source = open_source(str(location))
    listing = source.listing()
    assert not listing.problems, listing.problems
    return {file.path: source.read(file.path, file.offset, file.bytes) for file in listing.files}


def codes(location: Path) -> dict[str, str]:
    return {problem.path: problem.code for problem in open_source(str(location)).listing().problems}


@pytest.mark.parametrize("name", KINDS)
def test_members_are_listed_and_read_under_the_archives_name(tmp_path, name):
    pack(tmp_path / name, MEMBERS)
    assert contents(tmp_path / name) == {f"{name}/{path}": c for path, c in MEMBERS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_members_are_read_in_any_order_through_a_url_too(tmp_path, name):
    pack(tmp_path / name, MEMBERS)
    source = open_source(f"file://{tmp_path / name}")
    files = {file.path: file for file in source.listing().files}
    for path in sorted(files, reverse=True) * 2:
        file = files[path]
        assert source.read(path, file.offset, file.bytes) == MEMBERS[path[len(name) + 1 :]]


def test_a_folder_behind_a_url_lists_the_same_files_as_the_folder(tmp_path):
    for path, content in {**MEMBERS, ".hidden.jpg": b"x", "a/Thumbs.db": b"x"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    local, remote = open_source(str(tmp_path)), open_source(f"file://{tmp_path}")
    listed = [(file.path, file.bytes) for file in local.listing().files]
    assert [path for path, _ in listed] == sorted(MEMBERS)
    assert [(file.path, file.bytes) for file in remote.listing().files] == listed
    assert remote.read("a/2.jpg") == b"two"
    before = remote.digest()
    (tmp_path / "a" / "3.jpg").write_bytes(b"three")
    assert remote.digest() != before


@pytest.mark.parametrize("location", ["nowhere", "file:///nowhere/x.zip", "nosuchscheme://x/y"])
def test_a_place_without_photos_is_a_usage_error(tmp_path, location):
    with pytest.raises(UsageError, match="Expected"):
        open_source(location if "://" in location else str(tmp_path / location))


def test_a_file_that_is_no_archive_is_a_usage_error(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UsageError, match=".zip or .tar"):
        open_source(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    "name",
    ["photos.tar", "photos.tar.gz", "photos.tar.bz2", "photos.tar.xz", "photos.tar.zst"],
)
def test_a_tar_cut_short_says_so_and_keeps_what_is_whole(tmp_path, name):
    big = {f"{i}.jpg": bytes([i]) * 60_000 + bytes(range(256)) * 20 for i in range(6)}
    path = pack(tmp_path / name, big)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    listing = open_source(str(path)).listing()
    assert [problem.code for problem in listing.problems] == ["ARCHIVE_DAMAGED"]
    assert len(listing.files) < 6


def test_a_tar_without_its_end_or_with_more_after_it_is_damaged(tmp_path):
    path = pack(tmp_path / "a.tar", MEMBERS)
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512))
    assert codes(path) == {"a.tar": "ARCHIVE_DAMAGED"}
    path.write_bytes(whole + b"more")
    assert codes(path) == {"a.tar": "ARCHIVE_DAMAGED"}


def test_a_wrong_checksum_at_the_end_of_a_gzip_is_found(tmp_path):
    path = pack(tmp_path / "a.tgz", MEMBERS)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert codes(path) == {"a.tgz": "ARCHIVE_DAMAGED"}


def test_links_devices_and_sparse_files_of_a_tar_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = member("link.jpg", kind=tarfile.SYMTYPE)
        link.linkname = "/etc/passwd"
        hard = member("hard.jpg", kind=tarfile.LNKTYPE)
        hard.linkname = "link.jpg"
        for info in (
            link,
            hard,
            member("null.jpg", kind=tarfile.CHRTYPE),
            member("disk.jpg", kind=tarfile.BLKTYPE),
            member("fifo.jpg", kind=tarfile.FIFOTYPE),
            member("d", kind=tarfile.DIRTYPE),
        ):
            archive.addfile(info)
        archive.addfile(member("good.jpg", 3), io.BytesIO(b"abc"))
    listing = open_source(str(tmp_path / "a.tar")).listing()
    assert [file.path for file in listing.files] == ["a.tar/good.jpg"]
    assert {problem.code for problem in listing.problems} == {"NOT_REGULAR"}


@pytest.mark.parametrize(
    "name",
    [
        "../up.jpg",
        "/abs.jpg",
        ".",
        "~/home.jpg",
        "a\\..\\..\\b.jpg",
        "a/../../b.jpg",
        "C:\\x.jpg",
        "new\nline.jpg",
        "bidi\u202e.jpg",
    ],
)
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_names_that_leave_the_archive_or_mislead_are_refused(tmp_path, name, kind):
    pack(tmp_path / kind, {name: b"x", "good.jpg": b"y"})
    listing = open_source(str(tmp_path / kind)).listing()
    assert [file.path for file in listing.files] == [f"{kind}/good.jpg"]
    assert [problem.code for problem in listing.problems] == ["UNSAFE_NAME"]


@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_the_first_of_two_members_of_a_name_is_used(tmp_path, kind):
    path = tmp_path / kind
    if kind == "a.zip":
        with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.jpg", b"first")
            archive.writestr("a.jpg", b"second")
    else:
        with tarfile.open(path, "w") as archive:
            for content in (b"first", b"second"):
                archive.addfile(member("a.jpg", len(content)), io.BytesIO(content))
    source = open_source(str(path))
    (file,), (problem,) = source.listing().files, source.listing().problems
    assert problem.code == "DUPLICATE_NAME"
    assert source.read(file.path, file.offset, file.bytes) == b"first"


def test_a_zip_member_that_expands_too_much_is_a_bomb_and_the_others_stay(tmp_path):
    pack(tmp_path / "a.zip", {"bomb.bmp": bytes(80 << 20), "good.jpg": b"y" * 100})
    assert codes(tmp_path / "a.zip") == {"a.zip/bomb.bmp": "ARCHIVE_BOMB"}


def test_a_compressed_tar_that_expands_too_much_is_a_bomb(tmp_path):
    pack(tmp_path / "a.tar.bz2", {"bomb.bmp": bytes(80 << 20)})
    assert codes(tmp_path / "a.tar.bz2") == {"a.tar.bz2": "ARCHIVE_BOMB"}


def test_a_zip_whose_members_share_bytes_is_a_bomb(tmp_path):
    path = pack(tmp_path / "a.zip", {"a.jpg": b"x" * 50, "b.jpg": b"x" * 50})
    content = bytearray(path.read_bytes())
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)  # the second entry points at the first's header
    path.write_bytes(content)
    assert codes(path) == {"a.zip": "ARCHIVE_BOMB"}


def test_a_zip_member_whose_bytes_changed_is_refused_when_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.jpg", b"x" * 500)
    path.write_bytes(path.read_bytes().replace(b"x" * 500, b"x" * 250 + b"y" + b"x" * 249))
    source = open_source(str(path))
    with pytest.raises(PhotoError, match="CRC"):
        source.read("a.zip/a.jpg")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_what_is_no_archive_is_one_problem(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert codes(tmp_path / name) == {name: "ARCHIVE_DAMAGED"}


def test_an_archive_in_a_folder_is_a_file_until_it_is_asked_for(tmp_path):
    pack(tmp_path / "a.zip", MEMBERS)
    (tmp_path / "b.jpg").write_bytes(b"b")
    source = open_source(str(tmp_path))
    assert [file.path for file in source.listing().files] == ["a.zip", "b.jpg"]
    assert len(source.archive_listing("a.zip").files) == 3
    assert source.read("a.zip/a/2.jpg") == b"two"
    with pytest.raises(FileNotFoundError):
        source.read("gone.jpg")


def test_a_refused_member_does_not_hide_a_good_one_of_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("x.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, b"/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.jpg", b"the photo")
    source = open_source(str(tmp_path / "a.zip"))
    (file,) = source.listing().files
    assert source.read(file.path, file.offset, file.bytes) == b"the photo"


def test_a_tar_member_of_negative_size_does_not_go_round_for_ever(tmp_path):
    block = bytearray(member("x.jpg").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + (65536 - 512).to_bytes(2, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    first = member("good.jpg").tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(first + bytes(block) + bytes(1024))
    assert "ARCHIVE_DAMAGED" in codes(tmp_path / "a.tar").values()


def test_a_sparse_member_leaves_those_after_it(tmp_path):
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(50 << 20)
    (tmp_path / "z.jpg").write_bytes(b"photo")
    words = ["tar", "-S", "-cf", "a.tar", "sparse", "z.jpg"]
    subprocess.run(words, cwd=tmp_path, check=True)
    listing = open_source(str(tmp_path / "a.tar")).listing()
    assert [file.path for file in listing.files] == ["a.tar/z.jpg"]
    assert [problem.code for problem in listing.problems] == ["NOT_REGULAR"]


def test_a_link_to_an_archive_shows_when_the_archive_changes(tmp_path):
    pack(tmp_path / "real.zip", MEMBERS)
    (tmp_path / "link.zip").symlink_to("real.zip")
    before = open_source(str(tmp_path / "link.zip")).digest()
    pack(tmp_path / "real.zip", {"a.jpg": b"other"})
    assert open_source(str(tmp_path / "link.zip")).digest() != before


def test_frames_of_zstd_follow_one_another_and_may_be_skippable(tmp_path):
    whole = pack(tmp_path / "a.tar", MEMBERS).read_bytes()
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
    parts = [whole[i : i + 700] for i in range(0, len(whole), 700)]
    frames = [zstandard.compress(part) for part in parts]
    (tmp_path / "b.tar.zst").write_bytes(skipped.join([b"", *frames, b""]))
    assert contents(tmp_path / "b.tar.zst") == {f"b.tar.zst/{p}": c for p, c in MEMBERS.items()}


@pytest.mark.parametrize("cut", [1, 5, 20, -1, -8])
def test_a_zstd_frame_cut_short_or_followed_by_other_bytes_is_damaged(tmp_path, cut):
    path = pack(tmp_path / "a.tar.zst", MEMBERS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] if cut > 0 else whole + b"x" * -cut)
    assert codes(path) == {"a.tar.zst": "ARCHIVE_DAMAGED"}


def test_a_zstd_window_may_have_128_mib_and_no_more(tmp_path):
    plain = pack(tmp_path / "a.tar", MEMBERS).read_bytes()
    for log, expected in ((27, {}), (28, {"a.tar.zst": "ARCHIVE_BOMB"})):
        chosen = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
        compressor = zstandard.ZstdCompressor(compression_params=chosen).compressobj()
        content = compressor.compress(plain) + compressor.flush()  # of a size it does not know
        (tmp_path / "a.tar.zst").write_bytes(content)
        assert codes(tmp_path / "a.tar.zst") == expected


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_a_zip_are_read_within_bounds(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    assert contents(path) == {f"a.zip/{p}": c for p, c in MEMBERS.items()}
    harmed = bytearray(path.read_bytes())
    harmed[60] ^= 255
    path.write_bytes(harmed)
    with pytest.raises(PhotoError, match="ARCHIVE_DAMAGED"):
        open_source(str(path)).read("a.zip/a/1.jpg")


BOMB_BYTES = 10 << 30
PIECE = 64 << 20


def bomb_in_gzip(path: Path) -> None:
    write_bomb(path, gzip.compress)


def bomb_in_bzip2(path: Path) -> None:
    write_bomb(path, bz2.compress, 8 << 20)


def bomb_in_xz(path: Path) -> None:
    write_bomb(path, lambda content: lzma.compress(content, preset=0))


def bomb_in_zstd(path: Path) -> None:
    write_bomb(path, zstandard.compress)


def write_bomb(path: Path, compress: Callable[[bytes], bytes], piece: int = PIECE) -> None:
    header = member("bomb.bmp", BOMB_BYTES).tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(compress(header) + compress(bytes(piece)) * (BOMB_BYTES // piece))


def bomb_of_headers(path: Path) -> None:
    """Two million folders, members without bytes."""
    headers = member("d/", kind=tarfile.DIRTYPE).tobuf(tarfile.GNU_FORMAT) * (PIECE // 512)
    path.write_bytes(gzip.compress(headers, 9) * 16)


def deflated(num_pieces: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * num_pieces + b"\x03\x00"


def lying_zip(path: Path, packed: bytes, method: int, size: int, num_members: int = 1) -> None:
    """Members of one content, whose method and size the directory states as told."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(num_members):
            archive.writestr(f"bomb{number}.bmp", packed)
        for info in archive.filelist:
            info.compress_type, info.file_size = method, size


def bomb_in_zip(path: Path) -> None:
    lying_zip(path, deflated(BOMB_BYTES // PIECE), zipfile.ZIP_DEFLATED, BOMB_BYTES)


def bomb_of_small_members(path: Path) -> None:
    lying_zip(path, deflated(1), zipfile.ZIP_DEFLATED, PIECE, BOMB_BYTES // PIECE)


def deflate_that_lies(path: Path) -> None:
    lying_zip(path, deflated(BOMB_BYTES // PIECE), zipfile.ZIP_DEFLATED, 1 << 20)


def bzip2_that_lies(path: Path) -> None:
    packed = bz2.compress(bytes(PIECE)) * 1000
    lying_zip(path, packed, zipfile.ZIP_BZIP2, 1 << 20)


def lzma_that_lies(path: Path) -> None:
    chosen = [{"id": lzma.FILTER_LZMA1, "preset": 0}]
    packed = lzma.compress(bytes(256 << 20), lzma.FORMAT_RAW, filters=chosen)
    properties = bytes([93]) + struct.pack("<I", 0xFFFFFFFF)  # a window of 4 GiB
    lying_zip(path, b"\x09\x04\x05\x00" + properties + packed, zipfile.ZIP_LZMA, 1 << 20)


_READ = """
import json, sys, time
from pathlib import Path
from storage.errors import PhotoError
from storage.sources.source import open_source

started = time.process_time()  # others may use the machine too
source = open_source(sys.argv[1])
listing = source.listing()
codes = {problem.code for problem in listing.problems}
for file in listing.files:
    try:
        source.read(file.path, file.offset, file.bytes)
    except PhotoError as error:
        codes.add(error.code)
seconds = time.process_time() - started
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
print(json.dumps([sorted(codes), seconds, peak / 1e3]))
"""


@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("a.tar.gz", bomb_in_gzip, "ARCHIVE_BOMB"),
        ("a.tar.bz2", bomb_in_bzip2, "ARCHIVE_BOMB"),
        ("a.tar.xz", bomb_in_xz, "ARCHIVE_BOMB"),
        ("a.tar.zst", bomb_in_zstd, "ARCHIVE_BOMB"),
        ("b.tar.gz", bomb_of_headers, "ARCHIVE_BOMB"),
        ("a.zip", bomb_in_zip, "ARCHIVE_BOMB"),
        ("b.zip", bomb_of_small_members, "ARCHIVE_BOMB"),
        ("c.zip", deflate_that_lies, "ARCHIVE_DAMAGED"),
        ("d.zip", bzip2_that_lies, "ARCHIVE_DAMAGED"),
        ("e.zip", lzma_that_lies, "ARCHIVE_DAMAGED"),
    ],
)
def test_bombs_and_lies_are_refused_soon_and_in_little_memory(tmp_path, name, make, code):
    make(tmp_path / name)
    command = [sys.executable, "-c", _READ, str(tmp_path / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found, seconds, peak_mb = json.loads(done.stdout)
    assert found == [code]
    assert seconds < 5
    assert peak_mb < 300


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.zst"])
def test_names_that_differ_in_unicode_form_or_case_only_are_different_photos(tmp_path, kind):
    twins = {"\u00e9.jpg": b"one", "e\u0301.jpg": b"two", "A.jpg": b"three", "a.JPG": b"four"}
    pack(tmp_path / kind, twins)
    assert contents(tmp_path / kind) == {f"{kind}/{name}": c for name, c in twins.items()}


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz"])
def test_names_of_255_bytes_and_deep_folders_are_kept(tmp_path, kind):
    names = {"ü" * 125 + "x.jpg": b"long", "/".join(["folder"] * 200) + "/1.jpg": b"deep"}
    pack(tmp_path / kind, names)
    assert contents(tmp_path / kind) == {f"{kind}/{name}": c for name, c in names.items()}
    pack(tmp_path / kind, {"x/" * 2100 + "1.jpg": b"too deep"})
    assert set(codes(tmp_path / kind).values()) == {"UNSAFE_NAME"}


def test_names_of_other_encodings_are_read(tmp_path):
    pack(tmp_path / "a.tar", {os.fsdecode(b"latin \xe9.jpg"): b"x"})
    assert contents(tmp_path / "a.tar") == {os.fsdecode(b"a.tar/latin \xe9.jpg"): b"x"}
    pack(tmp_path / "a.zip", {"cp437 _.jpg": b"x"})
    path = tmp_path / "a.zip"
    path.write_bytes(path.read_bytes().replace(b"cp437 _.jpg", b"cp437 \x82.jpg"))
    assert contents(path) == {"a.zip/cp437 é.jpg": b"x"}


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.zst"])
def test_an_archive_in_an_archive_is_reported_and_not_opened(tmp_path, kind):
    inner = pack(tmp_path / "inner.tar.zst", MEMBERS).read_bytes()
    pack(tmp_path / kind, {"photo.jpg": b"x", "b/inner.tar.zst": inner})
    arranged = arrange(open_source(str(tmp_path / kind)), "plain")
    assert [entry.file.path for entry in arranged.entries] == [f"{kind}/photo.jpg"]
    assert [(problem.path, problem.code) for problem in arranged.problems] == [
        (f"{kind}/b/inner.tar.zst", "NESTED_ARCHIVE")
    ]


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_zip_cut_short_is_damaged(tmp_path, share):
    path = pack(tmp_path / "a.zip", MEMBERS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert codes(path) == {"a.zip": "ARCHIVE_DAMAGED"}


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar.zst"])
def test_more_after_the_end_of_a_compressed_tar_is_damaged(tmp_path, name):
    more = pack(tmp_path / "a.tar", MEMBERS).read_bytes() + b"more"
    compress = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    packed = compress.get(name.rpartition(".")[2], zstandard.compress)(more)
    (tmp_path / name).write_bytes(packed)
    assert codes(tmp_path / name) == {name: "ARCHIVE_DAMAGED"}


def directory_entry(content: bytes, name: bytes) -> int:
    """Where the entry of a zip's directory with that name begins."""
    return content.index(name, content.index(b"PK\x01\x02")) - 46


def changed_zip(path: Path, change: str) -> None:
    """Three members, of which the middle one is bad."""
    stored = {"a.jpg": b"one" * 9, "bad.jpg": b"two" * 9, "z.jpg": b"three" * 9}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in stored.items():
            archive.writestr(name, content)
    content = bytearray(path.read_bytes())
    entry, local = directory_entry(content, b"bad.jpg"), content.index(b"bad.jpg") - 30
    if change == "no name":
        for place in (entry, local):
            length = 28 if place == entry else 26
            content[place + length : place + length + 4] = b"\0\0\7\0"  # the name becomes an extra
    elif change == "no UTF-8":
        for place, size in ((entry, 46), (local, 30)):
            flags = 8 if place == entry else 6
            content[place + flags : place + flags + 2] = (0x800).to_bytes(2, "little")
            content[place + size : place + size + 7] = b"b\xe4d.jpg"
    elif change == "encrypted":
        content[entry + 8] |= 1
    elif change == "absolute":
        for place, size in ((entry, 46), (local, 30)):
            content[place + size : place + size + 7] = b"/ad.jpg"
    elif change == "method":
        content[entry + 10] = 93
    elif change == "large sizes":
        content[entry + 20 : entry + 28] = b"\xff" * 8  # without the extra field that tells them
    elif change == "header":
        content[local : local + 4] = b"PK??"
    elif change == "CRC":
        content[entry + 16] ^= 1
    elif change == "version":
        content[entry + 6] = 200
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("no name", "UNSAFE_NAME"),
        ("encrypted", "ENCRYPTED"),
        ("absolute", "UNSAFE_NAME"),
        ("method", "UNSUPPORTED_FORMAT"),
        ("large sizes", "ARCHIVE_DAMAGED"),
        ("header", "ARCHIVE_DAMAGED"),
        ("CRC", "ARCHIVE_DAMAGED"),
        ("no UTF-8", ""),
        ("version", ""),
    ],
)
def test_one_bad_member_of_a_zip_takes_no_other_with_it(tmp_path, change, code):
    changed_zip(tmp_path / "a.zip", change)
    source = open_source(str(tmp_path / "a.zip"))
    listing = source.listing()
    found = {problem.code for problem in listing.problems}
    good = {}
    for file in listing.files:
        try:
            good[file.path] = source.read(file.path)
        except PhotoError as error:
            found.add(error.code)
    assert found == ({code} if code else set())
    assert good["a.zip/a.jpg"] == b"one" * 9 and good["a.zip/z.jpg"] == b"three" * 9
    if change == "no UTF-8":  # though its flag says so
        assert "a.zip/bΣd.jpg" in good and listing.num_guessed == 1


def test_a_bad_header_of_a_tar_takes_no_other_member_with_it(tmp_path):
    path = pack(tmp_path / "a.tar", {f"{i}.jpg": bytes([65 + i]) * 700 for i in range(4)})
    content = bytearray(path.read_bytes())
    content[512 * 3 + 150] ^= 1  # of the checksum of the second header
    for name, packed in (("a.tar", content), ("b.tgz", gzip.compress(content))):
        (tmp_path / name).write_bytes(packed)
        source = open_source(str(tmp_path / name))
        listing = source.listing()
        assert [file.path for file in listing.files] == [f"{name}/{i}.jpg" for i in (0, 2, 3)]
        assert [(p.path, p.code) for p in listing.problems] == [(name, "ARCHIVE_DAMAGED")]
        last = listing.files[-1]
        assert source.read(last.path, last.offset, last.bytes) == b"D" * 700


@pytest.mark.parametrize("kind", ["tgz", "tar.bz2", "tar.xz", "tar.zst", "zip", "tar"])
@pytest.mark.parametrize("name", ["photos.tar", "photos.zip", "photos.tar.gz"])
def test_content_decides_what_an_archive_is(tmp_path, kind, name):
    pack(tmp_path / f"real.{kind}", MEMBERS).rename(tmp_path / name)
    assert contents(tmp_path / name) == {f"{name}/{path}": c for path, c in MEMBERS.items()}


def test_a_zip_behind_a_program_that_unpacks_it_is_read(tmp_path):
    path = pack(tmp_path / "a.zip", MEMBERS)
    path.write_bytes(b"MZ" + bytes(3000) + path.read_bytes())
    assert len(contents(path)) == len(MEMBERS)


PAGE = b"<!DOCTYPE html>\n<html><head><title>Google Drive - Virus scan warning</title>"
OTHERS = {
    "a web page (HTML)": PAGE + bytes(99),
    "JSON": b'{"error": "quota exceeded"}',
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n",
    "a picture (JPEG)": b"\xff\xd8\xff\xe0" + bytes(99),
    "a PDF": b"%PDF-1.7\n",
    "gzip of a web page (HTML)": gzip.compress(PAGE),
    "a RAR archive": b"Rar!\x1a\x07\x00",
}


@pytest.mark.parametrize("got", OTHERS)
@pytest.mark.parametrize("name", ["img_align_celeba.zip", "photos.tar.gz"])
def test_what_is_plainly_no_archive_is_called_what_it_is(tmp_path, name, got):
    (tmp_path / name).write_bytes(OTHERS[got])
    kind = "zip" if name.endswith(".zip") else "tar"
    for location in (str(tmp_path / name), f"file://{tmp_path / name}"):
        with pytest.raises(UsageError) as caught:
            open_source(location).listing()
        assert f"{name} is no {kind} but {got}; " in str(caught.value)
    if "HTML" in got:
        assert str(caught.value).endswith("download it again.")


def test_an_archive_of_a_dataset_that_is_a_web_page_is_called_so(tmp_path):
    (tmp_path / "img_align_celeba.zip").write_bytes(PAGE)
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    with pytest.raises(UsageError, match="img_align_celeba.zip is no zip but a web page"):
        arrange(open_source(str(tmp_path)), "celeba")


def test_an_archive_among_photos_that_is_a_web_page_is_called_so(tmp_path):
    (tmp_path / "more.zip").write_bytes(PAGE)
    (tmp_path / "1.jpg").write_bytes(b"x")
    (problem,) = arrange(open_source(str(tmp_path)), "plain").problems
    assert problem.code == "NOT_A_PHOTO" and "more.zip is no zip but a web page" in problem.detail
