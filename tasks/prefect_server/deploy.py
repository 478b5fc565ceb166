"""Deployments on a Prefect server: work pool, limits, automation and deployments, brought up to date.

What is right already is left alone: a deployment that is written again would lose its scheduled runs.
What was paused stays paused.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyOptions, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from colorization.errors import ConfigError
from storage.children import module_command
from storage.errors import UsageError
from storage.visible import visible
from tasks.config.parameters import check_parameters
from tasks.config.problems import Place
from tasks.prefect_server.deployments import Deployment, Schedule
from tasks.prefect_server.notices import (
    EACH_OF_OURS,
    NOTICES,
    checked_addresses,
    keep_addresses,
)
from tasks.prefect_server.notices import automation as notices_automation
from tasks.prefect_server.server import close_home, require_server

GPU_QUEUE = "gpu"
ZOMBIES = "chromaflow: runs without heartbeats are Crashed"
PATIENCE = timedelta(seconds=90)
"""After the last heartbeat; runs send one every 30 s."""
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "Paused", "Suspended", "Scheduled")
_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one thing on the server."""

    what: str
    action: str
    """created, changed, left, deleted, or missing: no run can go well without it."""
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """As JSON."""
        return asdict(self)


def deploy(
    deployments: Sequence[Deployment],
    gpu_runs: int | None = None,
    notify: Sequence[str] | None = None,
) -> list[Change]:
    """Create on the server what is missing and change what differs.

    gpu_runs: how many runs of the work queue `gpu` there may be at a time; None leaves the limit that
    is there, or sets 1. notify: addresses that are told of runs that went wrong; None leaves those that
    are there, empty ones end it. Raises ServerMissingError; UsageError for a wrong flow, ConfigError
    for a wrong parameter, UsageError where the server refuses the credentials.
    """
    if gpu_runs is not None and gpu_runs < 1:
        raise ConfigError(f"Expected --gpu-runs of 1 or more, got {gpu_runs}.")
    told = None if notify is None else checked_addresses(notify)
    flows = [load_flow(deployment) for deployment in deployments]
    return asyncio.run(_deploy(deployments, flows, gpu_runs, told))


def load_flow(deployment: Deployment) -> Flow[..., Any]:
    """Import the deployment's flow. Raises UsageError where it or one of its parameters is unknown."""
    module, _, name = deployment.entrypoint.rpartition(".")
    try:  # not by Prefect, which imports from the working folder first
        flow = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise _no_flow(deployment, str(error)) from error
    if not isinstance(flow, Flow):
        raise _no_flow(deployment, "it is no flow")
    before = f"deployment {visible(deployment.name)}, parameters: "
    check_parameters(flow.fn, deployment.parameters, Place(before=before, assign=": "))
    for schedule in deployment.schedules:
        _check_schedule(deployment, schedule)
    return flow


def _no_flow(deployment: Deployment, reason: str) -> UsageError:
    return UsageError(
        f"Expected the entrypoint of {deployment.name} as MODULE.FLOW, got "
        f"{deployment.entrypoint}: {reason}. Correct prefect.yaml."
    )


async def _deploy(
    deployments: Sequence[Deployment],
    flows: Sequence[Flow[..., Any]],
    gpu_runs: int | None,
    told: Sequence[str] | None,
) -> list[Change]:
    url = require_server()
    home = close_home()
    changes = [Change("state folder", "changed", home)] if home else []
    changes += provide_inputs(deployments, Path.cwd())
    try:
        async with get_client() as client:
            for pool in sorted({deployment.work_pool.name for deployment in deployments}):
                changes.append(await _ensure_pool(client, pool))
                changes.append(await _ensure_queue(client, pool, gpu_runs))
            changes.append(await ensure_automation(client))
            if told is not None:
                changes.append(await _ensure_notices(client, told))
            for deployment, flow in zip(deployments, flows, strict=True):
                changes.append(await _ensure_deployment(client, deployment, flow))
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in _REFUSED:
            raise
        raise UsageError(
            f"Expected credentials that {url} accepts, got: {error.response.reason_phrase}. "
            "Set PREFECT_API_AUTH_STRING or PREFECT_API_KEY."
        ) from error
    return changes


def provide_inputs(deployments: Sequence[Deployment], folder: Path) -> list[Change]:
    """Make inboxes that are not there, and name the configs that are not.

    folder: what relative paths start from. Their runs would fail, each time.
    """
    changes = []
    wanted: dict[str, list[str]] = {}
    for deployment in deployments:
        inbox = deployment.parameters.get("inbox")
        if inbox is not None and not (folder / inbox).exists():
            changes.append(_make_inbox(inbox, folder / inbox))
        for name in ("config", "models"):
            path = deployment.parameters.get(name)
            if path is not None and not (folder / path).is_file():
                wanted.setdefault(str(path), []).append(deployment.name)
    for path, names in wanted.items():
        who = f"{', '.join(names)}: make it with `chromaflow init`, or deploy others by name"
        changes.append(Change(path, "missing", who))
    return changes


def _make_inbox(name: str, path: Path) -> Change:
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"Expected a folder for new photos at {path}, got: {error.strerror}. Make it, or name "
            "another as `inbox` in prefect.yaml."
        ) from error
    return Change(f"inbox {name}", "created", str(path))


async def _ensure_pool(client: PrefectClient, name: str) -> Change:
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        wanted = WorkPoolCreate(
            name=name, type="process", base_job_template=template, description="Chromaflow's runs"
        )
        await client.create_work_pool(wanted)
        return Change(f"work pool {name}", "created", "process")
    return Change(f"work pool {name}", "left", "paused" if pool.is_paused else "")


async def _ensure_queue(client: PrefectClient, pool: str, limit: int | None) -> Change:
    what = f"work queue {pool}/{GPU_QUEUE}"
    try:
        queue = await client.read_work_queue_by_name(GPU_QUEUE, pool)
    except ObjectNotFound:
        await client.create_work_queue(
            GPU_QUEUE,
            description="Runs that may use GPUs",
            concurrency_limit=limit or 1,
            work_pool_name=pool,
        )
        return Change(what, "created", f"{limit or 1} at a time")
    if limit is None or queue.concurrency_limit == limit:
        return Change(what, "left", "paused" if queue.is_paused else "")
    await client.update_work_queue(queue.id, concurrency_limit=limit)
    return Change(what, "changed", f"{queue.concurrency_limit} → {limit} at a time")


def zombie_automation() -> AutomationCore:
    """What makes a run Crashed whose machine or process is gone."""
    ends = {f"prefect.flow-run.{state}" for state in _ENDS}
    heartbeat = "prefect.flow-run.heartbeat"
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *ends},
        posture=Posture.Proactive,
        within=PATIENCE,
        **EACH_OF_OURS,
    )
    message = f"No heartbeat for {PATIENCE.seconds} s: the process or its machine is gone."
    return AutomationCore(
        name=ZOMBIES,
        description="Run the deployment again to go on: what is done is kept.",
        trigger=trigger,
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, message=message, name=None, force=False)
        ],
    )


async def ensure_automation(client: PrefectClient) -> Change:
    """Create or change what notices dead runs; where it was disabled it stays so."""
    return await _ensure(client, zombie_automation(), "automation")


async def _ensure_notices(client: PrefectClient, addresses: Sequence[str]) -> Change:
    """Have these addresses told of runs that went wrong, or nobody."""
    if not addresses:
        found = await client.read_automations_by_name(NOTICES)
        for automation in found:
            await client.delete_automation(automation.id)
        return Change("notices", "deleted" if found else "left", "nobody is told")
    block_id, has_changed = await keep_addresses(client, addresses)
    change = await _ensure(client, notices_automation(block_id), "notices")
    if has_changed and change.action == "left":
        return Change("notices", "changed", "addresses")
    return change


async def _ensure(client: PrefectClient, wanted: AutomationCore, what: str) -> Change:
    found = await client.read_automations_by_name(wanted.name)
    if not found:
        await client.create_automation(wanted)
        return Change(what, "created", wanted.name)
    there = found[0]
    differing = _differing(there.model_dump(mode="json"), wanted.model_dump(mode="json"))
    if not differing:
        return Change(what, "left", "" if there.enabled else "disabled")
    await client.update_automation(there.id, wanted.model_copy(update={"enabled": there.enabled}))
    return Change(what, "changed", ", ".join(differing))


def _differing(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Which parts of an automation differ; sets come as lists in any order."""
    parts = ("description", "trigger", "actions")
    return [part for part in parts if _ordered(there[part]) != _ordered(wanted[part])]


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list):
        return sorted((_ordered(inner) for inner in value), key=str)
    return value


async def _ensure_deployment(
    client: PrefectClient, deployment: Deployment, flow: Flow[..., Any]
) -> Change:
    what = f"deployment {flow.name}/{deployment.name}"
    wanted = _as_on_server(deployment, flow)
    try:
        there = await client.read_deployment_by_name(f"{flow.name}/{deployment.name}")
    except ObjectNotFound:
        await _write(client, deployment, flow, wanted, paused=False, active={})
        return Change(what, "created", _described(deployment))
    known = _read_back(there)
    differing = [key for key, value in wanted.items() if known[key] != value]
    if not differing:
        return Change(what, "left", "paused" if there.paused else "")
    active = {schedule.slug: schedule.active for schedule in there.schedules}
    await _write(client, deployment, flow, wanted, paused=there.paused, active=active)
    return Change(what, "changed", ", ".join(differing))


def _as_on_server(deployment: Deployment, flow: Flow[..., Any]) -> dict[str, Any]:
    """What the server is to know of a deployment, to compare and to send."""
    return {
        "description": deployment.description,
        "entrypoint": deployment.entrypoint,
        "parameters": deployment.parameters,
        "parameter_openapi_schema": parameter_schema(flow.fn).model_dump_for_openapi(),
        "schedules": sorted((s.slug, s.cron, s.timezone) for s in deployment.schedules),
        "tags": sorted(deployment.tags),
        "concurrency_limit": deployment.concurrency_limit.limit,
        "collision_strategy": deployment.concurrency_limit.collision_strategy,
        "work_pool_name": deployment.work_pool.name,
        "work_queue_name": deployment.work_pool.work_queue_name,
        "job_variables": {"command": run_command()} | deployment.work_pool.job_variables,
        "pull_steps": list(deployment.pull),
    }


def run_command() -> str:
    """What a Prefect worker starts a run with, unless prefect.yaml says another command.

    This Python by its path. Prefect's own way puts the deployment's folder on PYTHONPATH, ahead of
    Python's library: a `json.py` or a folder `tasks` there would be run.
    """
    return shlex.join(module_command("flows.cli.deployed"))


def _read_back(there: DeploymentResponse) -> dict[str, Any]:
    limit, options = there.global_concurrency_limit, there.concurrency_options
    schedules = [
        (s.slug, getattr(s.schedule, "cron", ""), getattr(s.schedule, "timezone", ""))
        for s in there.schedules
    ]
    known = {
        "schedules": sorted(schedules, key=str),
        "tags": sorted(there.tags),
        "concurrency_limit": limit.limit if limit else None,
        "collision_strategy": options.collision_strategy.value if options else None,
    }
    same = ("description", "entrypoint", "parameters", "parameter_openapi_schema")
    places = ("work_pool_name", "work_queue_name", "job_variables", "pull_steps")
    return known | {key: getattr(there, key) for key in (*same, *places)}


async def _write(
    client: PrefectClient,
    deployment: Deployment,
    flow: Flow[..., Any],
    wanted: dict[str, Any],
    *,
    paused: bool,
    active: dict[str | None, bool],
) -> None:
    """active: of the schedules that are there, by slug."""
    own = {"schedules", "collision_strategy"}
    await client.create_deployment(
        flow_id=await client.create_flow(flow),
        name=deployment.name,
        schedules=[
            as_cron(schedule, active=active.get(schedule.slug, True))
            for schedule in deployment.schedules
        ],
        concurrency_options=ConcurrencyOptions(collision_strategy=wanted["collision_strategy"]),
        enforce_parameter_schema=True,
        paused=paused,
        **{key: value for key, value in wanted.items() if key not in own},
    )


def as_cron(schedule: Schedule, *, active: bool = True) -> DeploymentScheduleCreate:
    """A schedule in Prefect's words."""
    cron = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    return DeploymentScheduleCreate(schedule=cron, slug=schedule.slug, active=active)


def _check_schedule(deployment: Deployment, schedule: Schedule) -> None:
    """Raise ConfigError where Prefect knows no such times."""
    try:
        as_cron(schedule)
    except ValueError as error:
        got = visible(f"{schedule.cron!r} and {schedule.timezone!r}")
        raise ConfigError(
            f"deployment {visible(deployment.name)}, schedules: expected cron's five fields and a "
            f'time zone, got {got}. Write cron: "0 2 * * *" and timezone: UTC, for example.'
        ) from error


def _described(deployment: Deployment) -> str:
    """When it runs, and with which models."""
    said = [f"{schedule.cron} {schedule.timezone}" for schedule in deployment.schedules]
    if "models" in deployment.parameters:
        said.append(f"models: {deployment.parameters['models'] or 'starter'}")
    return ", ".join(said)
