"""The exceptions of `storage`, and the reasons for which a photo goes to quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chromaflow.errors import ChromaflowError
from storage.visible import visible


class StorageError(ChromaflowError):
    """Of files and what they hold. As text, for terminals, logs and Prefect's page, names of files in
    it are visible.
    """

    code = "STORAGE"

    def __str__(self) -> str:
        return visible(super().__str__())


class UsageError(StorageError, ValueError):
    """A path, a config key or a value that the caller gave is wrong: correct it."""

    code = "USAGE"
    exit_code = 2


class NoInputError(StorageError):
    """Nothing to work on: no photo is usable."""

    code = "NO_INPUT"
    exit_code = 4


class OutputError(StorageError):
    """The disk or the output folder refused the work: free or repair it, then run again."""

    code = "OUTPUT"
    exit_code = 5


class DamagedError(StorageError):
    """A file of ours is missing or its bytes are not those recorded: run again to rebuild it."""

    code = "DAMAGED"
    exit_code = 7


class CodecMissingError(StorageError):
    """A package that the run was asked to use is not installed."""

    code = "CODEC_MISSING"
    exit_code = 3


class LockedError(StorageError):
    """Another run works on the same workspace: wait for it."""

    code = "LOCKED"
    exit_code = 8


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a photo is in quarantine."""

    code: str
    meaning: str
    remedy: str
    policy: bool = False
    """A filter of the config dropped it: nothing failed, and the run may still exit 0."""
    acceptable: bool = False
    """Whether `[colorize] accept` may name it."""


REASONS = {
    reason.code: reason
    for reason in (
        Reason(
            "EMPTY",
            "The file has no bytes.",
            "Copy it again from where it came, or leave it out with `--exclude NAME`; then run "
            "again.",
        ),
        Reason(
            "NOT_A_PHOTO",
            "The name claims a photo, the content is none of the formats that are known.",
            "Copy it again from where it came, or leave it out with `--exclude NAME`.",
        ),
        Reason(
            "TRUNCATED",
            "The file ends before its picture does.",
            "Copy it again from where it came; scan it again if that copy is short too. "
            "`--salvage` "
            "colours the pages of a TIFF that can be read.",
        ),
        Reason(
            "DAMAGED",
            "The decoder refused the content.",
            "Copy it again from where it came, or open and save it again in an editor; or leave "
            "it out with `--exclude NAME`.",
        ),
        Reason(
            "UNSUPPORTED_FORMAT",
            "The content is a picture, but in a format that is not read here.",
            "Convert it to TIFF or PNG (`chromaflow formats` lists what is read), or leave it out "
            "with "
            "`--exclude NAME`.",
        ),
        Reason(
            "NEAR_GRAY",
            "The photo is gray, or evenly toned as sepia is: it holds no colour to learn from.",
            "Nothing to do; or lower [ingest] min_spread to keep it.",
            policy=True,
        ),
        Reason(
            "DULL",
            "The photo is less colourful than the config asks for.",
            "Nothing to do; or lower [ingest] min_colourfulness to keep it.",
            policy=True,
        ),
        Reason(
            "DUPLICATE",
            "Another file of the dataset has the same bytes.",
            "Nothing to do; or set [ingest] twin_distance = -1 to keep both.",
            policy=True,
        ),
        Reason(
            "NEAR_DUPLICATE",
            "Another photo of the dataset looks the same, perhaps mirrored.",
            "Nothing to do; or lower [ingest] twin_distance to keep more of them.",
            policy=True,
        ),
        Reason(
            "UNLISTED",
            "The dataset's own list does not name this photo.",
            'Use the list of the same release, or layout = "plain".',
        ),
        Reason(
            "NESTED_ARCHIVE",
            "An archive lies inside a folder of photos; what it holds was not read.",
            "Name it as a source of its own, or leave it out with `--exclude NAME`.",
        ),
        Reason(
            "ARCHIVE_DAMAGED",
            "The archive, or one member of it, does not hold what it says.",
            "Download or copy it again. Members that are whole are used.",
        ),
        Reason(
            "ARCHIVE_BOMB",
            "The archive expands to far more than its size, or its members overlap.",
            "Do not use it unless you made it; then unpack it yourself into a folder.",
        ),
        Reason(
            "UNSAFE_NAME",
            "A member's name leaves the archive, or holds characters that mislead.",
            "Do not use it unless you made it; then rename the member, or say `--encoding NAME` "
            "where "
            "its name is garbled.",
        ),
        Reason(
            "NOT_REGULAR",
            "It is a link to nothing, a pipe, socket, device or sparse file, or a link in an "
            "archive.",
            "Get what the link leads to (`git annex get`); name or pack the photo itself.",
        ),
        Reason(
            "NOT_FOLLOWED",
            "A link to what is read already, or into the output; or links are not to be followed.",
            "Nothing to do; or copy the photo there, or leave `--no-follow` (follow = false) away.",
            policy=True,
        ),
        Reason(
            "DUPLICATE_NAME",
            "The archive holds two members of this name; the first is used.",
            "Rename one of them, or leave both out with `--exclude NAME`.",
        ),
        Reason(
            "ENCRYPTED",
            "The member needs a password.",
            "Unpack it yourself into a folder, or leave it out with `--exclude NAME`.",
        ),
        Reason(
            "TOO_SLOW",
            "The photo is built to keep a decoder busy.",
            "Save it again in an editor if it is trusted; or leave it out with `--exclude NAME`.",
        ),
        Reason(
            "TOO_SMALL",
            "The short side is under the least that the config allows.",
            "Lower [ingest] min_side, or leave it out with `--exclude NAME`.",
        ),
        Reason(
            "TOO_LARGE",
            "The photo has more pixels, or pages, than the limit.",
            "Raise [ingest] max_megapixels (or max_training_megapixels) if memory allows; give "
            "each worker "
            "more memory with fewer `--workers`, then `chromaflow retry`; split what has too many "
            "pages.",
        ),
        Reason(
            "MULTI_PAGE",
            "The file holds several pages, and all but one would be lost.",
            "Leave `--format` away, or say `--format tif`; or split it into one file a page, e.g. "
            "with `tiffsplit`.",
        ),
        Reason(
            "UNSUPPORTED_MODE",
            "The pixel layout has no defined lightness here, or the output format cannot hold it.",
            "Convert it to gray or RGB with 8 or 16 bits, or leave `--format` away; or leave it "
            "out with `--exclude NAME`.",
        ),
        Reason(
            "RANGE",
            "Float or 32-bit samples do not say which values are black and white.",
            "Set the tags SMinSampleValue and SMaxSampleValue, or convert it to 16 bits; or leave "
            "it out with `--exclude NAME`.",
        ),
        Reason(
            "CODEC_MISSING",
            "The format needs a package that is not installed.",
            "Install what the detail names, then `chromaflow retry`.",
        ),
        Reason(
            "ALREADY_COLOR",
            "The photo has colours beyond an even toning.",
            "Nothing to do; or `--accept-photo NAME` (all of them: `--accept ALREADY_COLOR`) to "
            "colour it anew from its lightness.",
            policy=True,
            acceptable=True,
        ),
        Reason(
            "BILEVEL",
            "The picture has one bit a pixel: black and white without grays.",
            "Nothing to do; or `--accept-photo NAME` (all of them: `--accept BILEVEL`) to colour "
            "it all the same.",
            policy=True,
            acceptable=True,
        ),
        Reason(
            "MASK",
            "The TIFF holds only a mask or an infrared scan (NewSubfileType, bit 2), no picture.",
            "Nothing to do; or `--accept MASK` to colour such pages all the same.",
            policy=True,
            acceptable=True,
        ),
        Reason(
            "NOT_CHOSEN",
            "`--pages` names no page of the file.",
            "Nothing to do; or name another page, or leave `--pages` away.",
            policy=True,
        ),
        Reason(
            "BLANK",
            "Nothing is to be seen: a card, fog, empty paper. It is written gray, and noted.",
            "Nothing to do; a colour hint (`--hints`) gives it one.",
            policy=True,
        ),
        Reason(
            "ANIMATED",
            "The file holds several frames, and one would be kept.",
            "Nothing to do; or `--accept-photo NAME` (all of them: `--accept ANIMATED`) to colour "
            "its first frame.",
            policy=True,
            acceptable=True,
        ),
        Reason(
            "CRASHED",
            "The process that worked on this photo died, alone with it.",
            "`chromaflow retry` once; if it dies again, leave it out with `--exclude NAME` and "
            "report it as a bug.",
        ),
        Reason(
            "BAD_NAME",
            "A version before refused this name, which is not UTF-8.",
            "Run again: it is coloured under its own name now.",
        ),
        Reason(
            "UNREADABLE",
            "The file is not there any more, or the system refused to read it.",
            "Check the path and its permissions, then `chromaflow retry`.",
        ),
        Reason(
            "OUT_OF_MEMORY",
            "There was not enough memory for this photo.",
            "`chromaflow retry --workers 1`, or on a larger machine.",
        ),
    )
}


class PhotoError(StorageError):
    """One photo cannot be used; the run goes on. `code` is a key of `REASONS`."""

    code = "PHOTO"

    def __init__(self, code: str, detail: str) -> None:
        if code not in REASONS:
            raise ValueError(f"Expected a code of REASONS, got {code!r}.")
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


def may_pass(code: str) -> bool:
    """Whether the cause lies outside the photo, so that it may be gone the next time."""
    return code in ("UNREADABLE", "CRASHED", "OUT_OF_MEMORY", "CODEC_MISSING")


def is_policy(code: str) -> bool:
    """Whether a quarantine code says that a filter dropped the photo, not that it failed."""
    return code in REASONS and REASONS[code].policy


def codes_in_words(codes: Iterable[str]) -> str:
    """How often each code comes; empty for none."""
    return ", ".join(f"{code} {count}" for code, count in sorted(Counter(codes).items()))


def explain_reason(code: str) -> Reason:
    """The reason of a code. Raises UsageError naming the known ones."""
    if code not in REASONS:
        raise UsageError(f"Expected a code of {', '.join(REASONS)}; got {code!r}.")
    return REASONS[code]
