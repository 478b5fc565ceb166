"""Near twins among many photos by the Hamming distance of their likeness, without all pairs.

Bands of the bits, permuted so that neighbours in the picture do not share a band: two hashes that
differ in fewer bits than there are bands agree in one band at least (pigeonhole). A photo is compared
only with those that stay and share a band with it, so that of a thousand shots of one scene each is
compared with one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from storage.allowed import MAX_TWIN_DISTANCE

_LEAST_BANDS = 4
"""So that the bits of a band fit into one number."""
_CHEAPER = 16
"""To compare one by one takes so many times as long as all at once."""
_PER_REPORT = 4096
"""Photos between two reports of progress."""

Hashes = NDArray[np.uint8]
Groups = NDArray[np.int64]
"""(N, bands): the number of the group of hashes with the same bits in a band; −1 alone in it."""
Report = Callable[[int, int], None]
"""Told how many of how many photos are done."""


def silent(done: int, total: int) -> None:
    """A report to nobody."""


def near_twins(
    likeness: Hashes,
    mirrored: Hashes,
    max_distance: int,
    report: Report = silent,
) -> list[int | None]:
    """For each photo, in order of preference, the earlier one that it is a near twin of.

    likeness, mirrored: uint8 (N, 32), of the photo and of its mirror image. max_distance: bits, at
    most `MAX_TWIN_DISTANCE`; below 0 nothing is a twin. report: told now and then how many of how many
    photos are done, where they are many. Returns an index or None for each photo; a twin of a twin is compared with the
    photo that stays, the earliest of them where there are several.
    """
    if max_distance > MAX_TWIN_DISTANCE:
        raise ValueError(f"Expected at most {MAX_TWIN_DISTANCE} bits, got {max_distance}.")
    total = len(likeness)
    twin_of: list[int | None] = [None] * total
    if max_distance < 0:
        return twin_of
    first = _first_equal(likeness, mirrored)
    distinct = np.unique(first)
    staying = _Staying(likeness[distinct], mirrored[distinct], max_distance)
    place = 0
    for photo, equal in enumerate(first.tolist()):
        if equal == photo:
            found = staying.twin_or_stay(place)
            twin_of[photo] = None if found is None else int(distinct[found])
            place += 1
        else:  # what the first of its likeness is a twin of, it is a twin of as well
            twin_of[photo] = equal if twin_of[equal] is None else twin_of[equal]
        if photo % _PER_REPORT == _PER_REPORT - 1 or _PER_REPORT < photo == total - 1:
            report(photo + 1, total)
    return twin_of


class _Staying:
    """The photos that stay so far, by group. Those to come are asked in their order."""

    def __init__(self, likeness: Hashes, mirrored: Hashes, max_distance: int) -> None:
        """likeness, mirrored: uint8 (N, 32), no two rows alike in both."""
        self._max_distance = max_distance
        num_bands = max(max_distance + 1, _LEAST_BANDS)
        self._groups, self._mirrored_groups = _groups(likeness, mirrored, num_bands)
        self._words, self._mirrored_words = _words(likeness), _words(mirrored)
        self._bits, self._mirrored_bits = _numbers(likeness), _numbers(mirrored)
        self._photos: list[int] = []
        self._staying = np.empty((2, *self._words.T.shape), np.uint64)
        self._members: dict[int, list[int]] = {}
        self._mirrored_members: dict[int, list[int]] = {}

    def twin_or_stay(self, photo: int) -> int | None:
        """The first that stays and looks like `photo`; None where there is none, and it stays too."""
        own, mirrored = self._groups[photo], self._mirrored_groups[photo]
        own_list, mirrored_list = own[own >= 0].tolist(), mirrored[mirrored >= 0].tolist()
        sharing = [self._members[g] for g in (*own_list, *mirrored_list) if g in self._members]
        sharing += [self._mirrored_members[g] for g in own_list if g in self._mirrored_members]
        if sum(map(len, sharing)) * _CHEAPER < len(self._photos):
            found = self._first_of(sorted(set().union(*sharing)), photo)
        else:
            found = self._first_of_all(photo)
        if found is None:
            self._stay(photo, own_list, mirrored_list)
        return found

    def _stay(self, photo: int, own: list[int], mirrored: list[int]) -> None:
        place = len(self._photos)
        self._staying[:, :, place] = self._words[photo], self._mirrored_words[photo]
        self._photos.append(photo)
        for members, groups in ((self._members, own), (self._mirrored_members, mirrored)):
            for group in groups:
                members.setdefault(group, []).append(photo)

    def _first_of(self, candidates: list[int], photo: int) -> int | None:
        """One by one, which is cheap for few."""
        bits, mirrored, most = self._bits, self._mirrored_bits, self._max_distance
        own, own_mirrored = bits[photo], mirrored[photo]
        for other in candidates:
            if (
                (bits[other] ^ own).bit_count() <= most
                or (mirrored[other] ^ own).bit_count() <= most
                or (bits[other] ^ own_mirrored).bit_count() <= most
            ):
                return other
        return None

    def _first_of_all(self, photo: int) -> int | None:
        """All at once: pages without a picture share most of their bands."""
        own, mirrored = self._staying[:, :, : len(self._photos)]
        close = (
            self._near(own, self._words[photo])
            | self._near(mirrored, self._words[photo])
            | self._near(own, self._mirrored_words[photo])
        )
        places = np.flatnonzero(close)
        return self._photos[places[0]] if len(places) else None

    def _near(self, words: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
        differing = np.bitwise_count(words ^ wanted[:, None]).sum(axis=0, dtype=np.uint16)
        near: NDArray[np.bool_] = differing <= self._max_distance
        return near


def _first_equal(likeness: Hashes, mirrored: Hashes) -> NDArray[np.int64]:
    """(N,): for each photo the first one with the same two hashes, itself where it is that."""
    both = np.ascontiguousarray(np.concatenate([likeness, mirrored], axis=1))
    whole = both.view(np.dtype((np.void, both.shape[1]))).reshape(-1)
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    firsts: NDArray[np.int64] = first[which]
    return firsts


def _groups(likeness: Hashes, mirrored: Hashes, num_bands: int) -> tuple[Groups, Groups]:
    """Which share the bits of a band, numbered over all bands."""
    order = np.random.default_rng(0).permutation(likeness.shape[1] * 8)
    bits = np.unpackbits(np.concatenate([likeness, mirrored]), axis=1)
    groups = np.full((len(bits), num_bands), -1, np.int64)
    start = 0
    for band, places in enumerate(np.array_split(order, num_bands)):
        keys = _packed(bits[:, places])
        _, which, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        groups[:, band] = np.where(sizes[which] > 1, which + start, -1)
        start += len(sizes)
    return groups[: len(likeness)], groups[len(likeness) :]


def _packed(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint8 (N, at most 64) of 0 and 1 as a number each."""
    packed = np.zeros((len(bits), 8), np.uint8)
    packed[:, : -(-bits.shape[1] // 8)] = np.packbits(bits, axis=1)
    return packed.view(np.uint64)[:, 0]


def _numbers(hashes: Hashes) -> list[int]:
    return [int.from_bytes(row) for row in np.ascontiguousarray(hashes)]


def _words(hashes: Hashes) -> NDArray[np.uint64]:
    """uint8 (N, 32) as uint64 (N, 4)."""
    return np.ascontiguousarray(hashes).view(np.uint64)
