"""Which of a source's files are taken: by patterns as in .gitignore, and text beside photos left out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from storage.errors import UsageError
from storage.sources.archives import is_archive_name
from storage.sources.entries import Listing, num_left
from storage.sources.sidecars import SUFFIX, is_sidecar_name, sidecar_stems

_COMPANION_SUFFIXES = frozenset(
    [
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".xmp",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".py",
        ".toml",
        ".yaml",
        ".yml",
        ".ini",
        ".log",
        ".tex",
        ".bib",
        ".url",
    ]
)


NOT_CHOSEN = "left out by include and exclude"


_LOOKED_AT = 1 << 16


def select_files(listing: Listing, include: Sequence[str], exclude: Sequence[str]) -> Listing:
    """The files that any pattern of `include` fits (all, where it is empty) and none of `exclude`.

    As in .gitignore: `*.tif` fits a name in any folder, `a/b/*` starts at the source's root, `**`
    is any depth, `raw/` is a folder; a folder or an archive that fits stands for all in it. Upper
    and lower case are the same. An XMP file goes with its photo unless it is excluded. Problems go
    with their paths; that of a whole archive stays unless it is excluded. Raises UsageError for an
    empty pattern.
    """
    wanted, unwanted = [_fitter(p) for p in include], [_fitter(p) for p in exclude]

    def keeps(path: str, is_needed: bool = False) -> bool:
        parts = _folded(path).split("/")
        is_wanted = is_needed or not wanted or any(fits(parts) for fits in wanted)
        return is_wanted and not any(fits(parts) for fits in unwanted)

    problems = [p for p in listing.problems if keeps(p.path, is_archive_name(p.path))]
    chosen = {file.path for file in listing.files if keeps(file.path)}
    if wanted:
        follow = {stem for path in chosen for stem in sidecar_stems(path)}
        chosen |= {
            file.path
            for file in listing.files
            if is_sidecar_name(file.path)
            and file.path[: -len(SUFFIX)] in follow
            and keeps(file.path, True)
        }
    files = [file for file in listing.files if file.path in chosen]
    left_out = dict(listing.left_out)
    if num_dropped := len(listing.files) + len(listing.problems) - len(files) - len(problems):
        left_out[NOT_CHOSEN] = num_dropped
    return Listing(files, problems, left_out)


def is_companion(path: str, content: bytes) -> bool:
    """Whether a file beside photos is plainly none: text, and named so, as a.txt or README is."""
    if not has_companion_name(path):
        return False
    start = content[:_LOOKED_AT]
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        text = "" if error.start < len(start) - 3 else start[: error.start].decode("utf-8")
        if not text:
            return False
    return "\0" not in text


def has_companion_name(path: str) -> bool:
    """Whether a file is named as text that lies beside photos, as a.txt or README is."""
    name = PurePosixPath(path)
    return name.suffix.lower() in _COMPANION_SUFFIXES or (not name.suffix and name.name.isupper())


def _fitter(pattern: str) -> Callable[[Sequence[str]], bool]:
    """Whether the parts of a folded path, or of a folder that it lies in, fit a pattern."""
    text = _folded(pattern).removeprefix("./")
    globs = [glob for glob in text.split("/") if glob]
    if not globs:
        raise UsageError(f"Expected a pattern as *.tif or raw/**, got {pattern!r}. Correct it.")
    if "/" not in text.rstrip("/"):
        globs = ["**", *globs]
    if globs[-1] == "**":
        globs.append("*")
    least_left = 1 if text.endswith("/") else 0
    return lambda parts: any(left >= least_left for left in num_left(parts, globs))


def _folded(path: str) -> str:
    """Without case and in one Unicode form: a Mac writes é as two characters."""
    return unicodedata.normalize("NFC", path).lower()
