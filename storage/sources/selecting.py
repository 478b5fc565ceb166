"""Which of a source's files are taken: by patterns as in .gitignore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from storage.sources.archives import is_archive_name
from storage.sources.entries import Listing, folded, globs_of, num_left
from storage.sources.sidecars import SUFFIX, is_sidecar_name, sidecar_stems

NOT_CHOSEN = "left out by include and exclude"


def select_files(listing: Listing, include: Sequence[str], exclude: Sequence[str]) -> Listing:
    """The files that any pattern of `include` fits (all, where it is empty) and none of `exclude`.

    As in .gitignore: `*.tif` fits a name in any folder, `a/b/*` starts at the source's root, `**`
    is any depth, `raw/` is a folder; a folder or an archive that fits stands for all in it. Upper
    and lower case are the same. An XMP file goes with its photo unless it is excluded. Problems go
    with their paths; that of a whole archive stays unless it is excluded. Raises UsageError for an
    empty pattern.
    """
    if not include and not exclude:
        return listing
    is_wanted, is_unwanted = fitter(include), fitter(exclude)

    def keeps(path: str, is_needed: bool = False) -> bool:
        return (is_needed or not include or is_wanted(path)) and not is_unwanted(path)

    problems = [p for p in listing.problems if keeps(p.path, is_archive_name(p.path))]
    chosen = {file.path for file in listing.files if keeps(file.path)}
    if include:
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
    return replace(listing, files=files, problems=problems, left_out=left_out)


def fitter(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether any of these patterns, as of `select_files`, fits a path. Raises UsageError."""
    globs = [(globs_of(pattern), 1 if pattern.endswith("/") else 0) for pattern in patterns]

    def fits(path: str) -> bool:
        parts = folded(path).split("/")
        return any(left >= least for parts_of, least in globs for left in num_left(parts, parts_of))

    return fits
