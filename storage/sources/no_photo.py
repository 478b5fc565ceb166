"""What is no photo: names and folders that cameras, editors, NAS boxes and systems leave, and content.

A name of the table is left out before it is read; an include pattern that names it brings it back.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from pathlib import PurePosixPath
from typing import Self

from storage.errors import PhotoError
from storage.formats import FORMATS
from storage.sources.entries import folded, globs_of

HIDDEN, CLUTTER = "hidden", "system files"
_FOLDERS = (
    *("@eadir", "@tmp", "@sharebin", "@snapshot", "#recycle", "#snapshot", "#trash"),  # Synology
    *("@recycle", "@recently-snapshot", "@__thumb", "@transcode"),  # QNAP
    *("@gmt-*", "~snapshot", "trashbox"),  # Samba, NetApp, Buffalo
    *("$recycle.bin", "recycler", "recycled", "system volume information", "found.[0-9][0-9][0-9]"),
    *("lost+found", "lost.dir"),  # Unix, Android
    *("__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder"),
    *("resource.frk", "finder.dat"),  # what classic Mac OS keeps on other systems' disks
    *("*.lrdata", "_gsdata_", "_vti_cnf", "_vti_pvt"),  # Lightroom, GoodSync, FrontPage
)
"""Trash cans, snapshots, thumbnails: they hold photos that no one means."""
_FILES = (
    *("*@synoeastream", "*@synoresource"),
    *("*.db", "*.db-wal", "*.db-shm", "*.db-journal", "*.ini", "*.inf", "*.lnk", "*.ico", "*.cur"),
    *("zbthumbnail.info", "*.jbf", "*.pe4", "*.tnl"),  # thumbnails of Zoner, Paint Shop Pro, Adobe
    *("icon\r", "*.icns", "*.webloc", "desktop db", "desktop df", "finder.dat"),
    *("*.thm", "*.ctg", "*.aae"),  # cameras: thumbnail, catalogue, edits of Apple
    *("*.pp3", "*.arp", "*.dop", "*.vrd", "*.nksc", "*.cos", "*.cot", "*.cop", "*.comask", "*.on1"),
    *("*.lrcat", "*.lrcat-*", "*.lrprev", "*.bridgesort", "*.bridgecache", "*.bridgecachet"),
    *("*.md5", "*.md5sum", "*.sha1", "*.sha224", "*.sha256", "*.sha384", "*.sha512", "*.blake3"),
    *("*.sfv", "*.crc", "*.par2", "*.ffs_db", "~$*"),  # FreeFileSync, locks of Office
)
_FOLDER, _FILE = (
    re.compile("|".join(translate(glob) for glob in globs)) for globs in (_FOLDERS, _FILES)
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TEXT_SUFFIXES = _words(
    ".txt .csv .tsv .json .jsonl .xml .xmp .md .rst .html .htm .py .toml .yaml .yml .log .tex .bib "
    ".url .nfo .rtf .srt .sql .css .js .geojson .gpx .kml .asc"
)
_PICTURE_SUFFIXES = _words(
    " ".join(s for known in FORMATS.values() for s in known.suffixes)
) | _words(
    ".psd .psb .tga .pcx .pict .pct .pcd .fpx .exr .hdr .svg .eps .jxr .wdp .hdp .sgi .dcm .xcf .mpo "
    ".jps .3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .drf .eip .erf .fff .gpr .iiq .k25 .kdc "
    ".mdc .mef .mos .mrw .nef .nrw .orf .pef .ptx .pxn .raf .raw .rw2 .rwl .rwz .sr2 .srf .srw .x3f"
)
"""Names that claim a picture, read here or not: camera raw too."""
_PACKED = (
    b"Rar!",
    b"7z\xbc\xaf\x27\x1c",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
)
_ZIP = b"PK\x03\x04"
_ZIPPED_DOCUMENTS = _words(
    ".docx .xlsx .pptx .odt .ods .odp .epub .jar .apk .kmz .pages .numbers .key .xpi .lrplugin"
)
_VIDEO_BRANDS = (
    *(b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  "),
    *(b"M4V ", b"M4A ", b"M4VP", b"3gp", b"3g2", b"MSNV", b"dash", b"f4v ", b"mmp4", b"XAVC"),
)
_LOOKED_AT = 1 << 16


@dataclass(frozen=True, slots=True)
class Ignored:
    """The table, without the names that include patterns bring back."""

    included: tuple[tuple[str, ...], ...] = ()
    """Globs of each pattern."""

    @classmethod
    def but(cls, include: Sequence[str]) -> Self:
        """What is left when patterns as in .gitignore bring names back."""
        return cls(tuple(tuple(globs_of(pattern)) for pattern in include))

    def why(self, parts: Sequence[str], start: int = 0, *, is_folder: bool = False) -> str:
        """HIDDEN or CLUTTER for a path that is left out by its name or a folder's, else empty.

        start: the first part that is asked of. is_folder: whether the path is a folder's.
        """
        for end in range(start + 1, len(parts) + 1):
            inner = is_folder or end < len(parts)
            why = _why(parts[end - 1], is_folder=inner)
            if why and not self._brings_back(parts[:end], is_folder=inner):
                return why
        return ""

    def _brings_back(self, parts: Sequence[str], *, is_folder: bool) -> bool:
        named = [folded(part) for part in parts] if self.included else ()
        return any(_is_named(named, globs, is_folder) for globs in self.included)


TABLE = Ignored()


def is_no_photo(path: str, content: bytes, error: PhotoError) -> bool:
    """Whether a file that was refused is plainly no photo: it does not claim to be one.

    Its name claims it by a picture's suffix, its content by a picture's first bytes, which are no
    claim in a text that is named so; an archive may hold photos. error: why it was refused.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _PICTURE_SUFFIXES:
        return False
    if has_text_name(path) and is_text(content):
        return True
    if error.code == "UNSUPPORTED_FORMAT":
        return content[4:8] == b"ftyp" and content[8:12].startswith(_VIDEO_BRANDS)
    if content.startswith(_ZIP) and suffix not in _ZIPPED_DOCUMENTS:
        return False
    return error.code in ("NOT_A_PHOTO", "EMPTY") and not content.startswith(_PACKED)


def has_text_name(path: str) -> bool:
    """Whether a file is named as text that lies beside photos, as a.txt or README is."""
    name = PurePosixPath(path)
    return name.suffix.lower() in _TEXT_SUFFIXES or (not name.suffix and name.name.isupper())


def is_text(content: bytes) -> bool:
    """Whether bytes are text, whatever its encoding: no controls but those of lines and pages.

    UTF-16 and UTF-32 by their mark, UTF-16 without one by its zeros; in all others, of one byte or
    several, as UTF-8, Windows-1252 and Shift-JIS, no byte of a character is a control.
    """
    start = content[:_LOOKED_AT]
    marks = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if start.startswith(marks):
        wide = "utf-32" if start.startswith(marks[:2]) else "utf-16"
        return _has_no_controls(start.decode(wide, "ignore"))
    if b"\0" not in start:
        return _has_no_controls(start.decode("latin-1"))
    pairs = len(start) // 2
    zeros = start[1::2].count(0), start[::2].count(0)  # of Latin letters, little and big end first
    if not pairs or max(zeros) < pairs / 4 or min(zeros) > pairs / 50:
        return False
    order = "utf-16-le" if zeros[0] > zeros[1] else "utf-16-be"
    return _has_no_controls(start[: 2 * pairs].decode(order, "replace"))


def _has_no_controls(text: str) -> bool:
    """Whether no character is a control but tab, ends of lines and pages, end of file and ESC."""
    return all(c >= " " or c in "\t\n\v\f\r\x1a\x1b" for c in set(text))


def _why(name: str, *, is_folder: bool) -> str:
    if name.startswith(".") and name not in (".", ".."):
        return HIDDEN
    table = _FOLDER if is_folder else _FILE
    return CLUTTER if table.match(name.lower()) else ""


def _is_named(parts: Sequence[str], globs: Sequence[str], is_folder: bool) -> bool:
    """Whether the first globs fit all parts, and that of the last part means what is left out.

    It does where it is in the table itself, as `*.thm`, `.trash-*` and `@eadir` are, or begins with
    the same sign, as `#*`. `*.jpg` does not mean `._1.jpg`, nor `img_*` a thumbnail img_1.thm.
    """
    if not parts or not globs:
        return False
    if globs[0] == "**":
        starts = range(len(parts))
        return any(_is_named(parts[start:], globs[1:], is_folder) for start in starts)
    if not fnmatchcase(parts[0], globs[0]):
        return False
    if len(parts) > 1:
        return _is_named(parts[1:], globs[1:], is_folder)
    why = _why(parts[0], is_folder=is_folder)
    return _why(globs[0], is_folder=is_folder) == why or globs[0][0] in "@#$~"
