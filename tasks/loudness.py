"""How much a command says of its work: `--quiet` and `-v`, for this process."""

from __future__ import annotations

_QUIET, _USUAL, _VERBOSE = range(3)
_loudness = _USUAL


def be_quiet() -> None:
    """Say only what failed."""
    global _loudness
    _loudness = _QUIET


def be_verbose() -> None:
    """Say every event of a run too."""
    global _loudness
    _loudness = _VERBOSE


def is_quiet() -> bool:
    """Whether only what failed is said."""
    return _loudness == _QUIET


def is_verbose() -> bool:
    """Whether every event is said."""
    return _loudness == _VERBOSE
