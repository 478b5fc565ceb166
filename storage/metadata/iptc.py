"""IPTC's Information Interchange Model 4.2: datasets, and Photoshop's image resource for them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from storage.containers.parsing import Losses
from storage.errors import PhotoError
from storage.metadata.charsets import UTF8_DECLARED, declared

Dataset = tuple[tuple[int, int], bytes]
"""Record and number, data."""
CAPTION_DATASET = (2, 120)
_CHARSET_DATASET = (1, 90)
_TEXTS = range(3, 123)
"""Datasets of record 2 that hold text or digits."""

_MOST_RESOURCES, _MOST_DATASETS = 4 << 20, 10_000
_RESOURCE = 0x0404
_OTHER_RESOURCES = (b"MeSa", b"AgHg", b"PHUT", b"DCSR")
"""What other programs write in place of 8BIM."""


def read_datasets(content: bytes) -> list[Dataset]:
    """The datasets of IIM 4.2 (1.5): record and number, data; as far as they parse."""
    return split_datasets(content)[0]


def split_datasets(content: bytes) -> tuple[list[Dataset], int]:
    """The datasets as far as they parse, and how many bytes follow that do not; padding is none."""
    datasets: list[Dataset] = []
    place = 0
    while content[place : place + 1] == b"\x1c" and len(datasets) < _MOST_DATASETS:
        record, number, size = struct.unpack(">BBH", content[place + 1 : place + 5].ljust(4, b"\0"))
        start = place + 5
        if size & 0x8000:  # extended: so many bytes hold the length
            width = min(size & 0x7FFF, 8)
            size = int.from_bytes(content[start : start + width], "big")
            start += width
        if start + size > len(content):
            break
        datasets.append(((record, number), content[start : start + size]))
        place = start + size
    return datasets, len(content[place:].strip(b"\0"))


def in_utf8(datasets: list[Dataset]) -> list[Dataset]:
    """The same with its text in UTF-8, which dataset 1:90 then declares.

    As they were where all is ASCII, UTF-8 and declared so, or has no meaning by its declaration
    or, without one, by the guess.
    """
    declaration = find(datasets, _CHARSET_DATASET)
    texts = [declared(data, declaration) if _is_text(key) else "" for key, data in datasets]
    if all(map(str.isascii, texts)) or any("\ufffd" in text for text in texts):
        return datasets
    converted = [
        (key, text.encode() if text else data)
        for (key, data), text in zip(datasets, texts, strict=True)
    ]
    return with_dataset(converted, _CHARSET_DATASET, UTF8_DECLARED)


def _is_text(key: tuple[int, int]) -> bool:
    return key[0] == 2 and key[1] in _TEXTS


def find(datasets: Iterable[Dataset], key: tuple[int, int]) -> bytes:
    """The data of the first dataset of that record and number; empty where there is none."""
    return next((data for number, data in datasets if number == key), b"")


def with_dataset(datasets: list[Dataset], key: tuple[int, int], data: bytes) -> list[Dataset]:
    """The same with one dataset of that record and number, in its place."""
    kept = [dataset for dataset in datasets if dataset[0] != key]
    place = sum(number <= key for number, _ in kept)
    return [*kept[:place], (key, data), *kept[place:]]


def whole_datasets(content: bytes, losses: Losses) -> bytes:
    """The bytes of the datasets that parse; what follows them is noted."""
    datasets, num_lost = split_datasets(content)
    if num_lost:
        losses.note("IPTC", f"{len(datasets)} datasets can be read, {num_lost} bytes cannot")
    return pack_datasets(datasets)


def pack_datasets(datasets: Iterable[Dataset]) -> bytes:
    """The bytes of datasets; a long one has an extended length."""
    packed = bytearray()
    for (record, number), data in datasets:
        long = len(data) > 0x7FFF
        packed += struct.pack(">BBBH", 0x1C, record, number, 0x8004 if long else len(data))
        packed += (struct.pack(">I", len(data)) if long else b"") + data
    return bytes(packed)


def from_resources(resources: bytes, losses: Losses) -> bytes:
    """The IPTC among Photoshop's image resources: 8BIM, id, padded name, size, padded data."""
    resources, place = resources[:_MOST_RESOURCES], 0
    while resources[place : place + 4] == b"8BIM":
        number, name_size = struct.unpack_from(">HB", resources, place + 4)
        start = place + 6 + (name_size + 2) // 2 * 2 + 4
        (size,) = struct.unpack_from(">I", resources, start - 4)
        if number == _RESOURCE:
            return whole_datasets(resources[start : start + size], losses)
        place = start + size + size % 2
    rest = resources[place:]
    if rest.strip(b"\0") and not rest.startswith(_OTHER_RESOURCES):
        raise PhotoError("DAMAGED", f"expected a resource of Photoshop, got {rest[:4].hex()}")
    return b""


def as_resource(iptc: bytes) -> bytes:
    """An image resource that holds datasets."""
    padded = iptc + bytes(len(iptc) % 2)
    return b"8BIM" + struct.pack(">HHI", _RESOURCE, 0, len(iptc)) + padded
