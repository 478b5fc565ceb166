"""BagIt bags (RFC 8493): a received one is checked before use, a finished output becomes one.

The check is ours and not that of the `bagit` package: 1.9.0 refuses whole bags for names with %25,
U+2028 or three line breaks, takes `../bag-evil/x` of a bag `bag` for a place inside, and opens links
and pipes. Tests compare both.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from storage.errors import DamagedError, UsageError
from storage.records.fingerprint import hash_bytes
from storage.records.ledger import write_bytes

_DECLARATION = "bagit.txt"
_INFO = "bag-info.txt"
_ALGORITHMS = ("sha512", "sha256", "sha1", "md5")
_BLOCK = 1 << 20
_NUM_NAMED = 5
_LINE = re.compile(r"([0-9a-fA-F]+)[ \t]+\*?(.+)", re.DOTALL)

Checksums = dict[str, dict[str, str]]
"""Of each path, as it lies on disk: algorithm → hex."""


class Recorded(Protocol):
    """A file whose size and hash are known, as `storage.records.ledger.FileRecord`."""

    @property
    def path(self) -> str:
        """Relative to the bag's `data` folder, with forward slashes."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...

    @property
    def sha256(self) -> str:
        """In hex."""
        ...


class _BagError(Exception):
    """What is wrong with a bag, one finding a name."""

    def __init__(self, *findings: str) -> None:
        super().__init__(*findings)
        self.findings = findings


def is_bag(folder: Path) -> bool:
    """Whether a folder says that it is a bag: bagit.txt lies in it."""
    return (folder / _DECLARATION).is_file()


def check_bag(folder: Path) -> None:
    """Read every file of a bag and compare it with the manifests.

    Only regular files are opened, and only those in the bag; what fetch.txt names is not fetched.
    Raises DamagedError naming the first files that are missing, changed, unlisted, no regular
    files, or outside the bag; UsageError where the system refuses to read one.
    """
    try:
        _check(folder)
    except OSError as error:
        raise UsageError(
            f"Expected to read the bag at {folder}, got: {error.strerror or error} "
            f"({error.filename or folder}). Check its permissions and its disk, then run again."
        ) from error
    except (_BagError, UnicodeError) as error:
        findings = error.findings if isinstance(error, _BagError) else (str(error),)
        more = f" and {len(findings) - _NUM_NAMED} more" if len(findings) > _NUM_NAMED else ""
        raise DamagedError(
            f"Expected a whole and valid bag at {folder}, got: "
            f"{'; '.join(findings[:_NUM_NAMED])}{more}. Copy it again from where it came, or "
            f"repair it; to use its photos unchecked, name the folder {folder / 'data'}."
        ) from error


def write_bag(root: Path, files: Iterable[Recorded], info: Mapping[str, str]) -> list[Path]:
    """Make a bag of a folder whose payload lies in root/data already: its tag files.

    files: all files below root/data. info: labels and values of bag-info.txt; Payload-Oxum is
    added, and Bag-Software-Agent where it is not given. The same arguments give the same bytes;
    bagit.txt is written last, so that a bag half written is none. Returns the tag files. Raises
    UsageError for a name or label that a bag cannot hold; OutputError.
    """
    records = sorted(files, key=lambda record: record.path)
    declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    tags = {
        _INFO: _info_lines(records, info),
        "manifest-sha256.txt": "".join(
            f"{record.sha256}  data/{_encoded(record.path)}\n" for record in records
        ),
        _DECLARATION: declaration,
    }
    lines = (f"{hash_bytes(text.encode())}  {name}\n" for name, text in sorted(tags.items()))
    tags = {"tagmanifest-sha256.txt": "".join(lines), **tags}
    for name, text in tags.items():
        write_bytes(root / name, text.encode())
    return [root / name for name in tags]


def _info_lines(records: list[Recorded], info: Mapping[str, str]) -> str:
    num_bytes = sum(record.bytes for record in records)
    entries = {"Bag-Software-Agent": "chromaflow", **info}
    entries["Payload-Oxum"] = f"{num_bytes}.{len(records)}"
    for label in entries:
        if not re.fullmatch(r"[^\s:]([^:\r\n]*[^\s:])?", label):
            raise UsageError(
                f"Expected a label of bag-info.txt without ':' or line breaks, got {label!r}."
            )
    return "".join(f"{label}: {' '.join(value.split())}\n" for label, value in entries.items())


def _encoded(path: str) -> str:
    """A path as RFC 8493 (section 2.1.3) writes it in a manifest."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"Expected names in UTF-8, as a bag's manifest needs them, got {path!r}. Rename it."
        ) from error
    if path.startswith("/") or _leaves(f"data/{path}"):
        raise UsageError(f"Expected a path below the bag's data folder, got {path!r}.")
    return path.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _decoded(path: str) -> str:
    codes = {"0D": "\r", "0A": "\n", "25": "%"}
    return re.sub("%(0[DAda]|25)", lambda found: codes[found[1].upper()], path)


def _leaves(path: str) -> bool:
    return path.startswith(("/", "~")) or ".." in path.replace("\\", "/").split("/")


def _check(folder: Path) -> None:
    files = _regular_files(folder)
    encoding = _declared_encoding(folder)
    _refuse_fetched_outside(folder, files, encoding)
    tags = _read_manifests(folder, "tagmanifest", files, encoding)
    payload = _read_manifests(folder, "manifest", files, encoding)
    if not any(f"manifest-{algorithm}.txt" in files for algorithm in _ALGORITHMS):
        raise _BagError(f"no manifest of {', '.join(_ALGORITHMS)}")
    missing = [f"{path!r} is missing" for path in (*tags, *payload) if path not in files]
    in_data = [path for path in sorted(files) if path.startswith("data/")]
    unlisted = [f"{path!r} is in no manifest" for path in in_data if path not in payload]
    if missing or unlisted:
        raise _BagError(*missing, *unlisted)
    _check_oxum(folder, files, encoding)
    if changed := list(_changed(folder, tags | payload)):
        raise _BagError(*changed)


def _regular_files(folder: Path) -> dict[str, int]:
    """Path → size of all files. A link or pipe is refused: others would read through it."""
    files: dict[str, int] = {}
    for parent, folders, names in os.walk(folder, onerror=_fail):
        for name in (*folders, *names):
            path = Path(parent, name)
            relative, status = path.relative_to(folder).as_posix(), path.lstat()
            if stat.S_ISREG(status.st_mode):
                files[relative] = status.st_size
            elif not stat.S_ISDIR(status.st_mode):
                raise _BagError(f"{relative!r} is a link, pipe or device")
    if not (folder / "data").is_dir():
        raise _BagError("no folder 'data'")
    return files


def _fail(error: OSError) -> None:
    raise error


def _declared_encoding(folder: Path) -> str:
    text = (folder / _DECLARATION).read_bytes().decode()
    found = re.search(r"^BagIt-Version:\s*(0\.9\d|1\.\d+)\s*$", text, re.MULTILINE)
    encoding = re.search(r"^Tag-File-Character-Encoding:\s*(\S+)\s*$", text, re.MULTILINE)
    if found is None or encoding is None:
        raise _BagError(f"{_DECLARATION!r} without a version of 0.9x or 1.x and an encoding")
    try:
        "a".encode(encoding[1])  # zlib and hex are codecs too, but none of text
        return codecs.lookup(encoding[1]).name
    except (LookupError, ValueError) as error:
        raise _BagError(f"{_DECLARATION!r} with the unknown encoding {encoding[1]!r}") from error


def _refuse_fetched_outside(folder: Path, files: Mapping[str, int], encoding: str) -> None:
    if "fetch.txt" not in files:
        return
    for line in _lines(folder / "fetch.txt", encoding):
        words = line.split(None, 2)
        if len(words) < 3:
            raise _BagError(f"'fetch.txt' with the line {line[:80]!r}, expected URL, length, path")
        path = _decoded(words[2])
        if _leaves(path) or not path.startswith("data/"):
            raise _BagError(f"'fetch.txt' names {path!r}, outside the payload")


def _read_manifests(folder: Path, kind: str, files: Mapping[str, int], encoding: str) -> Checksums:
    """kind: manifest or tagmanifest."""
    by_form = {unicodedata.normalize("NFC", path): path for path in files}
    sums: Checksums = {}
    for algorithm in _ALGORITHMS:
        name = f"{kind}-{algorithm}.txt"
        for line in _lines(folder / name, encoding) if name in files else []:
            found = _LINE.fullmatch(line)
            if found is None:
                raise _BagError(f"{name!r} with the line {line[:80]!r}")
            listed = found[2].removeprefix("./")
            if _leaves(_decoded(listed)) or (kind == "manifest" and listed[:5] != "data/"):
                raise _BagError(f"{name!r} names {listed!r}, outside the payload")
            known = sums.setdefault(_on_disk(listed, files, by_form), {})
            if known.setdefault(algorithm, found[1].lower()) != found[1].lower():
                raise _BagError(f"{name!r} names {listed!r} with two checksums")
    return sums


def _on_disk(listed: str, files: Mapping[str, int], by_form: Mapping[str, str]) -> str:
    """The file that a manifest's path means: some writers leave % as it is, and some file systems
    change the Unicode form."""
    decoded = _decoded(listed)
    as_stored = by_form.get(unicodedata.normalize("NFC", decoded), decoded)
    return next((path for path in (decoded, listed, as_stored) if path in files), decoded)


def _lines(path: Path, encoding: str) -> list[str]:
    """Those that are not blank. Not by splitlines, which breaks at U+2028 too."""
    text = path.read_bytes().decode(encoding).removeprefix("\ufeff")
    return [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def _check_oxum(folder: Path, files: Mapping[str, int], encoding: str) -> None:
    lines = _lines(folder / _INFO, encoding) if _INFO in files else []
    sizes = [size for path, size in files.items() if path.startswith("data/")]
    for line in lines:
        label, _, value = line.partition(":")
        got = f"{sum(sizes)}.{len(sizes)}"
        if label.strip().lower() == "payload-oxum" and value.strip() != got:
            raise _BagError(f"{_INFO!r} with Payload-Oxum {value.strip()}, but {got} lie there")


def _changed(folder: Path, sums: Checksums) -> Iterator[str]:
    for path in sorted(sums):
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in sums[path]}
        with (folder / path).open("rb") as file:
            while block := file.read(_BLOCK):
                for each in hashes.values():
                    each.update(block)
        if any(each.hexdigest() != sums[path][name] for name, each in hashes.items()):
            yield f"{path!r} has changed"
