"""What this machine has for a process: cores, GPUs, memory."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path


def available_cores() -> int:
    """Cores that this process may use: its affinity, or the container's quota if that is less."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def visible_gpus() -> tuple[str, ...]:
    """Numbers of the NVIDIA GPUs that this process may use, without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip() not in ("", "-1"))
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    query = [command, "--query-gpu=index", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:  # a driver that does not answer is of no use
        return ()
    return tuple(found.stdout.split()) if found.returncode == 0 else ()


def memory_limit() -> float:
    """Bytes that this Dask worker may take; infinite outside of one."""
    from distributed import get_worker  # not for processes that must be light

    try:
        return float(get_worker().memory_manager.memory_limit or math.inf)
    except ValueError:
        return math.inf
