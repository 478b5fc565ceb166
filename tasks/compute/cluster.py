"""Dask: one cluster a run, one future an item, and what happens when a photo kills a worker."""

from __future__ import annotations

import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import dask
from distributed import (
    Client,
    Future,
    KilledWorker,
    Nanny,
    Scheduler,
    SpecCluster,
    as_completed,
    system,
)
from distributed.deploy import Cluster as DaskCluster
from distributed.security import Security

from chromaflow.errors import ChromaflowError
from storage.children import SAFE_PATH, shut_out_working_folder
from tasks.compute.cluster_class import (
    WORKER_PRELOADS,
    ClusterMissingError,
    start_cluster,
    stop_cluster,
)
from tasks.compute.forks import METHOD, WORKER_ENVIRONMENT, begin_forks
from tasks.compute.slots import Slots
from tasks.config.model import ComputeConfig
from tasks.jobs.apart import do_apart
from tasks.jobs.items import ItemResult, PhotoItem, WorkItem
from tasks.jobs.niceness import niceness_variables
from tasks.jobs.versions import VersionsDifferError, check_versions, do_checked, versions

_MOST_DEATHS = 10
"""Of workers that an item was on, its own process apart included: neighbours may be deadly."""
_LEAST_SENT, _SENT_PER_THREAD, _REFILL = 64, 4, 16
"""Items that are with the scheduler at a time: at least, and for each thread; so many are sent at once.
A cluster that grows by what waits sees that there is more than it can do."""
_LOG_LENGTH = 500
"""Entries of Dask's logs; by default up to 100,000, which grow with the archive."""


class WorkerDiedError(ChromaflowError):
    """A process of Dask died again and again, and no photo can be left out for it."""

    code = "WORKER_DIED"
    exit_code = 1


class Cluster:
    """The Dask workers of a stage. Local ones start when the first item is sent, not before.

    A worker under a nanny would run torch on one thread (facts/pipeline.md); jobs take their number
    of threads from `slots`.
    """

    def __init__(self, compute: ComputeConfig, slots: Slots, shared: Path = Path("dask")) -> None:
        self.slots = slots
        self._compute, self._shared = compute, shared
        self._own: DaskCluster | None = None
        self._client: Client | None = None
        self._starting = threading.Lock()

    @property
    def client(self) -> Client:
        """The client, connected. Every socket is on loopback with TLS unless an address is given."""
        with self._starting:  # the tasks of a stage share it and ask for it at the same time
            if self._client is None:
                self._client = self._connect()
            return self._client

    @property
    def is_elsewhere(self) -> bool:
        """Whether its workers are not started here."""
        return self._compute.is_elsewhere

    def submit(self, job: Callable[[Any], Any], item: WorkItem, priority: int = 0) -> Future:
        """Send a job; where workers are elsewhere, to one with our versions only.

        priority: the higher, the sooner; of equals, the one sent first.
        """
        asked = {"pure": False, "priority": priority}
        if self._compute.is_elsewhere:
            return self.client.submit(do_checked, versions(), job, item, **asked)
        return self.client.submit(job, item, **asked)

    def _connect(self) -> Client:
        compute = self._compute
        if not compute.is_elsewhere:
            self._own = _local_cluster(self.slots, compute)
            return Client(self._own, set_as_default=False)
        if compute.cluster and self._own is None:
            self._own = start_cluster(compute, WORKER_ENVIRONMENT | SAFE_PATH, self._shared)
        address = self._own or compute.scheduler
        try:
            client = Client(address, set_as_default=False)
        except (OSError, TypeError, ValueError) as error:  # TypeError: tls:// without certificates
            raise ClusterMissingError(
                f"Expected a Dask scheduler at {compute.scheduler or compute.cluster}, got: {error}. "
                "Start one with `dask scheduler`; or correct the address and, for tls://, the "
                "certificates in Dask's settings."
            ) from error
        try:
            client.wait_for_workers(1, timeout=compute.cluster_patience)
        except TimeoutError as error:
            client.close()
            raise ClusterMissingError(
                f"Expected a Dask worker at {compute.scheduler or compute.cluster}, got none within "
                f"{compute.cluster_patience:g} s. Start some with `dask worker`, or raise "
                "compute.cluster_patience."
            ) from error
        try:
            _refuse_other_versions(client)
        except VersionsDifferError:
            client.close()
            raise
        return client

    def close(self) -> None:
        """Stop what was started; a scheduler that was there before stays."""
        if self._client is not None:
            self._client.close()
        if self._own is not None:
            stop_cluster(self._own)


def _refuse_other_versions(client: Client) -> None:
    """Raise VersionsDifferError unless every worker that is there has this process's versions."""
    for address, found in client.run(versions, on_error="return").items():
        if isinstance(found, Exception):  # Dask makes one of text of what it cannot unpickle
            raise VersionsDifferError(
                f"Expected a Dask worker with Chromaflow at {address}, got: {found}. Install what this "
                "machine has there too, then start its workers again, with PYTHONSAFEPATH=1 where "
                "their folder holds one named storage, tasks or colorization."
            ) from found
        check_versions(versions(), found, address)


def _local_cluster(slots: Slots, compute: ComputeConfig) -> SpecCluster:
    """Processes of this machine; every socket on loopback, with TLS."""
    begin_forks()
    security = Security.temporary()
    common = {"security": security, "protocol": "tls", "host": "127.0.0.1"}
    return SpecCluster(
        scheduler={
            "cls": Scheduler,
            "options": common | {"dashboard_address": "127.0.0.1:0"},
        },
        workers={
            number: {"cls": Nanny, "options": common | _worker_options(slots, number, compute)}
            for number in range(slots.processes)
        },
        security=security,
        silence_logs=logging.CRITICAL,
    )


def _worker_options(slots: Slots, number: int, compute: ComputeConfig) -> dict[str, Any]:
    """One thread, one job at a time, an even share of the memory unless more is asked; its own GPU."""
    own = int(compute.memory_per_worker * 1e9)
    gpu = {"CUDA_VISIBLE_DEVICES": slots.gpus[number]} if slots.gpus else {}
    return {
        "nthreads": 1,
        "dashboard": False,
        "preload": list(WORKER_PRELOADS),
        "silence_logs": logging.CRITICAL,
        "memory_limit": own or system.MEMORY_LIMIT // slots.processes,
        "env": {**gpu, **niceness_variables(compute.nice)},
    }


class Clusters:
    """The cluster of the stage under way. The next stage takes it over if it is to share the machine
    alike: starting workers and their libraries costs seconds."""

    def __init__(self, compute: ComputeConfig, shared: Path) -> None:
        self._compute, self._shared = compute, shared
        self._current: Cluster | None = None

    def of(self, slots: Slots) -> Cluster:
        """The cluster with these slots; any other one is closed, unless it is not of this machine: its
        workers may have waited in a queue, and take threads and device from each job."""
        if self._current is not None and self._compute.is_elsewhere:
            self._current.slots = slots
        elif self._current is None or self._current.slots != slots:
            self.close()
            self._current = Cluster(self._compute, slots, self._shared)
        return self._current

    def close(self) -> None:
        """Stop what was started."""
        if self._current is not None:
            self._current.close()
        self._current = None


@contextmanager
def run_clusters(compute: ComputeConfig, shared: Path = Path("dask")) -> Iterator[Clusters]:
    """Clusters for the time of one run. shared: a folder for what a batch queue's workers need."""
    shut_out_working_folder()
    logging.getLogger("distributed").setLevel(logging.ERROR)  # Prefect turns its INFO lines on
    settings = {
        "distributed.admin.events-log-length": _LOG_LENGTH,
        "distributed.admin.log-length": _LOG_LENGTH,
        "distributed.admin.low-level-log-length": _LOG_LENGTH,
        "distributed.scheduler.allowed-failures": 1,
        "distributed.worker.profile.enabled": False,  # it stops jobs a hundred times a second
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.worker.multiprocessing-method": METHOD,
    }
    if not compute.cluster:  # a nanny brings it back; else two deaths in 15 s take a worker away
        settings["distributed.deploy.lost-worker-timeout"] = "1d"
    with dask.config.set(settings):
        clusters = Clusters(compute, shared)
        try:
            yield clusters
        finally:
            with _deaf_to_interrupts():
                clusters.close()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A second Ctrl-C while workers are stopped would leave them to Dask's exit, which waits 10 s."""
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def fan_out(
    cluster: Cluster,
    job: Callable[[Any], ItemResult],
    items: Iterable[WorkItem],
    on_result: Callable[[ItemResult], None],
) -> list[ItemResult]:
    """Run `job` on every item, one future each, and report each result as it comes.

    items: made as they are sent; so many that no worker waits are with the scheduler at a time.
    An item of photos whose worker died twice is done again by a process apart, which tells the photos
    that it dies of from items that died with a neighbour (`tasks.jobs.apart`). Any other item raises
    WorkerDiedError, any other error stops the step.
    """
    coming = iter(items)
    waiting: dict[Future, WorkItem] = {
        cluster.submit(job, item): item for item in islice(coming, _LEAST_SENT)
    }
    most = _most_sent(cluster) if waiting else 0
    results: list[ItemResult] = []
    deaths: Counter[str] = Counter()
    completed = as_completed(list(waiting), loop=cluster.client.loop)
    try:
        for future in completed:
            item = waiting.pop(future)
            if len(waiting) <= most - _REFILL:
                for following in islice(coming, most - len(waiting)):
                    sent = cluster.submit(job, following)
                    waiting[sent] = following
                    completed.add(sent)
                most = _most_sent(cluster)
            try:
                result: ItemResult = future.result()
            except KilledWorker:  # of this item, or of a neighbour while its result was on the way
                deaths[item.name] += 1
                is_apart = isinstance(item, PhotoItem)
                if deaths[item.name] > _most_deaths(cluster, is_apart):
                    raise _worker_died(item) from None
                retry = cluster.submit(partial(do_apart, job) if is_apart else job, item)
                waiting[retry] = item
                completed.add(retry)
                continue
            results.append(result)
            on_result(result)
    finally:
        for future in waiting:
            future.cancel()
    return results


def _most_deaths(cluster: Cluster, is_apart: bool) -> int:
    """How often an item may die: on other machines nodes are taken away, whatever it does."""
    return _MOST_DEATHS if is_apart or cluster.is_elsewhere else 0


def _most_sent(cluster: Cluster) -> int:
    """How many items may be with the scheduler: of a cluster that grows, more later."""
    num_threads: int = sum(cluster.client.nthreads().values())
    return max(_LEAST_SENT, _SENT_PER_THREAD * num_threads)


def _worker_died(item: WorkItem) -> WorkerDiedError:
    step = "/".join(Path(item.folder).parts[-3:-1])
    return WorkerDiedError(
        f"Expected the process that does {item.name} of {step} to live, but it died time after "
        "time, as where memory ends. Give each process more by fewer --workers, then run again; what "
        "is done is kept."
    )
