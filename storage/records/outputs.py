"""Where a colorized photo goes: a mirrored tree, names that keep the source extension."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from storage.formats import FORMATS
from storage.records.ledger import FileRecord, atomic_path, record_file
from storage.records.names import MAP_SUFFIX, SIDECAR_SUFFIX

_COLOR = ".color"
_MOST_NAME_BYTES = 240
"""Most file systems take 255; a sidecar adds its suffix."""
_MOST_DEPTH, _MOST_PATH = 64, 2000
_ROOT = PurePosixPath()


def output_names(
    paths: Iterable[str],
    known: Mapping[str, str] | None = None,
    others: Iterable[str] = (),
    variants: int = 0,
) -> dict[str, str]:
    """Photo path → output path without suffix: `a/1.tif` → `a/1.tif.color`.

    So `1.jpg` beside `1.tif` cannot collide. Of names that some disks take for one (they differ in
    case or Unicode form only) all but the first in order get `~` and eight digits of the path's
    SHA-256. So do names that are too long or too deep for some disks; they go to the tree's root.
    known: names that photos bear already; they keep them. others: names of outputs that are none of
    these photos', which nothing may be written over. variants: how many each has beside it
    (`variant_name`); their names are as much taken.
    """
    known = known or {}
    paths = sorted(set(paths))
    names: dict[str, str] = {}
    taken = {plain_name(name) for name in others}

    def take(path: str, name: str) -> None:
        taken.update(_all_names(name, variants))
        names[path] = name

    for path in paths:
        name = known.get(path)
        if name is not None and not taken & _all_names(name, variants):
            take(path, name)
    for path in paths:
        if path in names:
            continue
        name = usual_name(path)
        if _too_long(name):
            name = _marked(path, PurePosixPath())
        elif taken & _all_names(name, variants):
            name = _marked(path, PurePosixPath(path).parent)
        take(path, name)
    return {path: names[path] for path in paths}


class OutputNames:
    """What `output_names` gives, of which only names that differ from the usual are kept.

    So a million photos take no more memory than the numbers by which the rare ones are found.
    """

    def __init__(
        self,
        paths: Callable[[], Iterable[str]],
        known: Mapping[str, str],
        others: Iterable[str],
        variants: int = 0,
    ) -> None:
        """paths: gives all photos' paths, each time anew. For the others see `output_names`."""
        others = list(others)
        numbers = _numbers((usual_name(path) for path in paths()), variants)
        taken = np.fromiter((hash(plain_name(name)) for name in others), np.int64)
        values, counts = np.unique(np.concatenate([numbers, taken]), return_counts=True)
        rare = set(values[counts > 1].tolist())
        special: set[str] = set()
        while True:
            found = {
                path
                for path in paths()
                if path not in special
                and (
                    known.get(path, usual_name(path)) != usual_name(path)
                    or _too_long(usual_name(path))
                    or not rare.isdisjoint(_numbers([usual_name(path)], variants).tolist())
                )
            }
            if not found:
                break
            special |= found  # and whose names they may get instead
            instead = (
                _marked(p, where) for p in found for where in (PurePosixPath(p).parent, _ROOT)
            )
            rare |= set(
                _numbers([*instead, *(known[p] for p in found if p in known)], variants).tolist()
            )
        chosen = {path: known[path] for path in special if path in known}
        self._special = output_names(special, chosen, others, variants)

    def of(self, path: str) -> str:
        """The name of one of the photos."""
        return self._special.get(path) or usual_name(path)


def usual_name(path: str) -> str:
    """The name of a photo's output where nothing speaks against it."""
    return f"{path}{_COLOR}"


def _numbers(stems: Iterable[str], variants: int) -> NDArray[np.int64]:
    """A number for each name that a photo's files bear; of two names that some disks take for one the same."""
    names = (name for stem in stems for name in _all_names(stem, variants))
    return np.fromiter(map(hash, names), np.int64)


def _all_names(stem: str, variants: int) -> set[str]:
    stems = [stem, *(variant_name(stem, number) for number in range(1, variants + 1))]
    return {plain_name(name) for name in stems}


def variant_name(stem: str, number: int) -> str:
    """The name without suffix of a photo's variant: `a/1.tif.color` → `a/1.tif.v2.color`. number: from 1."""
    return f"{bare_stem(stem)}.v{number}{_COLOR}"


def bare_stem(stem: str) -> str:
    """What the names of all that belongs to an output begin with: `a/1.tif.color` → `a/1.tif`."""
    return stem.removesuffix(_COLOR)


def plain_name(name: str) -> str:
    """What some disks take a name for: without case, in one Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()


def stem_of(output: str) -> str:
    """The name that `output_names` gave, of an output: `a/1.tif.color.png` → `a/1.tif.color`."""
    return output.rpartition(".")[0]


def aside_name(stem: str, mark: str) -> str:
    """Where an earlier output goes whose name another photo's takes: `a/1.tif~MARK.color`."""
    folder, name = PurePosixPath(stem).parent, PurePosixPath(stem).name.removesuffix(_COLOR)
    room = _MOST_NAME_BYTES - len(f"~{mark}{_COLOR}")
    kept = _cut(name, room)
    return str(folder / f"{kept}~{mark}{_COLOR}")


def files_of(output: str, names: Iterable[str], variants: Iterable[str] = ()) -> list[str]:
    """Of file names those that belong to an output: itself, its variants, their sidecars, its map."""
    photos = [output, *variants]
    wanted = {stem_of(output) + MAP_SUFFIX, *photos, *(name + SIDECAR_SUFFIX for name in photos)}
    return [name for name in names if name in wanted]


def output_suffix(path: str, source_format: str, output_format: str) -> str:
    """The suffix of an output: the photo's own where the format stays, else the format's."""
    own = PurePosixPath(path).suffix
    if output_format == "PPM":  # its colour is P6, whatever the gray was
        return own if own.lower() in (".ppm", ".pnm") else ".ppm"
    if source_format == output_format and own.lower() in FORMATS[output_format].suffixes:
        return own
    return FORMATS[output_format].suffixes[0]


def write_output(root: Path, name: str, write: Callable[[BinaryIO], None]) -> FileRecord:
    """Write one output atomically below `root`. Returns its record. Raises OutputError.

    Whoever records it calls `sync_folders_of` before: photos of a chunk lie in few folders.
    write: is given a file that is open for reading and writing.
    """
    target = root / name
    with atomic_path(target, sync_its_folder=False) as temporary, temporary.open("w+b") as file:
        write(file)
    return record_file(root, target)


def _too_long(name: str) -> bool:
    parts = name.split("/")
    longest = max(len(os.fsencode(part)) for part in parts)
    return longest > _MOST_NAME_BYTES or len(parts) > _MOST_DEPTH or len(name) > _MOST_PATH


def _marked(path: str, folder: PurePosixPath) -> str:
    pure = PurePosixPath(path)
    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    room = _MOST_NAME_BYTES - len(os.fsencode(f"~{mark}.color{pure.suffix}"))
    stem = _cut(pure.name, room)
    return str(folder / f"{stem}~{mark}.color")


def _cut(name: str, room: int) -> str:
    """As many of the first characters as fit into so many bytes."""
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name
