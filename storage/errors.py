"""The exceptions of `storage`, and the reasons for which a photo goes to quarantine."""

from __future__ import annotations

from dataclasses import dataclass


class StorageError(Exception):
    """Root of the tree. `exit_code` is what the `chromaflow` command returns for it."""

    exit_code = 1


class UsageError(StorageError, ValueError):
    """A path, a config key or a value that the caller gave is wrong: correct it."""

    exit_code = 2


class NoInputError(StorageError):
    """Nothing to work on: no photo is usable."""

    exit_code = 4


class OutputError(StorageError):
    """The disk or the output folder refused the work: free or repair it, then run again."""

    exit_code = 5


class DamagedError(StorageError):
    """A file of ours is missing or its bytes are not those recorded: run again to rebuild it."""

    exit_code = 7


class LockedError(StorageError):
    """Another run works on the same workspace: wait for it."""

    exit_code = 8


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a photo is in quarantine."""

    code: str
    meaning: str
    remedy: str


REASONS = {
    reason.code: reason
    for reason in (
        Reason(
            "EMPTY", "The file has no bytes.", "Copy it again from where it came; then `run` again."
        ),
        Reason(
            "NOT_A_PHOTO",
            "The content is none of JPEG, PNG, TIFF, WebP or BMP, whatever the name says.",
            "Remove it from the folder, or convert it to one of these formats.",
        ),
        Reason(
            "TRUNCATED",
            "The file ends before its picture does.",
            "Copy it again from where it came; scan it again if that copy is short too.",
        ),
        Reason(
            "DAMAGED", "The decoder refused the content.", "Open and save it again in an editor."
        ),
        Reason(
            "TOO_SMALL",
            "The short side is under the least that the config allows.",
            "Lower [ingest] min_side, or leave the photo out.",
        ),
        Reason(
            "TOO_LARGE",
            "The photo has more pixels than the limit.",
            "Raise [ingest] max_megapixels if the photo is trusted and memory allows.",
        ),
        Reason(
            "MULTI_PAGE",
            "The file holds several pages or frames, and one would be lost.",
            "Split it into one file a page, e.g. with `tiffsplit`.",
        ),
        Reason(
            "UNSUPPORTED_MODE",
            "The pixel layout (CMYK, float, over 16 bits) has no defined lightness here.",
            "Convert it to gray or RGB with 8 or 16 bits.",
        ),
        Reason(
            "CRASHED",
            "The process that worked on this photo died, alone with it.",
            "Report the photo as a bug; leave it out until then.",
        ),
        Reason("BAD_NAME", "The file name is not UTF-8.", "Rename the file, e.g. with `convmv`."),
        Reason("UNREADABLE", "The system refused to read the file.", "Check its permissions."),
        Reason(
            "OUT_OF_MEMORY",
            "There was not enough memory for this photo.",
            "Run it alone, with --workers 1, or on a larger machine.",
        ),
    )
}


class PhotoError(StorageError):
    """One photo cannot be used; the run goes on. `code` is a key of `REASONS`."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in REASONS, code
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


def explain_reason(code: str) -> Reason:
    """The reason of a code. Raises UsageError naming the known ones."""
    if code not in REASONS:
        raise UsageError(f"Expected a code of {', '.join(REASONS)}; got {code!r}.")
    return REASONS[code]
