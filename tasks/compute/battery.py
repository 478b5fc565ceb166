"""A laptop on battery keeps a core for its owner, and the work steps back behind what else is run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tasks.config.model import ComputeConfig
from tasks.jobs.machine import available_cores

_SUPPLIES = Path(os.environ.get("CHROMAFLOW_POWER_SUPPLY", "/sys/class/power_supply"))
"""Documentation/ABI/testing/sysfs-class-power of Linux; another folder for tests."""
_NICE = 10


def is_on_battery(supplies: Path = _SUPPLIES) -> bool:
    """Whether a battery of the machine's own is being emptied and no other supply is plugged in.

    supplies: a folder for each supply, with files type, online, status, scope.
    """
    facts = [
        {name: _read(supply / name) for name in ("type", "online", "status", "scope")}
        for supply in (supplies.iterdir() if supplies.is_dir() else ())
    ]
    own = [fact for fact in facts if fact["scope"] != "Device"]  # a mouse has a battery too
    batteries = [fact for fact in own if fact["type"] == "Battery"]
    plugged = any(fact["online"] == "1" for fact in own if fact["type"] != "Battery")
    return not plugged and any(fact["status"] == "Discharging" for fact in batteries)


def spared(compute: ComputeConfig, supplies: Path = _SUPPLIES) -> tuple[ComputeConfig, str]:
    """How the machine is shared on battery: one core less and nice 10, where nobody said otherwise.

    Returns it with a line for people, which is empty where nothing is changed.
    """
    if compute.is_elsewhere or not is_on_battery(supplies):
        return compute, ""
    cores, all_cores, nice = compute.cores, available_cores(), compute.nice
    if not (compute.workers or cores):
        cores = max(1, all_cores - 1)
    if nice is None:
        nice = _NICE
    if (cores, nice) == (compute.cores, compute.nice):
        return compute, ""
    asked = f"{compute.workers} workers" if compute.workers else f"{cores} of {all_cores} cores"
    line = f"On battery: {asked}, nice {nice}. --workers and --nice ask for more."
    return replace(compute, cores=cores, nice=nice), line


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # a supply has only some of them, and one that is pulled out has none
        return ""
