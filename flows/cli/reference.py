"""The reference of all commands as a page, from what `--help` knows: `python -m flows.cli.reference`.

`docs/commands.md` is what it prints; a test compares them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

_HEAD = """# Commands

Written by `python -m flows.cli.reference`, from what `--help` says. Exit codes and what commands leave are in the
[guide](guide.md).
"""


def reference() -> str:
    """Markdown: a heading a command, its usage, a table of what it takes."""
    from flows.cli.app import app

    return "\n".join([_HEAD, *_sections(typer.main.get_command(app), "chromaflow")])


def _sections(command: Any, name: str) -> Iterator[str]:
    """Of a command, or of all in a group."""
    commands = getattr(command, "commands", None)
    if commands is not None:
        for own, child in commands.items():
            if not child.hidden:
                yield from _sections(child, f"{name} {own}")
        return
    yield f"## {name}\n"
    yield inspect.cleandoc(command.help or "").replace("\f", "") + "\n"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    words = [name, *map(_written, arguments), *(["[OPTIONS]"] if options else [])]
    yield f"    {' '.join(words)}\n"
    rows = [(_written(p), p) for p in arguments] + [(_named(p), p) for p in options]
    if rows:
        yield "| | | |"
        yield "|---|---|---|"
        for what, parameter in rows:
            yield f"| `{_cell(what)}` | {_cell(parameter.help or '')} | {_default(parameter)} |"
        yield ""


def _written(argument: Any) -> str:
    """An argument as in a usage line."""
    name = argument.metavar or (argument.name or "").upper()
    if argument.nargs == -1 and not name.endswith("..."):
        name = f"{name}..."
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _named(option: Any) -> str:
    """An option's names, and what goes with it."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    return f"{names} {option.metavar or _kind(option.type_descriptor.annotation)}"


def _kind(annotation: Any) -> str:
    """A word for a type."""
    inner = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) is Literal:
        return "|".join(map(str, inner))
    if inner:
        return " ".join(map(_kind, inner))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    return {int: "N", float: "NUMBER", Path: "PATH"}.get(annotation, "TEXT")


def _default(parameter: Any) -> str:
    """What holds where it is not given; empty for nothing."""
    default = parameter.default
    if default is None or callable(default) or isinstance(default, bool) or default in ((), [], ""):
        return ""
    return f"`{_cell(str(default))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    typer.echo(reference(), nl=False)
