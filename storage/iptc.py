"""IPTC's Information Interchange Model 4.2: datasets, and Photoshop's image resource for them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

Dataset = tuple[tuple[int, int], bytes]
"""Record and number, data."""
CAPTION_DATASET = (2, 120)

_MOST_RESOURCES, _MOST_DATASETS = 4 << 20, 10_000
_RESOURCE = 0x0404


def read_datasets(content: bytes) -> list[Dataset]:
    """The datasets of IIM 4.2 (1.5): record and number, data; as far as they parse."""
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
    return datasets


def pack_datasets(datasets: Iterable[Dataset]) -> bytes:
    """The bytes of datasets; a long one has an extended length."""
    packed = bytearray()
    for (record, number), data in datasets:
        long = len(data) > 0x7FFF
        packed += struct.pack(">BBBH", 0x1C, record, number, 0x8004 if long else len(data))
        packed += (struct.pack(">I", len(data)) if long else b"") + data
    return bytes(packed)


def from_resources(resources: bytes) -> bytes:
    """The IPTC among Photoshop's image resources: 8BIM, id, padded name, size, padded data."""
    resources, place = resources[:_MOST_RESOURCES], 0
    while resources[place : place + 4] == b"8BIM":
        number, name_size = struct.unpack_from(">HB", resources, place + 4)
        start = place + 6 + (name_size + 2) // 2 * 2 + 4
        (size,) = struct.unpack_from(">I", resources, start - 4)
        if number == _RESOURCE:
            return pack_datasets(read_datasets(resources[start : start + size]))
        place = start + size + size % 2
    return b""


def as_resource(iptc: bytes) -> bytes:
    """An image resource that holds datasets."""
    padded = iptc + bytes(len(iptc) % 2)
    return b"8BIM" + struct.pack(">HHI", _RESOURCE, 0, len(iptc)) + padded
