"""What bytes are that are not what their name says, in words for people."""

from __future__ import annotations

from storage.errors import PhotoError
from storage.formats import sniff

_STARTS = {
    b"PK\x03\x04": "a zip",
    b"PK\x05\x06": "a zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS",
    b"/annex/objects/": "a pointer of git-annex",
}
_FETCH = {"a pointer of Git LFS": "`git lfs pull`", "a pointer of git-annex": "`git annex get`"}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title")
_LOOKED_AT = 1024


def kind_of(content: bytes) -> str:
    """What a file is by its first bytes, as `a web page (HTML)`; empty where they say nothing."""
    if known := next((what for start, what in _STARTS.items() if content.startswith(start)), ""):
        return known
    text = content[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_HTML) or (text.startswith(b"<") and any(tag in text for tag in _HTML)):
        return "a web page (HTML)"
    if text.startswith(b"<?xml"):
        return "XML"
    if text.startswith((b"{", b"[")) and _is_text(text):
        return "JSON"
    try:
        return f"a picture ({sniff(content)})"
    except PhotoError as error:
        return "a picture" if error.code == "UNSUPPORTED_FORMAT" else ""


def remedy_of(kind: str) -> str:
    """How to get what was meant."""
    return f"get the file itself with {_FETCH[kind]}" if kind in _FETCH else "download it again"


def _is_text(content: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in content)
