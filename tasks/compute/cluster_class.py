"""A Dask cluster class by import path: SLURM by dask-jobqueue, Kubernetes by dask-kubernetes, one's own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chromaflow.errors import ChromaflowError
from colorization.errors import ConfigError
from storage.errors import UsageError
from tasks.config.model import ComputeConfig

if TYPE_CHECKING:
    from distributed.deploy import Cluster as DaskCluster


class ClusterMissingError(ChromaflowError):
    """The package of a cluster class, its scheduler or its workers are not there."""

    code = "CLUSTER_MISSING"
    exit_code = 3


def check_cluster(compute: ComputeConfig) -> None:
    """Import the cluster class before the work, where there is one.

    Raises ConfigError for what is none, ClusterMissingError where its package is not installed.
    """
    if compute.cluster:
        _find_class(compute.cluster)


def start_cluster(compute: ComputeConfig) -> DaskCluster:
    """A cluster of the config's class with its number of workers.

    Those on this machine are on loopback with TLS, unless the options say otherwise. Raises
    UsageError where the class refuses its options.
    """
    from distributed import LocalCluster

    found = _find_class(compute.cluster)
    options: dict[str, Any] = {}
    if issubclass(found, LocalCluster):
        options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "security": True}
        options |= {"n_workers": compute.workers, "threads_per_worker": 1}
    try:
        cluster: DaskCluster = found(**options | compute.cluster_options)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"Expected [compute.cluster_options] that {compute.cluster} takes, got: {error}."
        ) from error
    cluster.scale(compute.workers)
    return cluster


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
