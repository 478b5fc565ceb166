"""Where and in which number format networks run: device, precision, memory layout, threads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import torch
from torch import nn

from colorization.errors import ConfigError


@cache
def has_native_bf16(device: str = "cpu") -> bool:
    """Whether the device multiplies bf16 natively; emulated, it is slower than fp32."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capability = torch.backends.cpu.get_cpu_capability()
    flags = _cpu_flags()
    return capability.startswith("AVX512") and bool({"avx512_bf16", "amx_bf16"} & flags)


def resolve_precision(precision: str, device: str = "cpu") -> str:
    """'auto' to 'bf16' or 'fp32'. Raises ConfigError for another word."""
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    if precision not in ("bf16", "fp32"):
        raise ConfigError(f"Expected precision of auto, bf16, fp32; got {precision!r}.")
    return precision


def autocast(precision: str, device: str = "cpu") -> AbstractContextManager[object]:
    """A context in which convolutions run in the resolved precision."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


def place(network: nn.Module, device: str = "cpu") -> nn.Module:
    """Move a network to the device in channels_last, which is 2–3× faster on CPUs (facts)."""
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _cpu_flags() -> set[str]:
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    except FileNotFoundError:  # not Linux: no flags known, so fp32
        return set()
    return set()
