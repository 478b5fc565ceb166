"""What all commands share: options, and where words go.

Answers of a command that asks, and JSON, go to stdout; progress, what a run did, and errors to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from chromaflow.errors import ChromaflowError
from storage.visible import ascii_json, visible
from tasks.loudness import be_quiet, be_verbose, is_quiet

JSON_VERSION = 1
"""Of what `--json` prints: raised when a name goes or changes its meaning (docs/json.md)."""

Config = Annotated[Path, typer.Option("--config", "-c", help="The chromaflow.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Output = Annotated[
    str | None,
    typer.Argument(metavar="[OUT]", help="An OUT of `chromaflow colorize`; else --config's."),
]
Reason = Annotated[
    list[str] | None, typer.Option(help="Only photos with this code, e.g. CRASHED; repeatable.")
]
DEFAULT_CONFIG = Path("chromaflow.toml")
_MOST_ENTRIES = 5
Only = Annotated[list[str] | None, typer.Option(help="A category, or archive; repeatable.")]
Force = Annotated[bool, typer.Option("--force", help="Compute again what is done.")]
Delete = Annotated[
    bool, typer.Option("--delete", help="Remove outputs whose originals are gone or left out.")
]
Add = Annotated[
    bool, typer.Option("--add", help="Keep this archive beside another one in the output folder.")
]


def _quiet(value: bool) -> None:
    if value:
        be_quiet()


def _verbose(value: bool) -> None:
    if value:
        be_verbose()


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_quiet, help="Say only what failed."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", callback=_verbose, help="Say every event of the run too."),
]


def say(text: str) -> None:
    """A line on stderr of how the work goes; a line break in it is an escape, as is what would act on a
    terminal. `--quiet` leaves it out."""
    if not is_quiet():
        warn(text)


def warn(text: str) -> None:
    """A line on stderr that nobody may miss: what failed, what is wrong."""
    typer.echo(visible(text), err=True)


def answer(text: str) -> None:
    """A line on stdout: what was asked for."""
    typer.echo(visible(text))


def say_lines(text: str) -> None:
    """Text of ours that has several lines."""
    for line in text.splitlines():
        warn(line)


def print_json(value: Mapping[str, Any]) -> None:
    """A value for programs, with the version of its names."""
    typer.echo(ascii_json({"version": JSON_VERSION, **value}, indent=1))


def is_json_asked() -> bool:
    """Whether the words of the command ask for JSON; also where they are wrong."""
    return "--json" in sys.argv[1:]


def print_error(code: str, message: str, exit_code: int) -> None:
    """What went wrong, for programs, on stdout."""
    print_json({"error": {"code": code, "message": visible(message), "exit_code": exit_code}})


def end_with_error(error: ChromaflowError) -> None:
    """End the command with a known error: a line on stderr, and its exit code."""
    say_lines(f"Error: {error}")
    if is_json_asked():
        print_error(error.code, str(error), error.exit_code)
    sys.exit(error.exit_code)


def nested_lines(value: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """Names and values of nested JSON, a line each; of a long list its first entries."""
    for name, inner in value.items():
        entries = inner if isinstance(inner, list) else [inner]
        for entry in entries[:_MOST_ENTRIES]:
            if isinstance(entry, dict):
                yield f"{'':{indent}}{name}"
                yield from nested_lines(entry, indent + 2)
            else:
                yield f"{'':{indent}}{name:<16} {entry}"
        if len(entries) > _MOST_ENTRIES:
            yield f"{'':{indent}}{name:<16} … {len(entries) - _MOST_ENTRIES} more (--json)"


def quarantined_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line a photo that failed, and a line a code of what helps."""
    from storage.errors import REASONS

    codes: list[str] = []
    for row in rows:
        yield f"failed {row['path']}: {row['code']} ({row['stage']}): {row['detail']}"
        codes += [row["code"]] if row["code"] not in codes else []
    for code in codes:
        if code in REASONS:  # of an older version it may be another
            yield f"{code}: {REASONS[code].remedy}"


def skipped_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """How many photos were left out on purpose, by reason."""
    from storage.errors import codes_in_words

    if listed := codes_in_words(row["code"] for row in rows):
        yield f"skipped: {listed} (`chromaflow explain CODE` says why)"


def photos_lines(counts: Mapping[str, int]) -> Iterator[str]:
    """How many photos an archive has, and what became of them: the numbers of its report."""
    if any(counts.values()):
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        total = sum(counts.values())
        yield f"{total} {'photo' if total == 1 else 'photos'} of the archive: {listed}"
