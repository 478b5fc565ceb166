"""What all commands share: options, JSON on stdout for programs, words on stderr for people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from storage.visible import ascii_json, visible

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


def say(text: str) -> None:
    """A line for people; a line break in it is an escape, as is what would act on a terminal."""
    typer.echo(visible(text), err=True)


def say_lines(text: str) -> None:
    """Text of ours that has several lines."""
    for line in text.splitlines():
        say(line)


def print_json(value: Any) -> None:
    """A value for programs."""
    typer.echo(ascii_json(value, indent=1))


def say_nested(value: dict[str, Any], indent: int = 0) -> None:
    """Names and values of nested JSON, a line each; of a long list its first entries."""
    for name, inner in value.items():
        entries = inner if isinstance(inner, list) else [inner]
        for entry in entries[:_MOST_ENTRIES]:
            if isinstance(entry, dict):
                say(f"{'':{indent}}{name}")
                say_nested(entry, indent + 2)
            else:
                say(f"{'':{indent}}{name:<16} {entry}")
        if len(entries) > _MOST_ENTRIES:
            say(f"{'':{indent}}{name:<16} … {len(entries) - _MOST_ENTRIES} more (--json)")


def say_quarantined(rows: list[dict[str, Any]]) -> None:
    """A line a photo that failed, and what helps."""
    for row in rows:
        say(f"failed {row['path']}: {row['code']} ({row['stage']}): {row['detail']}")
    if rows:
        say("`chromaflow explain CODE` says what helps; `--exclude NAME` leaves a file out")


def say_skipped(rows: list[dict[str, Any]]) -> None:
    """How many photos were left out on purpose, by reason."""
    counts = Counter(row["code"] for row in rows)
    if counts:
        listed = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
        say(f"skipped: {listed} (`chromaflow explain CODE` says why)")


def say_photos(counts: dict[str, int]) -> None:
    """How many photos an archive has, and what became of them: the numbers of its report."""
    if any(counts.values()):
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        say(f"{sum(counts.values())} photos of the archive: {listed}")
