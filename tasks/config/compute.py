"""[compute]: how the machine is shared, or which others do the work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, get_type_hints

from colorization.merging.options import RUNTIMES
from tasks.config.problems import OPTIONS, Rule
from tasks.config.types import (
    Accepts,
    TableOf,
    build,
    check_rules,
    checked,
    number,
    one_of,
    whole,
)

DEVICES = ("auto", "cpu", "cuda")
_ADDRESS = Accepts(
    "tcp://HOST:PORT or tls://HOST:PORT (or inproc:// within one process), or nothing",
    lambda value: not value or re.fullmatch(r"(tcp|tls)://.+:\d+|inproc://.+", value) is not None,
    example="tcp://127.0.0.1:8786",
)


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeConfig:
    """[compute]: how the machine is shared. It enters no fingerprint: it changes no photo and no shard,
    of trained weights the order of sums, and with the device their precision, which the card says."""

    workers: Annotated[int, whole(0)] = 0
    """Dask worker processes; 0 for one a core."""
    memory_per_worker: Annotated[float, number(0)] = 0.0
    """GB that a worker may take; 0 for an even share of the machine's. Photos that need more are refused."""
    scheduler: Annotated[str, _ADDRESS] = ""
    """Address of a running Dask scheduler, tcp:// or tls://, instead of local processes."""
    cluster: str = ""
    """A Dask cluster class by import path, instead of local processes; it gets `workers` workers."""
    min_workers: Annotated[int, whole(0)] = 0
    """Of a cluster class: fewest workers, where their number follows the work; 0: always `workers`."""
    cluster_options: dict[str, Any] = field(default_factory=dict)
    """What the class is called with."""
    cluster_patience: Annotated[float, number(0)] = 600.0
    """Seconds to wait for the first worker of a scheduler or cluster class."""
    cores: Annotated[int, whole(0)] = 0
    """Cores to share out; 0 for all that this process may use."""
    threads: Annotated[int, whole(0)] = 0
    """torch threads of a worker process; 0 for its share of the cores."""
    nice: Annotated[int, whole(0, 19)] | None = None
    """Niceness of the workers and their decoders, 0..19; None: 10 on battery, else the command's own."""
    device: Annotated[str, one_of(*DEVICES)] = "auto"
    """Where networks are trained and colorize: auto (a GPU where there is one), cpu or cuda."""
    runtime: Annotated[str, one_of(*RUNTIMES)] = "auto"
    """What runs colorize's convolutions on a CPU: auto (ONNX Runtime for segmenter and encoder, torch for
    the heads), torch or onnxruntime."""
    checkpoint_seconds: Annotated[float, number(0)] = 60.0
    """Training saves its state this often, and at the end of each epoch."""
    sheet_every: Annotated[int, whole(1)] = 5
    """Epochs between two sample sheets of a training."""

    def __post_init__(self) -> None:
        check_rules(
            Rule(
                not (self.scheduler and self.cluster),
                "cluster",
                "nothing beside scheduler",
                self.cluster,
                "Take one of the two out.",
            ),
            Rule(
                bool(self.cluster) or not self.cluster_options,
                "cluster_options",
                "nothing without cluster",
                self.cluster_options,
                "Name the class, or take the options out.",
            ),
            Rule(
                not self.cluster or self.workers > 0,
                "workers",
                "1 or more with cluster",
                self.workers,
                "Say how many the cluster is to start.",
            ),
            Rule(
                self.min_workers <= (self.workers if self.cluster else 0),
                "min_workers",
                f"0 to {self.workers}, as workers are" if self.cluster else "0 without cluster",
                self.min_workers,
                "Write 0 for a cluster of one size.",
            ),
            Rule(
                not (self.scheduler and self.nice),
                "nice",
                "nothing with scheduler, whose workers run already",
                self.nice,
                "Start them with `nice -n 10 dask worker …`.",
            ),
            Rule(
                not (self.scheduler and self.memory_per_worker),
                "memory_per_worker",
                "0 with scheduler, whose workers run already",
                self.memory_per_worker,
                "Start them with `dask worker … --memory-limit 4GB`.",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for the record of a run; without `cluster_options`, which may hold passwords."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cluster_options"}

    @property
    def is_elsewhere(self) -> bool:
        """Whether the Dask workers are not started here, so that they look at their own machine."""
        return bool(self.scheduler or self.cluster)


_HINTS = get_type_hints(ComputeConfig, include_extras=True)
FIELDS = TableOf(
    {f.name: _HINTS[f.name] | None for f in fields(ComputeConfig)},
    {f.name: f.default for f in fields(ComputeConfig)},
)
"""Fields of [compute] to replace; None, which JSON calls null, replaces nothing."""
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(|[kMGT]i?B?)", re.IGNORECASE)
_BYTES = {
    "k": 1e3,
    "m": 1e6,
    "g": 1e9,
    "t": 1e12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_OPTIONS = TableOf(
    {name: _HINTS[name] for name in ("workers", "threads", "nice")}
    | {
        "memory": Annotated[
            str,
            Accepts(
                "GB of a worker, as 4, 4GB or 500MB",
                lambda value: _MEMORY.fullmatch(value.strip()) is not None,
                example="4GB",
            ),
        ]
    },
    {"workers": 1, "threads": 1, "nice": 10},
)


def resource_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of [compute] of the options workers, threads, memory, nice; None for what was not given.

    Raises ConfigError naming every wrong option and what it takes.
    """
    given = {name: value for name, value in options.items() if value is not None}
    build(Annotated[dict[str, Any], _OPTIONS], given, OPTIONS)
    if memory := given.pop("memory", ""):
        given["memory_per_worker"] = _gigabytes(memory)
    return given


def _gigabytes(memory: str) -> float:
    found = _MEMORY.fullmatch(memory.strip())
    assert found is not None, "the option was checked"
    unit = found[2].lower().removesuffix("b")
    return float(found[1]) * (_BYTES[unit] / 1e9 if unit else 1.0)
