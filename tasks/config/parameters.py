"""The parameters of a flow, whoever gives them: a command, a deployment, Prefect's page, Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Annotated, Any, get_type_hints

from tasks.config.compute import FIELDS
from tasks.config.problems import PYTHON, Place
from tasks.config.request import SETTINGS
from tasks.config.types import TableOf, build


def check_parameters(
    function: Callable[..., Any], values: Mapping[str, Any], place: Place = PYTHON
) -> None:
    """Check parameters of a flow's function against its signature: kinds, and what settings hold.

    Prefect's own check would turn "3" and 3.0 into 3. Raises ConfigError naming every wrong one.
    """
    hints = {name: kind for name, kind in get_type_hints(function).items() if name != "return"}
    for name, known in (("settings", SETTINGS), ("compute", FIELDS)):
        if name in hints:
            hints[name] = Annotated[dict[str, Any], known] | None
    parameters = signature(function).parameters
    defaults = {name: parameters[name].default for name in hints}
    build(Annotated[dict[str, Any], TableOf(hints, defaults)], dict(values), place)
