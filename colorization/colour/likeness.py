"""What a photo looks like in 256 bits, and how much colour it holds: for filters before training.

The likeness is a difference hash (N. Krawetz, "Kind of Like That", 2013) of 16×16 bits. It is kept
by resizing, recompression and changes of brightness or saturation, and lost by another crop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIDE = 16
LIKENESS_BITS = _SIDE * _SIDE


def likeness(L: NDArray[np.float32]) -> tuple[bytes, bytes]:
    """Hashes of a photo and of its mirror image.

    L: float32 (H, W), any range, H and W ≥ 17. Returns 32 bytes each: a bit says whether a cell of
    a 16×17 grid of mean lightness is darker than its right neighbour.
    """
    if min(L.shape) <= _SIDE:
        raise ValueError(f"Expected at least 17×17 pixels, got {L.shape[1]}×{L.shape[0]}.")
    own, mirrored = (_cell_means(image, _SIDE, _SIDE + 1) for image in (L, L[:, ::-1]))
    return _bits(own), _bits(mirrored)


def colour_spread(lab: NDArray[np.float32]) -> float:
    """How much colour a photo holds that its lightness does not explain: rms, in Lab units.

    lab: float32 (3, H, W). a and b are each fitted by a parabola in L; what is left is measured.
    Under 1 for gray and for toned photos (sepia, cyanotype), which hold no colour to learn from;
    5 to 30 for colour photos.
    """
    L = lab[0].reshape(-1).astype(np.float64) / 100
    powers = np.stack([np.ones_like(L), L, L * L], axis=1)
    ab = lab[1:].reshape(2, -1).T.astype(np.float64)
    fitted, *_ = np.linalg.lstsq(powers, ab, rcond=None)
    return float(np.sqrt(np.mean(np.sum((ab - powers @ fitted) ** 2, axis=1))))


def _cell_means(L: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float64]:
    """Means of a grid of cells, each some whole pixels in size."""
    row_starts = np.arange(rows) * L.shape[0] // rows
    column_starts = np.arange(columns) * L.shape[1] // columns
    sums = np.add.reduceat(L.astype(np.float64), row_starts, axis=0)
    sums = np.add.reduceat(sums, column_starts, axis=1)
    heights = np.diff(np.append(row_starts, L.shape[0]))
    widths = np.diff(np.append(column_starts, L.shape[1]))
    means: NDArray[np.float64] = sums / (heights[:, None] * widths)
    return means


def _bits(grid: NDArray[np.float64]) -> bytes:
    return np.packbits(grid[:, :-1] < grid[:, 1:]).tobytes()
