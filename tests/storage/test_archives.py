"""Zips and tars, whole and hostile, on a real disk."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from storage.errors import PhotoError, UsageError
from storage.sources import open_source

MEMBERS = {"a/1.jpg": b"one" * 500, "a/2.jpg": b"two", "b/ü.jpg": bytes(range(256)) * 9}
KINDS = (
    "photos.zip",
    "photos.tar",
    "photos.tgz",
    "photos.tar.gz",
    "photos.tar.bz2",
    "photos.tar.xz",
)


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
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


@pytest.mark.parametrize("name", ["photos.tar", "photos.tar.gz", "photos.tar.bz2", "photos.tar.xz"])
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
        for info in (
            link,
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
    ["../up.jpg", "/abs.jpg", "a/../../b.jpg", "C:\\x.jpg", "new\nline.jpg", "bidi\u202e.jpg"],
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
