"""prefect.yaml: read into deployments and checked whole. Prefect's own command reads the same file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from storage.errors import UsageError
from storage.visible import visible
from tasks.config.problems import Place
from tasks.config.types import Accepts, Each, build, checked, list_of, one_of, whole

PACKAGED = Path(__file__).with_name("prefect.yaml")
"""The deployments that come with the package."""
COLLISIONS = ("ENQUEUE", "CANCEL_NEW")
_WORKING_FOLDER = "{{ $PWD }}"
NAME = Accepts("a name", lambda value: value.strip() != "")
_ENTRYPOINT = Accepts(
    "MODULE.FLOW", lambda value: "." in value, example="flows.pipeline.pipeline_flow"
)


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a deployment starts by itself."""

    cron: Annotated[str, Accepts("cron's five fields", example="0 2 * * *")]
    timezone: Annotated[str, Accepts("a time zone", example="UTC")] = "UTC"
    slug: Annotated[str, NAME]
    """Its name, by which an existing schedule is found again."""


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class WorkPool:
    """Where the runs of a deployment wait for a Prefect worker."""

    name: Annotated[str, NAME]
    work_queue_name: Annotated[str, NAME] = "default"
    job_variables: dict[str, Any] = field(default_factory=dict)


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class ConcurrencyLimit:
    """How many runs of a deployment there may be at a time."""

    limit: Annotated[int, whole(1)] = 1
    collision_strategy: Annotated[str, one_of(*COLLISIONS)] = "ENQUEUE"
    """Of one more: ENQUEUE, it waits; CANCEL_NEW, it is cancelled."""


@dataclass(frozen=True, slots=True)
class _LimitAlone:
    """A table that may be written as its number alone."""

    words: str = "a whole number of 1 or more, or a table with limit"
    example: int = 1

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Called by pydantic."""

        def widen(value: Any) -> Any:
            is_number = isinstance(value, int) and not isinstance(value, bool)
            return {"limit": value} if is_number else value

        return core_schema.no_info_before_validator_function(widen, handler(source))


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A flow with parameters, a schedule and a place in a work pool."""

    name: Annotated[str, NAME]
    entrypoint: Annotated[str, _ENTRYPOINT]
    """MODULE.FLOW, importable where the Prefect worker runs."""
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    schedules: Annotated[tuple[Schedule, ...], Each("a list of schedules")] = ()
    tags: Annotated[tuple[str, ...], list_of("tags", example="chromaflow")] = ()
    concurrency_limit: Annotated[ConcurrencyLimit, _LimitAlone()] = field(
        default_factory=ConcurrencyLimit
    )
    work_pool: WorkPool
    pull: Annotated[tuple[dict[str, Any], ...], Each("a list of steps")] = ()
    """Steps before the run: they set its working folder."""


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentsTable:
    """A prefect.yaml as it is written, but for the keys that only Prefect reads."""

    deployments: Annotated[tuple[Deployment, ...], Each("a list of deployments")]
    pull: Annotated[tuple[dict[str, Any], ...], Each("a list of steps")] = ()


def find_deployments(folder: Path) -> Path:
    """The prefect.yaml of a folder; without one, the package's."""
    own = folder / "prefect.yaml"
    return own if own.exists() else PACKAGED


def read_deployments(path: Path, folder: Path) -> list[Deployment]:
    """All deployments of a prefect.yaml. folder: what relative paths in parameters start from.

    Raises UsageError where there are none, ConfigError naming every wrong setting.
    """
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = visible(" ".join(str(error).split()))
        raise UsageError(f"Expected deployments in {path}, got: {reason}. Correct it.") from error
    if not isinstance(table, dict) or not table.get("deployments"):
        raise UsageError(f"Expected deployments in {path}, got none. Start from {PACKAGED}.")
    place = Place(before=f"{path}: ", assign=": ")
    ours = {key: _given(value) for key, value in table.items() if key not in _OF_PREFECT}
    read: DeploymentsTable = build(DeploymentsTable, ours, place)
    return [
        replace(d, pull=tuple(_with_folder(step, folder) for step in d.pull or read.pull))
        for d in read.deployments
    ]


_OF_PREFECT = ("name", "prefect-version", "definitions")
_NOT_OURS = ("parameters", "job_variables", "pull")
"""What is handed on as it is."""


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


def _given(value: Any) -> Any:
    """Without the keys that nothing stands behind: YAML reads them as null."""
    if isinstance(value, dict):
        return {
            key: inner if key in _NOT_OURS else _given(inner)
            for key, inner in value.items()
            if inner is not None
        }
    return [_given(inner) for inner in value] if isinstance(value, list) else value


def _with_folder(value: Any, folder: Path) -> Any:
    """The value with the working folder filled in, as Prefect's own command does."""
    if isinstance(value, dict):
        return {key: _with_folder(inner, folder) for key, inner in value.items()}
    return value.replace(_WORKING_FOLDER, str(folder)) if isinstance(value, str) else value
