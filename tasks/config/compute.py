"""[compute]: how the machine is shared, or which others do the work."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from colorization.merging.options import RUNTIMES
from tasks.config.problems import Rule
from tasks.config.types import Accepts, check_rules, checked, number, one_of, whole

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
    cluster_options: dict[str, Any] = field(default_factory=dict)
    """What the class is called with."""
    cluster_patience: Annotated[float, number(0)] = 600.0
    """Seconds to wait for the first worker of a scheduler or cluster class."""
    cores: Annotated[int, whole(0)] = 0
    """Cores to share out; 0 for all that this process may use."""
    threads: Annotated[int, whole(0)] = 0
    """torch threads of a training process; 0 for its share of the cores."""
    device: Annotated[str, one_of(*DEVICES)] = "auto"
    """Where networks are trained and colorize: auto (a GPU where there is one), cpu or cuda."""
    runtime: Annotated[str, one_of(*RUNTIMES)] = "auto"
    """What runs colorize's convolutions on a CPU: auto (torch where the processor multiplies bf16, else ONNX
    Runtime), torch or onnxruntime."""
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
        )

    @property
    def is_elsewhere(self) -> bool:
        """Whether the Dask workers are not started here, so that they look at their own machine."""
        return bool(self.scheduler or self.cluster)
