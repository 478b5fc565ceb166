"""The root of every error that this package says to people, and the code of the command for it."""

from __future__ import annotations

EXIT_INTERNAL = 1


class ChromaflowError(Exception):
    """What a caller can act on: its text says what was expected, what was got and what to do.

    `code` names the kind for programs and stays as it is between versions. `exit_code` is what the
    `chromaflow` command returns for it (README, "Exit codes").
    """

    code: str = "ERROR"
    exit_code: int = EXIT_INTERNAL


def exit_code_of(error: BaseException) -> int:
    """What the command returns for an error; a mistake of ours is an internal one."""
    return error.exit_code if isinstance(error, ChromaflowError) else EXIT_INTERNAL


def code_of(error: BaseException) -> str:
    """The code of an error; INTERNAL for a mistake of ours."""
    return error.code if isinstance(error, ChromaflowError) else "INTERNAL"
