"""Bags, written here and received, whole and hostile; the `bagit` package is the second opinion."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import bagit
import pytest

from storage.errors import DamagedError, UsageError
from storage.records.ledger import FileRecord, record_file
from storage.sources.bags import write_bag
from storage.sources.source import open_source

PHOTOS = {"a/1.jpg": b"one" * 500, "a/zwei ü.jpg": b"two", "b  c.jpg": bytes(range(256))}


def lay(root: Path, files: dict[str, bytes]) -> list[FileRecord]:
    """The files below root/data, recorded."""
    records = []
    for name, content in files.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        records.append(record_file(root / "data", path))
    return records


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    root = tmp_path / "bag"
    write_bag(root, lay(root, PHOTOS), {"Source-Organization": "City Archive"})
    return root


def listed(location: Path) -> list[str]:
    return [file.path for file in open_source(str(location)).listing().files]


def refusal(bag: Path) -> str:
    source = open_source(str(bag))  # must not look
    source.digest()
    with pytest.raises(DamagedError) as caught:
        source.listing()
    assert caught.value.exit_code == 7
    assert "Copy it again" in str(caught.value)
    return str(caught.value)


def test_a_written_bag_is_valid_by_the_bagit_package_and_read_back(bag: Path) -> None:
    other = bagit.Bag(str(bag))
    assert other.validate()
    assert other.info["Source-Organization"] == "City Archive"
    assert other.info["Payload-Oxum"] == f"{1503 + 256}.3"
    source = open_source(str(bag))
    assert [file.path for file in source.listing().files] == sorted(PHOTOS)
    assert source.read("a/1.jpg") == PHOTOS["a/1.jpg"]
    assert source.folders() == (bag.resolve(),)


def test_the_same_bag_has_the_same_bytes(bag: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    records = lay(other, dict(reversed(PHOTOS.items())))
    write_bag(other, reversed(records), {"Source-Organization": "City Archive"})
    for path in bag.glob("*.txt"):
        assert path.read_bytes() == (other / path.name).read_bytes()
    assert {path.name for path in other.iterdir()} == {path.name for path in bag.iterdir()}


def test_names_with_line_breaks_and_percent_are_encoded(tmp_path: Path) -> None:
    names = ["cr\rlf\n.jpg", "100%.jpg", "%0A.jpg", "sep\u2028.jpg", "~x.jpg", "*.jpg", " .jpg"]
    twins = ["\u00e9.jpg", "e\u0301.jpg"]  # é, in one character and in two
    contents = {name: name.encode() for name in [*names, *twins]}
    write_bag(tmp_path, lay(tmp_path, contents), {})
    manifest = (tmp_path / "manifest-sha256.txt").read_bytes()
    for encoded in (b"data/cr%0Dlf%0A.jpg", b"data/100%25.jpg", b"data/%250A.jpg"):
        assert encoded in manifest
    assert manifest.count(b"\n") == len(contents)
    assert listed(tmp_path) == sorted(contents)


def test_line_breaks_are_read_by_the_bagit_package_too(tmp_path: Path) -> None:
    write_bag(tmp_path, lay(tmp_path, {"cr\rlf\n.jpg": b"x", "é ü\u0301.jpg": b"y"}), {})
    assert bagit.Bag(str(tmp_path)).validate()


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_bags_of_the_bagit_package_are_read(tmp_path: Path, algorithm: str) -> None:
    for name in ("a.jpg", "100%.jpg", "a%25.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    bagit.make_bag(str(tmp_path), checksums=[algorithm])
    assert listed(tmp_path) == ["100%.jpg", "a%25.jpg", "a.jpg"]
    (tmp_path / "data" / "a.jpg").write_bytes(b"A.jpg")
    assert "'data/a.jpg' has changed" in refusal(tmp_path)


def test_a_bag_copied_to_a_file_system_that_changes_the_unicode_form_is_whole(
    tmp_path: Path,
) -> None:
    write_bag(tmp_path, lay(tmp_path, {"\u00e9.jpg": b"x"}), {})
    (tmp_path / "data/\u00e9.jpg").rename(tmp_path / "data/e\u0301.jpg")
    assert listed(tmp_path) == ["e\u0301.jpg"]
    assert bagit.Bag(str(tmp_path)).validate()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda bag: (bag / "data/a/1.jpg").write_bytes(b"eno" * 500), "'data/a/1.jpg' has"),
    "missing": (lambda bag: (bag / "data/a/1.jpg").unlink(), "'data/a/1.jpg' is missing"),
    "added": (lambda bag: (bag / "data/.x").write_bytes(b""), "'data/.x' is in no manifest"),
    "tag": (lambda bag: (bag / "bag-info.txt").write_text("A: b\n"), "'bag-info.txt' has changed"),
    "no manifest": (
        lambda bag: [path.unlink() for path in bag.glob("*manifest*")],
        "no manifest of sha512",
    ),
    "no data": (lambda bag: (bag / "data").rename(bag / "payload"), "no folder 'data'"),
    "version": (lambda bag: (bag / "bagit.txt").write_text("BagIt-Version: 7.0\n"), "version"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_bag_is_refused_by_name_as_the_bagit_package_does(bag: Path, kind: str) -> None:
    harm, expected = DAMAGE[kind]
    harm(bag)
    assert expected in refusal(bag)
    with pytest.raises(bagit.BagError):
        bagit.Bag(str(bag)).validate()


def test_the_first_wrong_files_are_named_and_the_others_counted(tmp_path: Path) -> None:
    write_bag(tmp_path, lay(tmp_path, {f"{i:02}.jpg": b"x" for i in range(12)}), {})
    for path in (tmp_path / "data").iterdir():
        path.write_bytes(b"y")
    message = refusal(tmp_path)
    assert "'data/04.jpg' has changed and 7 more" in message and "05" not in message


@pytest.mark.parametrize(
    "name", ["../bag-evil/x.jpg", "data/../../x.jpg", "/etc/passwd", "~/x", "x.jpg", "data\\..\\x"]
)
def test_a_manifest_that_names_a_place_outside_is_refused(bag: Path, name: str) -> None:
    (bag.parent / "bag-evil").mkdir()
    (bag.parent / "bag-evil/x.jpg").write_bytes(b"")
    (bag / "tagmanifest-sha256.txt").unlink()
    with (bag / "manifest-sha256.txt").open("a") as file:
        file.write(f"{hashlib.sha256(b'').hexdigest()}  {name}\n")
    message = refusal(bag)
    assert "outside the payload" in message or "is missing" in message


def test_a_fetch_list_is_not_followed_and_may_not_name_a_place_outside(bag: Path) -> None:
    (bag / "fetch.txt").write_text("https://example.org/1.jpg 1500 data/a/1.jpg\n")
    assert listed(bag) == sorted(PHOTOS), "all was fetched"
    (bag / "data/a/1.jpg").unlink()
    assert "'data/a/1.jpg' is missing" in refusal(bag)
    (bag / "fetch.txt").write_text("https://example.org/1.jpg - data/../../1.jpg\n")
    assert "outside the payload" in refusal(bag)


@pytest.mark.parametrize("make", ["link", "folder link", "pipe"])
def test_links_and_pipes_in_a_bag_are_refused_unopened(bag: Path, make: str) -> None:
    place = bag / "data/a/1.jpg"
    place.unlink()
    if make == "pipe":
        os.mkfifo(place)  # who opens it waits for ever
    else:
        place.symlink_to("/etc/passwd" if make == "link" else bag)
    assert "'data/a/1.jpg' is a link, pipe or device" in refusal(bag)


def test_two_checksums_for_a_file_are_refused(bag: Path) -> None:
    (bag / "tagmanifest-sha256.txt").unlink()
    with (bag / "manifest-sha256.txt").open("a") as file:
        file.write(f"{'0' * 64}  data/a/1.jpg\n")
    assert "two checksums" in refusal(bag)


def test_a_manifest_that_is_no_text_is_refused(bag: Path) -> None:
    (bag / "manifest-sha256.txt").write_bytes(b"\xff\xfe\x00")
    refusal(bag)
    (bag / "manifest-sha256.txt").write_bytes(b"no checksum here\n")
    assert "with the line" in refusal(bag)


def test_a_bag_is_read_once_to_be_checked(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    monkeypatch.setattr("storage.sources.files.check_bag", checked.append)
    source = open_source(str(bag))
    source.digest(), source.read("a/1.jpg")
    assert not checked
    source.listing(), source.listing()
    assert checked == [bag]


def test_the_digest_of_a_bag_changes_with_its_payload_and_its_manifests(bag: Path) -> None:
    before = open_source(str(bag)).digest()
    assert open_source(str(bag)).digest() == before
    (bag / "manifest-sha256.txt").write_text("")
    changed = open_source(str(bag)).digest()
    (bag / "data/a/1.jpg").write_bytes(b"")
    assert len({before, changed, open_source(str(bag)).digest()}) == 3


@pytest.mark.parametrize("path", ["../x.jpg", "/x.jpg", "bad\udcff.jpg"])
def test_a_name_that_a_bag_cannot_hold_is_a_usage_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="Expected"):
        write_bag(tmp_path, [FileRecord(path, 0, "00")], {})
    assert not list(tmp_path.iterdir())


def test_values_of_the_bag_info_stay_on_their_line(tmp_path: Path) -> None:
    write_bag(tmp_path, lay(tmp_path, PHOTOS), {"Contact-Name": "A\r\nPayload-Oxum: 1.1"})
    lines = (tmp_path / "bag-info.txt").read_text().splitlines()
    assert "Contact-Name: A Payload-Oxum: 1.1" in lines
    with pytest.raises(UsageError, match="label"):
        write_bag(tmp_path, [], {"A:\nB": "x"})


@pytest.mark.parametrize("blank", ["\n", "  \n", "\t\r\n", " \u00a0\n"])
def test_blank_lines_are_passed_over(bag: Path, blank: str) -> None:
    fetch = bag / "fetch.txt"
    fetch.write_text(f"{blank}https://example.org/1.jpg 1500 data/a/1.jpg\n{blank}")
    (bag / "tagmanifest-sha256.txt").unlink()
    with (bag / "manifest-sha256.txt").open("a") as file:
        file.write(blank)
    assert listed(bag) == sorted(PHOTOS)


@pytest.mark.parametrize("line", ["https://example.org/1.jpg", "data/a/1.jpg 7"])
def test_a_fetch_list_of_other_lines_is_refused(bag: Path, line: str) -> None:
    (bag / "fetch.txt").write_text(f"{line}\n")
    assert "'fetch.txt' with the line" in refusal(bag)


@pytest.mark.parametrize("encoding", ["zlib", "hex", "rot13", "undefined", "nosuch", "a\0b"])
def test_an_encoding_that_is_none_of_text_is_refused(bag: Path, encoding: str) -> None:
    text = (bag / "bagit.txt").read_text().replace("UTF-8", encoding)
    (bag / "bagit.txt").write_text(text)
    refusal(bag)


def test_a_bag_that_the_system_refuses_to_read_is_not_called_damaged(
    bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        (bag / "data/a/1.jpg").chmod(0)
    else:  # nobody refuses root; the very call does what a failing disk makes it do

        def fail(self: Path, *args: object, **named: object) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(UsageError, match="permissions") as caught:
        open_source(str(bag)).listing()
    assert "Copy it again" not in str(caught.value)
