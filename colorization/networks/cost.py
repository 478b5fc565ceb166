"""What a network costs: parameters, and floating-point operations for one photo."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Cost:
    """Size and work of a network."""

    parameters: int
    gflops: float
    """For one photo, in 10⁹ operations; a multiplication with its addition counts as two."""


def network_cost(network: nn.Module, side: int = 256) -> Cost:
    """Count a colorizer's parameters and its convolutions' and products' work at side × side."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(torch.zeros(1, 1, side, side))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, counter.get_total_flops() / 1e9)
