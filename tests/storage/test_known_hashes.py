"""Hashes are remembered by a file's stamps, and never where the stamps may lie."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

import storage.records.known_hashes
from storage.records.known_hashes import KnownHashes

OLD = 1_600_000_000


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose times are older than a tick: the clock that is asked goes ahead."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"first")
    os.utime(path, (OLD, OLD))
    now = storage.records.known_hashes.time.time_ns
    monkeypatch.setattr(storage.records.known_hashes.time, "time_ns", lambda: now() + 5_000_000_000)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_known_file_is_not_read_again_in_the_next_process_either(photo: Path) -> None:
    memory = photo.parent / "hashes.bin"
    first = KnownHashes(memory)
    assert first.recall(photo) is None
    assert first.hash(photo) == sha256(b"first")
    first.save()
    again = KnownHashes(memory)
    assert again.recall(photo) == sha256(b"first")
    photo.rename(photo.with_name("other.jpg"))  # its ctime changes on most file systems
    folder = photo.parent
    folder.rename(folder.with_name("moved"))
    assert KnownHashes(folder.with_name("moved") / "hashes.bin").count


def test_what_is_derived_from_a_file_is_made_once_and_kept_apart_from_its_hash(photo: Path) -> None:
    memory, made = photo.parent / "hashes.bin", []

    def make() -> str:
        made.append(photo.read_bytes())
        return sha256(b"tree of " + made[-1])

    first = KnownHashes(memory)
    assert first.derived(photo, "tree 1", make) == first.derived(photo, "tree 1", make)
    assert first.hash(photo) == sha256(b"first")
    first.save()
    again = KnownHashes(memory)
    assert again.derived(photo, "tree 1", make) == sha256(b"tree of first") and len(made) == 1
    again.derived(photo, "tree 2", make)
    assert len(made) == 2, "of another version"
    photo.write_bytes(b"second")
    os.utime(photo, (OLD, OLD))
    assert again.derived(photo, "tree 1", make) == sha256(b"tree of second")


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    """A second write within one tick leaves the stamps as they are."""
    path, hashes = tmp_path / "photo.jpg", KnownHashes()
    path.write_bytes(b"first")
    assert hashes.hash(path) == sha256(b"first")
    assert hashes.recall(path) is None
    path.write_bytes(b"other")
    assert hashes.hash(path) == sha256(b"other")


def test_a_file_of_the_future_is_read_each_time(photo: Path) -> None:
    hashes = KnownHashes()
    os.utime(photo, (4_000_000_000, 4_000_000_000))
    hashes.hash(photo)
    assert hashes.recall(photo) is None


def test_other_bytes_with_the_old_time_and_size_are_seen(photo: Path) -> None:
    """`touch -r` and cameras put the time back; the time of the change stays."""
    hashes = KnownHashes()
    hashes.hash(photo)
    photo.write_bytes(b"other")
    os.utime(photo, (OLD, OLD))
    assert hashes.hash(photo) == sha256(b"other")


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(path: Path) -> str:
        path.write_bytes(b"longer than before")
        return sha256(b"first")

    hashes = KnownHashes()
    monkeypatch.setattr(storage.records.known_hashes, "hash_file", changing)
    hashes.hash(photo)
    assert hashes.recall(photo) is None


@pytest.mark.parametrize("damage", [b"", b"chromaflow hashes 2\n", b"chromaflow hashes 1\nx"])
def test_a_memory_that_is_not_whole_is_as_good_as_none(photo: Path, damage: bytes) -> None:
    memory = photo.parent / "hashes.bin"
    memory.write_bytes(damage)
    assert KnownHashes(memory).hash(photo) == sha256(b"first")
    hashes = KnownHashes(memory)
    hashes.hash(photo)
    hashes.save()
    for place in range(0, memory.stat().st_size, 7):
        content = bytearray(memory.read_bytes())
        content[place] ^= 1
        (photo.parent / "bad.bin").write_bytes(content)
        assert KnownHashes(photo.parent / "bad.bin").recall(photo) is None
        (photo.parent / "bad.bin").write_bytes(memory.read_bytes()[:place])
        assert KnownHashes(photo.parent / "bad.bin").recall(photo) is None


def test_it_stays_bounded(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody asks for any more goes, once there is much of it."""
    monkeypatch.setattr(storage.records.known_hashes, "_SLACK", 3)
    memory = photo.parent / "hashes.bin"
    for number in range(20):
        photo.write_bytes(b"%04d" % number)
        os.utime(photo, (OLD + number, OLD + number))
        hashes = KnownHashes(memory)
        hashes.hash(photo)
        hashes.save()
        assert 1 <= KnownHashes(memory).count <= 6


def test_where_it_cannot_be_kept_it_is_not(photo: Path, tmp_path: Path) -> None:
    hashes = KnownHashes(tmp_path / "no workspace" / "hashes.bin")
    hashes.hash(photo)
    hashes.save()
    assert not (tmp_path / "no workspace").exists(), "plan makes no workspace"


def test_threads_share_it(photo: Path) -> None:
    hashes, found = KnownHashes(photo.parent / "hashes.bin"), []
    threads = [threading.Thread(target=lambda: found.append(hashes.hash(photo))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hashes.save()
    assert found == [sha256(b"first")] * 8
