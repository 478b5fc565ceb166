"""Does one place lie in another? By name, through links, through mounts, and for URLs.

A folder has several names: symbolic links, bind mounts, file:// URLs. So places are compared by what
the system says they are: device and inode of all folders above, and the mount table, which alone
knows of a mounted sub-folder where it comes from.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.errors import UsageError
from storage.sources.locations import LIST_PREFIX, is_url, resolve_location
from storage.sources.source import open_source

_MOUNTS = Path("/proc/self/mountinfo")
_SAME_SCHEME = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "local": "file"}
_Place = tuple[str, str]
"""Device, and the path within its file system."""
_Mount = tuple[str, str, str]
"""Device, the path within it, and where it is mounted."""


def refuse_nesting(location: str, *outputs: Path | str) -> None:
    """Raise UsageError where photos and what is written would lie in one another.

    location: of a source, as `storage.sources.source.open_source` takes it. outputs: folders or URLs that are
    written to. An archive file may lie in an output: nothing is ever added to it. An output may lie beside
    the files of a list: what is not listed is not coloured.
    """
    is_list = location.startswith(LIST_PREFIX)
    mounts = _read_mounts()
    targets = [(output, _spot(output, mounts)) for output in outputs]
    for source in _places_of(location):
        spot = _spot(source, mounts)
        for output, target in targets:
            if not is_list and _lies_in(target, spot):
                raise UsageError(
                    f"Expected an output outside the archive {source}, got {output}, which lies "
                    "inside: colour would lie among the originals and be coloured again. Choose a "
                    "folder beside it."
                )
            if not spot.is_file and _lies_in(spot, target):
                raise UsageError(
                    f"Expected an archive outside the output {output}, got {source}, which lies inside: "
                    "colour would be written among the originals and be coloured again. Choose "
                    f"another output, as {str(output).rstrip('/')}-colour."
                )


def is_inside(inner: Path | str, outer: Path | str) -> bool:
    """Whether a folder or URL is another one or lies in it, whatever they are called."""
    mounts = _read_mounts()
    return _lies_in(_spot(inner, mounts), _spot(outer, mounts))


@dataclass(frozen=True, slots=True)
class _Spot:
    """All that tells where a folder or URL is."""

    name: str
    """A resolved path, or a URL in one spelling."""
    is_url: bool
    is_file: bool = False
    identity: tuple[int, int] | None = None
    """Device and inode, where it is there."""
    above: frozenset[tuple[int, int]] = frozenset()
    """Its own and those of all folders above it."""
    place: _Place | None = None
    holds: tuple[_Place, ...] = ()
    """Its own place, and those of what is mounted in it."""


def _spot(where: Path | str, mounts: list[_Mount]) -> _Spot:
    local = _local(where)
    if isinstance(local, str):
        return _Spot(local, True)
    path = local.resolve()
    place = _place(path, mounts)
    mounted = ((device, root) for device, root, point in mounts if path in Path(point).parents)
    return _Spot(
        name=str(path),
        is_url=False,
        is_file=path.is_file(),
        identity=_identity(path),
        above=frozenset(i for folder in (path, *path.parents) if (i := _identity(folder))),
        place=place,
        holds=(*([place] if place else []), *mounted),
    )


def _lies_in(inner: _Spot, outer: _Spot) -> bool:
    if inner.is_url or outer.is_url:
        return inner.is_url and outer.is_url and _is_below(inner.name, outer.name)
    return (
        _is_below(inner.name, outer.name)
        or outer.identity in inner.above
        or any(
            inner.place is not None and inner.place[0] == device and _is_below(inner.place[1], root)
            for device, root in outer.holds
        )
    )


def _places_of(location: str) -> tuple[Path | str, ...]:
    """The folders, the archive or the URL of a source."""
    local = _local(location)
    if isinstance(local, str):
        return (location.rstrip("/"),)
    where = str(local) if is_url(location) else location  # a Path would spell a list's root anew
    return open_source(resolve_location(where)).folders()


def _local(place: Path | str) -> Path | str:
    """A local path as a Path, file:// too; any other URL in one spelling."""
    text = str(place)
    if not is_url(text):
        return Path(text) if not isinstance(place, Path) else place
    scheme, _, rest = text.partition("://")
    scheme = _SAME_SCHEME.get(scheme.lower(), scheme.lower())
    if scheme == "file":
        return Path(unquote(urlsplit(text).path) if rest.startswith("/") else rest)
    return f"{scheme}://{posixpath.normpath(rest.lstrip('/'))}"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read_mounts(table: Path = _MOUNTS) -> list[_Mount]:
    """Every mount; none where the system has no table."""
    try:
        lines = table.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = (line.split(" ") for line in lines)
    return [(f[2], _plain(f[3]), _plain(f[4])) for f in fields if len(f) > 4]


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _place(path: Path, mounts: list[_Mount]) -> _Place | None:
    """Where a path lies on its device; the last mount at a point covers earlier ones."""
    found: tuple[int, _Place] | None = None
    for device, root, point in mounts:
        if path.is_relative_to(point) and (found is None or len(point) >= found[0]):
            inside = posixpath.normpath(posixpath.join(root, path.relative_to(point).as_posix()))
            found = len(point), (device, inside)
    return found[1] if found else None


def _is_below(inner: str, outer: str) -> bool:
    return f"{inner.rstrip('/')}/".startswith(f"{outer.rstrip('/')}/")
