"""What scores are read against: no colour, one colour for all, each photo's own mean colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BASELINES = ("gray", "constant", "photo mean")
"""ab = 0; the mean ab of a set of photos; each photo's own mean ab. The last two know what no system
knows of a gray photo."""


def baseline_colours(
    truth: NDArray[np.float32], constant: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """What each of BASELINES makes of photos whose colours are known.

    truth: ab, float32 (…, 2, H, W), Lab units. constant: ab, float32 (2,). Returns views of the
    truth's shape, read only.
    """
    tints = (np.zeros(2, np.float32), constant, truth.mean(axis=(-2, -1)))
    return {
        name: np.broadcast_to(tint[..., None, None], truth.shape)
        for name, tint in zip(BASELINES, tints, strict=True)
    }
