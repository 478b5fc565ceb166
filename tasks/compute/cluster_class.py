"""A Dask cluster class by import path: SLURM by dask-jobqueue, Kubernetes by dask-kubernetes, one's own."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chromaflow.errors import ChromaflowError
from colorization.errors import ConfigError
from storage.errors import UsageError
from tasks.config.model import ComputeConfig
from tasks.jobs.niceness import niceness_variables

if TYPE_CHECKING:
    from distributed import SpecCluster
    from distributed.deploy import Cluster as DaskCluster

_IDLE_SECONDS = 60
"""That a worker is of no use before it is let go: the next stage may want it, and a job takes long to come."""
WORKER_PRELOADS = ("tasks.jobs.interrupts", "tasks.jobs.niceness")
"""Modules that each Dask worker of this machine loads at its start."""


class ClusterMissingError(ChromaflowError):
    """The package of a cluster class, its scheduler or its workers are not there."""

    code = "CLUSTER_MISSING"
    exit_code = 3


def check_cluster(compute: ComputeConfig) -> None:
    """Import the cluster class before the work, where there is one.

    Raises ConfigError for what is none, ClusterMissingError where its package is not installed,
    UsageError where it is told memory or niceness that its own options would say.
    """
    if not compute.cluster:
        return
    found = _find_class(compute.cluster)
    if _is_local(found) or _is_queue(found):
        return
    for name, value in (("memory_per_worker", compute.memory_per_worker), ("nice", compute.nice)):
        if value:
            raise UsageError(
                f"Expected no compute.{name} with {compute.cluster}, got {value}. Say it in "
                "[compute.cluster_options], in the class's own words."
            )


def start_cluster(
    compute: ComputeConfig, environment: Mapping[str, str], shared: Path
) -> DaskCluster:
    """A cluster of the config's class with its number of workers, which it keeps: one that dies is
    replaced. With `min_workers` there are fewer while less is to be done.

    On this machine it is on loopback with TLS, in a batch queue it has TLS, unless the options say
    otherwise. environment: of the workers. shared: a folder that all machines see, for certificates
    and the workers' logs. Raises UsageError where the class refuses its options, ClusterMissingError
    where its workers cannot be asked for.
    """
    from distributed import SpecCluster

    found = _find_class(compute.cluster)
    options = dict(compute.cluster_options)
    if _is_local(found):
        options = _local_options(compute, environment) | options
    elif _is_queue(found):
        options = _queue_options(compute, environment, shared)
    elif found.__name__ == "KubeCluster":  # a display of its own would stand in ours
        options = {"quiet": True, "n_workers": compute.min_workers or compute.workers, **options}
    try:
        cluster: DaskCluster = found(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"Expected [compute.cluster_options] that {compute.cluster} takes, got: {error}."
        ) from error
    except Exception as error:  # whatever somebody else's class raises
        raise _not_started(compute, error) from error
    try:
        with _silent("tornado.application"):
            cluster.scale(compute.min_workers or compute.workers)
            if isinstance(cluster, SpecCluster):
                cluster.sync(_started, cluster)
        if compute.min_workers or isinstance(cluster, SpecCluster):
            least = compute.min_workers or compute.workers
            idle = {"wait_count": _IDLE_SECONDS} if isinstance(cluster, SpecCluster) else {}
            cluster.adapt(minimum=least, maximum=compute.workers, **idle)
    except Exception as error:  # as above
        stop_cluster(cluster)
        raise _not_started(compute, error) from error
    return cluster


def _not_started(compute: ComputeConfig, error: Exception) -> ClusterMissingError:
    said = " ".join(str(error).rpartition("stderr:")[2].split()) or type(error).__name__
    return ClusterMissingError(
        f"Expected {compute.cluster} to start workers, got: {said}. Correct "
        "[compute.cluster_options], or try again when its queue or API takes them."
    )


def stop_cluster(cluster: DaskCluster) -> None:
    """End its workers and take its certificates away, which dask-jobqueue holds as temporary files."""
    with suppress(AssertionError):  # at its very end SpecCluster expects that all workers had begun
        cluster.close()
    for part in ("ca_file", "cert", "key"):
        file = getattr(cluster, f"_job_{part}", None)
        if file is not None:
            file.close()


def _remove_certificates(shared: Path) -> None:
    """Of a run that was killed."""
    for path in shared.glob(".dask-jobqueue.worker.*"):
        path.unlink()


async def _started(cluster: SpecCluster) -> None:
    """Raises what the first worker raised that could not be asked for."""
    await cluster
    for worker in list(cluster.workers.values()):
        await worker


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without what a logger says: what `_started` raises, as a traceback."""
    logger = logging.getLogger(name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _local_options(compute: ComputeConfig, environment: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    options |= {"security": True, "threads_per_worker": 1}
    options["n_workers"] = compute.min_workers or compute.workers
    if compute.memory_per_worker:
        options["memory_limit"] = int(compute.memory_per_worker * 1e9)
    if not compute.cluster_options.get(
        "processes", True
    ):  # its workers are threads of this process
        return options
    environment = {**environment, **niceness_variables(compute.nice)}
    return options | {"preload": WORKER_PRELOADS, "env": environment}


def _queue_options(
    compute: ComputeConfig, environment: Mapping[str, str], shared: Path
) -> dict[str, Any]:
    """Of dask-jobqueue's classes: TLS, no page of Dask's, a process a core, our environment.

    Raises UsageError for a folder that its unquoted command would take for several words.
    """
    asked = compute.cluster_options
    folders = {"shared_temp_directory": str(shared), "log_directory": str(shared / "logs")}
    for name, folder in folders.items():
        if name not in asked and shlex.quote(folder) != folder:
            raise UsageError(
                f"Expected a workspace without blanks and signs of the shell in its path for "
                f"{compute.cluster}, got {str(shared)!r}. Move it, or name another shared folder as "
                f"{name} in [compute.cluster_options]."
            )
    shared.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_certificates(shared)
    processes = asked.get("processes", asked.get("cores", 1))
    options = {
        **folders,
        "security": True,
        "protocol": "tls://",
        "cores": 1,
        "processes": processes,
    }
    if compute.memory_per_worker:
        options["memory"] = f"{processes * compute.memory_per_worker}GB"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    if compute.nice:
        exports.append(f"renice -n {compute.nice} -p $$")
    pages = "127.0.0.1:0"
    return options | {
        **asked,
        "job_script_prologue": [*exports, *asked.get("job_script_prologue", ())],
        "scheduler_options": {"dashboard_address": pages, **asked.get("scheduler_options", {})},
        "worker_extra_args": [
            *("--no-dashboard", "--dashboard-address", pages),
            *asked.get("worker_extra_args", ()),
        ],
    }


def _is_local(found: type[DaskCluster]) -> bool:
    from distributed import LocalCluster

    return issubclass(found, LocalCluster)


def _is_queue(found: type[DaskCluster]) -> bool:
    """Whether it is one of dask-jobqueue's, or derives from one: told without importing the package."""
    return any(kind.__name__ == "JobQueueCluster" for kind in found.__mro__)


def _find_class(path: str) -> type[DaskCluster]:
    from distributed.deploy import Cluster as DaskCluster

    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name) if module else None
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0].replace("_", "-")
        raise ClusterMissingError(
            f"Expected compute.cluster to be installed, got {path!r}: {error}. "
            f"`pip install {package}`."
        ) from error
    except AttributeError:
        found = None
    if not (isinstance(found, type) and issubclass(found, DaskCluster)):
        raise ConfigError(
            f"Expected compute.cluster of a Dask cluster class as distributed.LocalCluster, got "
            f"{path!r}."
        )
    return found
