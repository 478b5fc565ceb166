"""Colours that a person gives at points of a photo, spread over it along the edges of its lightness.

The paper's references [3] and [9] let users scribble. Here the merged colours are the start: what
a hint changes at its point is carried to the pixels around, further where L is flat and hardly
across its edges (Levin et al. 2004, equation 1, on the change instead of the colour).

Legend: h, w pixels at network size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from colorization.colour.lab import Float

if TYPE_CHECKING:
    import scipy.sparse as sparse

_EDGE = 6.0
"""Difference of L between neighbours at which a change is let through at 1/e, Lab units."""
_LEAK = 1e-4
"""What is let through across any edge, of what flat regions let through."""
_SCREEN = 2e-5
"""Pull of every pixel towards no change; flat regions carry one about 1/√_SCREEN pixels far."""
_HOLD = 1e3
"""Pull of the hints' pixels towards the hint."""
_PATCH = 1
"""A hint network sees a square of 2 _PATCH + 1 pixels."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A colour at a point."""

    across: float
    """Of the photo's width, 0..1."""
    down: float
    """Of its height, 0..1."""
    ab: tuple[float, float]
    """Lab units."""

    def pixel(self, height: int, width: int) -> tuple[int, int]:
        """Row and column at some size."""
        return min(int(self.down * height), height - 1), min(int(self.across * width), width - 1)


class HintField:
    """How far a change of colour at any point of one photo is carried, found once for all hints.

    The system of equations without hints is factorized, which takes most of a second; each hint then adds a
    row and a column to it (Woodbury's identity), which costs one solution, 25 ms, kept for the next time.
    """

    def __init__(self, L: Float) -> None:
        """L: float32 (h, w), 0..100."""
        import scipy.sparse as sparse  # late: it takes 0.3 s in every process, and few photos have hints
        from scipy.sparse.linalg import splu

        self.shape = (L.shape[0], L.shape[1])
        system = _laplacian(L) + sparse.diags(np.full(L.size, _SCREEN))
        self._factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0)
        self._carried: dict[int, NDArray[np.float64]] = {}

    def spread(self, ab: Float, hints: Sequence[Hint]) -> Float:
        """The change that hints make. ab: float32 (2, h, w), before. Returns float32 (2, h, w)."""
        height, width = self.shape
        held = {hint.pixel(height, width): hint.ab for hint in hints}
        places = [row * width + column for row, column in held]
        wanted = np.array(list(held.values()), np.float64) - ab.reshape(2, -1).T[places]
        carried = np.stack([self._from(place) for place in places], axis=1)
        held_together = carried[places] + np.eye(len(places)) / _HOLD
        change = carried @ np.linalg.solve(held_together, wanted)
        return np.asarray(change.T.reshape(2, height, width), np.float32)

    def _from(self, place: int) -> NDArray[np.float64]:
        """What a pull of 1 at a pixel makes everywhere, (h w,)."""
        if place not in self._carried:
            pull = np.zeros(self.shape[0] * self.shape[1])
            pull[place] = 1.0
            self._carried[place] = self._factors.solve(pull)
        return self._carried[place]


def spread_hints(
    ab_12hw: Tensor, L_11hw: Tensor, hints: Sequence[Hint], field: HintField | None = None
) -> Tensor:
    """ab with every hint at its point, and the change it makes carried on around it.

    ab: float32, Lab units. L: float32, 0..100, of the same size. Of two hints in one pixel the last
    one holds. field: of this L, where it is at hand. Returns float32 (1, 2, h, w); `ab` itself without
    hints.
    """
    if not hints:
        return ab_12hw
    field = field or HintField(L_11hw[0, 0].float().cpu().numpy())
    change = field.spread(ab_12hw[0].float().cpu().numpy(), hints)
    return ab_12hw + torch.from_numpy(change)[None].to(ab_12hw.device)


def hint_channels(hints: Sequence[Hint], height: int, width: int) -> Tensor:
    """Hints as networks take them: float32 (1, 3, h, w), a, b and 1 where there is one."""
    channels = torch.zeros(1, 3, height, width)
    for hint in hints:
        row, column = hint.pixel(height, width)
        top, left = max(row - _PATCH, 0), max(column - _PATCH, 0)
        box = (slice(top, row + _PATCH + 1), slice(left, column + _PATCH + 1))
        channels[0, :, *box] = torch.tensor([*hint.ab, 1.0])[:, None, None]
    return channels


def _laplacian(L: Float) -> sparse.csr_array:
    """Of the grid of pixels; neighbours hold together the more the closer their L."""
    import scipy.sparse as sparse

    height, width = L.shape
    index = np.arange(height * width).reshape(height, width)
    across = (index[:, :-1].ravel(), index[:, 1:].ravel(), np.diff(L, axis=1).ravel())
    down = (index[:-1].ravel(), index[1:].ravel(), np.diff(L, axis=0).ravel())
    first, second, step = (np.concatenate(pair) for pair in zip(across, down, strict=True))
    bond: NDArray[np.float64] = np.exp(-((step / _EDGE) ** 2)) + _LEAK
    size = height * width
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    bonds = sparse.csr_array((np.concatenate([bond, bond]), (rows, columns)), shape=(size, size))
    return sparse.diags(bonds.sum(axis=1)).tocsr() - bonds
