"""How commands are listed: in panels, in the order of the work; and what is said of wrong words."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from flows.cli.terminal import is_json_asked, print_error

PANELS = {
    "Start": ("demo", "colorize", "review", "export", "init", "run"),
    "Look": (
        "plan",
        "status",
        "report",
        "history",
        "verify",
        "log",
        "lineage",
        "show",
        "explain",
        "formats",
        "doctor",
        "cite",
    ),
    "Operate": ("retry", "ingest", "preprocess", "deploy", "serve"),
    "Models": ("train", "evaluate", "models"),
}
"""Every command, in the order in which people need them."""
_PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}
_ORDER = list(_PANEL_OF)
_WrongWords: Any = typer.BadParameter.__base__
"""What click raises for words that it does not know: its own, or the one that Typer carries."""


class Commands(TyperGroup):
    """A group whose commands are listed in panels, their switches without a type."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the work; what has no place in it comes last."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, as the help shows it."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            if ctx.parent is None and cmd_name in _PANEL_OF:
                command.rich_help_panel = _PANEL_OF[cmd_name]  # type: ignore[attr-defined]
            _hide_switch_types(command, ctx)
        return command

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options."""
        params = super().get_params(ctx)
        for param in params:
            _hide_type(param)
        return params

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what is wrong in its words is an object on stdout too, where JSON was asked for."""
        try:
            return super().invoke(ctx)
        except _WrongWords as error:
            if is_json_asked() and ctx.parent is None:
                print_error("USAGE", error.format_message(), error.exit_code)
            raise


def _hide_switch_types(command: Any, ctx: Any) -> None:
    for param in command.get_params(ctx):
        _hide_type(param)


def _hide_type(param: Any) -> None:
    """A switch takes no value, so its help names no type."""
    if getattr(param, "is_flag", False):
        param.metavar = ""
