"""How a machine is shared out: processes × threads on its cores, or one category a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from colorization.errors import DeviceMissingError
from tasks.config.model import ComputeConfig
from tasks.jobs.machine import available_cores, visible_gpus

_PLACES = {"cpu": "CPU", "cuda": "the workers' GPUs", "auto": "the workers' GPUs or CPUs"}
_NO_GPU = 'Expected a GPU for compute.device = "cuda", found none. Use "auto" or "cpu".'
_MOST_ON_A_GPU = 4
_THREAD_GAIN = 0.9
"""t threads train t to this power times as fast as one."""


@dataclass(frozen=True, slots=True)
class Slots:
    """What a stage's Dask workers get."""

    processes: int
    threads: int
    """torch threads of each; 0 for all that it may use (on machines that we do not know)."""
    device: str
    """cpu, cuda, or auto: what each worker finds."""
    gpus: tuple[str, ...] = ()
    """What CUDA_VISIBLE_DEVICES holds in each process; empty on CPUs."""
    rounds: int = field(default=1, compare=False)
    """How often each process takes a job, at most."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "processes": self.processes,
            "threads": self.threads,
            "device": self.device,
            "gpus": list(self.gpus),
            "rounds": self.rounds,
        }

    def __str__(self) -> str:
        where = f"GPU {', '.join(self.gpus)}" if self.gpus else _PLACES[self.device]
        turns = "" if self.rounds == 1 else f", {self.rounds} rounds"
        return f"{self.processes} processes × {self.threads or 'all'} threads on {where}{turns}"


def plan_training(
    num_jobs: int,
    compute: ComputeConfig,
    *,
    cores: int | None = None,
    gpus: tuple[str, ...] | None = None,
) -> Slots:
    """Share the machine among trainings that run side by side.

    On CPUs the number of processes is the one whose rounds end first; of equals, the most. On GPUs
    each takes one category at a time. cores, gpus: of another machine, for its plan. Raises
    DeviceMissingError when device = "cuda" and there is none.
    """
    num_jobs = max(num_jobs, 1)
    cores = cores or compute.cores or available_cores()
    if compute.is_elsewhere:  # its workers look for themselves
        return Slots(compute.workers or num_jobs, compute.threads, compute.device)
    found = visible_gpus() if gpus is None and compute.device != "cpu" else (gpus or ())
    if compute.device == "cuda" and not found:
        raise DeviceMissingError(_NO_GPU)
    if found and compute.device != "cpu":
        processes = min(num_jobs, len(found), compute.workers or len(found))
        threads = compute.threads or max(1, cores // processes)
        return Slots(processes, threads, "cuda", found[:processes], -(-num_jobs // processes))
    processes = compute.workers or _best_split(num_jobs, cores)
    processes = min(processes, num_jobs)
    threads = compute.threads or max(1, cores // processes)
    return Slots(processes, threads, "cpu", rounds=-(-num_jobs // processes))


def plan_photos(compute: ComputeConfig, *, cores: int | None = None) -> Slots:
    """One process a core, or for every `threads` cores: photos are many and small."""
    cores = cores or compute.cores or available_cores()
    processes = compute.workers or max(1, cores // (compute.threads or 1))
    if compute.is_elsewhere:  # its cores are not these
        return Slots(processes, compute.threads or 1, "cpu")
    return Slots(processes, compute.threads or max(1, cores // processes), "cpu")


def plan_colorizing(
    compute: ComputeConfig, *, cores: int | None = None, gpus: tuple[str, ...] | None = None
) -> Slots:
    """As for photos, and the GPUs dealt out in turn: decoding and encoding take cores, the networks
    of at most `_MOST_ON_A_GPU` processes share a GPU.

    Raises DeviceMissingError when device = "cuda" and there is none.
    """
    slots = plan_photos(compute, cores=cores)
    if compute.is_elsewhere:  # its workers look for themselves
        return replace(slots, device=compute.device)
    found = visible_gpus() if gpus is None and compute.device != "cpu" else (gpus or ())
    if compute.device == "cuda" and not found:
        raise DeviceMissingError(_NO_GPU)
    if not found or compute.device == "cpu":
        return slots
    processes = min(slots.processes, _MOST_ON_A_GPU * len(found))
    dealt = tuple(found[number % len(found)] for number in range(processes))
    return Slots(processes, slots.threads, "cuda", dealt)


def _best_split(num_jobs: int, cores: int) -> int:
    def seconds(processes: int) -> float:
        rounds = -(-num_jobs // processes)
        return float(rounds / (cores // processes) ** _THREAD_GAIN)

    return min(range(min(num_jobs, cores), 0, -1), key=seconds)
