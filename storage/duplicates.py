"""Near twins among many photos by the Hamming distance of their likeness, without all pairs.

Bands of the bits, permuted so that neighbours in the picture do not share a band: two hashes that
differ in fewer bits than there are bands agree in one band at least (pigeonhole).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_NUM_BANDS, _BAND_BYTES = 16, 2
MAX_DISTANCE = _NUM_BANDS - 1
"""The largest distance that the bands are sure to find, of 256 bits."""
_BLOCK = 1 << 20

Hashes = NDArray[np.uint8]


def near_twins(likeness: Hashes, mirrored: Hashes, max_distance: int) -> list[int | None]:
    """For each photo, in order of preference, the earlier one that it is a near twin of.

    likeness, mirrored: uint8 (N, 32), of the photo and of its mirror image. max_distance: bits, at
    most `MAX_DISTANCE`; below 0 nothing is a twin. Returns an index or None for each photo; a twin
    of a twin is compared with the photo that stays.
    """
    if max_distance > MAX_DISTANCE:
        raise ValueError(f"Expected at most {MAX_DISTANCE} bits, got {max_distance}.")
    twin_of: list[int | None] = [None] * len(likeness)
    if max_distance < 0:
        return twin_of
    pairs = {
        (first, second)
        for other in (likeness, mirrored)
        for first, second in _close_pairs(likeness, other, max_distance)
    }
    for first, second in sorted(pairs, key=lambda pair: (pair[1], pair[0])):
        if twin_of[first] is None and twin_of[second] is None:
            twin_of[second] = first
    return twin_of


def _close_pairs(left: Hashes, right: Hashes, max_distance: int) -> Iterator[tuple[int, int]]:
    """Index pairs (i < j) of left[i] and right[j], or right[i] and left[j], that are close."""
    order = np.random.default_rng(0).permutation(left.shape[1] * 8)
    left_bands, right_bands = _bands(left, order), _bands(right, order)
    for band in range(_NUM_BANDS):
        for first, second in _equal_keys(left_bands[:, band], right_bands[:, band]):
            differing = np.bitwise_count(left[first] ^ right[second]).sum(axis=1, dtype=np.int64)
            close = (differing <= max_distance) & (first != second)
            low = np.minimum(first[close], second[close])
            high = np.maximum(first[close], second[close])
            yield from zip(low.tolist(), high.tolist(), strict=True)


def _bands(hashes: Hashes, order: NDArray[np.int64]) -> NDArray[np.uint16]:
    bits = np.unpackbits(hashes, axis=1)[:, order]
    packed = np.packbits(bits, axis=1).reshape(len(hashes), _NUM_BANDS, _BAND_BYTES)
    bands: NDArray[np.uint16] = packed.astype(np.uint16) @ np.array([256, 1], np.uint16)
    return bands


def _equal_keys(
    left: NDArray[np.uint16], right: NDArray[np.uint16]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All index pairs with left[i] == right[j], in blocks."""
    order = np.argsort(right, kind="stable")
    ordered = right[order]
    start = np.searchsorted(ordered, left, "left")
    count = np.searchsorted(ordered, left, "right") - start
    ends = np.cumsum(count)
    begin = 0
    while begin < len(left):
        base = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, base + _BLOCK, "right")))
        counts = count[begin:end]
        first = np.repeat(np.arange(begin, end), counts)
        within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield first, order[np.repeat(start[begin:end], counts) + within]
        begin = end
