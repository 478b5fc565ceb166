"""All deployments from one process, without a work pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prefect import serve as serve_flows
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from colorization.errors import ConfigError
from tasks.prefect_server.deploy import as_cron, ensure_automation, load_flow, provide_inputs
from tasks.prefect_server.deployments import Deployment
from tasks.prefect_server.server import close_home, require_server

_HEARTBEAT_SECONDS = 30


def serve(deployments: Sequence[Deployment], limit: int) -> None:
    """Run all deployments until the process is interrupted; their schedules are paused then.

    Runs work in the folder that the process was started in. limit: runs at a time. Raises
    ServerMissingError, and UsageError as `tasks.prefect_server.deploy.deploy` does.
    """
    if limit < 1:
        raise ConfigError(f"Expected --limit of 1 or more, got {limit}.")
    runnable = [_runnable(deployment) for deployment in deployments]
    asyncio.run(_prepare_server())
    provide_inputs(deployments, Path.cwd())
    serve_flows(*runnable, limit=limit, heartbeat_seconds=_HEARTBEAT_SECONDS)


async def _prepare_server() -> None:
    require_server()
    close_home()
    async with get_client() as client:
        await ensure_automation(client)


def _runnable(deployment: Deployment) -> RunnerDeployment:
    limit = deployment.concurrency_limit
    runnable = load_flow(deployment).to_deployment(
        name=deployment.name,
        description=deployment.description,
        parameters=deployment.parameters,
        tags=list(deployment.tags),
        schedules=[as_cron(schedule) for schedule in deployment.schedules],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=limit.limit,
            collision_strategy=ConcurrencyLimitStrategy(limit.collision_strategy),
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(runnable, RunnerDeployment)  # a coroutine only inside of an event loop
    return runnable
