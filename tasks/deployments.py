"""prefect.yaml: read into deployments, unknown keys refused. Prefect's own command reads the same file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from storage.errors import UsageError

PACKAGED = Path(__file__).with_name("prefect.yaml")
"""The deployments that come with the package."""
COLLISIONS = ("ENQUEUE", "CANCEL_NEW")
_TOP_KEYS = {"name", "prefect-version", "pull", "definitions", "deployments"}
_WORKING_FOLDER = "{{ $PWD }}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a deployment starts by itself."""

    cron: str
    timezone: str = "UTC"
    slug: str
    """Its name, by which an existing schedule is found again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkPool:
    """Where the runs of a deployment wait for a Prefect worker."""

    name: str
    work_queue_name: str = "default"
    job_variables: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConcurrencyLimit:
    """How many runs of a deployment there may be at a time."""

    limit: int = 1
    collision_strategy: str = "ENQUEUE"
    """Of one more: ENQUEUE, it waits; CANCEL_NEW, it is cancelled."""

    def __post_init__(self) -> None:
        if self.collision_strategy not in COLLISIONS:
            raise UsageError(
                f"Expected a collision_strategy of {', '.join(COLLISIONS)}; got "
                f"{self.collision_strategy!r}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A flow with parameters, a schedule and a place in a work pool."""

    name: str
    entrypoint: str
    """MODULE.FLOW, importable where the Prefect worker runs."""
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()
    tags: tuple[str, ...] = ()
    concurrency_limit: ConcurrencyLimit = field(default_factory=ConcurrencyLimit)
    work_pool: WorkPool
    pull: tuple[dict[str, Any], ...] = ()
    """Steps before the run: they set its working folder."""


def find_deployments(folder: Path) -> Path:
    """The prefect.yaml of a folder; without one, the package's."""
    own = folder / "prefect.yaml"
    return own if own.exists() else PACKAGED


def read_deployments(path: Path, folder: Path) -> list[Deployment]:
    """All deployments of a prefect.yaml. folder: what relative paths in parameters start from.

    Raises UsageError naming what is allowed.
    """
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"Expected deployments in {path}, got: {error}. Correct it.") from error
    if not isinstance(table, dict) or not table.get("deployments"):
        raise UsageError(f"Expected deployments in {path}, got none. Start from {PACKAGED}.")
    _known(table, _TOP_KEYS, str(path))
    pull = tuple(_with_folder(step, folder) for step in table.get("pull") or ())
    return [_deployment(entry, pull) for entry in table["deployments"]]


def choose(deployments: Sequence[Deployment], names: Collection[str]) -> list[Deployment]:
    """The deployments of these names; all without any. Raises UsageError naming the known ones."""
    known = [deployment.name for deployment in deployments]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UsageError(
            f"Expected deployments of {', '.join(known)}; got {', '.join(unknown)}. Correct the name, "
            "or add it to prefect.yaml."
        )
    return [deployment for deployment in deployments if not names or deployment.name in names]


def _deployment(entry: Mapping[str, Any], pull: tuple[dict[str, Any], ...]) -> Deployment:
    where = f"deployment {entry.get('name')}"
    schedules = (_build(Schedule, s, where, "schedules") for s in entry.get("schedules") or ())
    parts = {
        "schedules": tuple(schedules),
        "tags": tuple(entry.get("tags") or ()),
        "parameters": dict(entry.get("parameters") or {}),
        "work_pool": _build(WorkPool, entry.get("work_pool") or {}, where, "work_pool"),
        "pull": pull,
    }
    limit = entry.get("concurrency_limit")
    if limit is not None:
        given = {"limit": limit} if isinstance(limit, int) else limit
        parts["concurrency_limit"] = _build(ConcurrencyLimit, given, where, "concurrency_limit")
    deployment: Deployment = _build(Deployment, {**entry, **parts}, where)
    return deployment


def _build(cls: type[Any], values: Mapping[str, Any], where: str, key: str = "") -> Any:
    where = f"{where}, {key}" if key else where
    _known(values, set(cls.__dataclass_fields__), where)
    try:
        return cls(**values)
    except TypeError as error:
        raise UsageError(f"Expected every needed key in {where}, got: {error}.") from error


def _known(values: Mapping[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(set(values) - allowed)
    if unknown:
        raise UsageError(
            f"Expected keys of {', '.join(sorted(allowed))} in {where}; got {', '.join(unknown)}."
        )


def _with_folder(value: Any, folder: Path) -> Any:
    """The value with the working folder filled in, as Prefect's own command does."""
    if isinstance(value, dict):
        return {key: _with_folder(inner, folder) for key, inner in value.items()}
    return value.replace(_WORKING_FOLDER, str(folder)) if isinstance(value, str) else value
