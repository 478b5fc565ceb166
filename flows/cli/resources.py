"""Options of the commands that run work: how much of the machine it takes, and which machines do it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Workers = Annotated[
    int | None, typer.Option(help="Dask processes, 0: one a core; else the config's.")
]
Threads = Annotated[
    int | None, typer.Option(help="torch threads of each, 0: its share of the cores.")
]
Memory = Annotated[
    str | None, typer.Option(metavar="GB", help="Of each, as 4, 4GB or 500MB; 0: an even share.")
]
Nice = Annotated[
    int | None, typer.Option(help="Niceness of each, 0 to 19; on battery 10 unless given.")
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help='A Dask scheduler, tcp:// or tls://; "": none.'),
]


def resources(
    workers: int | None, threads: int | None, memory: str | None, nice: int | None
) -> dict[str, Any]:
    """These options as a flow's parameters. Raises ConfigError naming every wrong one."""
    from tasks.config.compute import resource_options

    options = {"workers": workers, "threads": threads, "memory": memory, "nice": nice}
    fields = resource_options(options)
    fields.pop("workers", None)
    return {"workers": workers, "compute": fields or None}
