"""Is a photo gray, toned, or in colour already? Archives hold all three as RGB files."""

from __future__ import annotations

import numpy as np

from colorization.colour.lab import Float

GRAY, TONED, COLOUR = "gray", "toned", "colour"
_GRAY_CHROMA = 1.5
"""Mean chroma below which a photo is gray: what JPEG leaves of neutral."""
_TONED_SPREAD = 2.0
"""Spread up to which a photo is toned. Of 33 black-and-white scans (faded, tinted, with coloured
frames) the largest is 1.6 but for one with brown stains all over (5.3); of 810 colour photos 5% lie
under 2, and six early colour photographs begin at 2.6 (docs/decisions/009)."""
_KEPT = 0.75
_ROUNDS = 4


def tone_of(lab: Float) -> str:
    """GRAY, TONED (sepia, cyanotype, tinted paper) or COLOUR.

    lab: float32 (3, h, w) of the photo, reduced to about 128 pixels, so that grain counts little.
    """
    if trimmed_spread(lab) > _TONED_SPREAD:
        return COLOUR
    chroma = float(np.hypot(lab[1], lab[2]).mean())
    return GRAY if chroma < _GRAY_CHROMA else TONED


def trimmed_spread(lab: Float) -> float:
    """Colour that lightness does not explain, without the quarter of pixels that fit worst.

    lab: float32 (3, h, w). a and b are each fitted by a parabola in L, in four rounds without the
    worst quarter (least trimmed squares, Rousseeuw 1984), so that stains, frames and stamps do not
    count. Returns the rms of the rest, Lab units.
    """
    L = lab[0].reshape(-1).astype(np.float64) / 100
    powers = np.stack([np.ones_like(L), L, L * L], axis=1)
    ab = lab[1:].reshape(2, -1).T.astype(np.float64)
    kept = np.ones(len(L), bool)
    for _ in range(_ROUNDS):
        fitted, *_ = np.linalg.lstsq(powers[kept], ab[kept], rcond=None)
        residual = np.sum((ab - powers @ fitted) ** 2, axis=1)
        kept = residual <= np.quantile(residual, _KEPT)
    return float(np.sqrt(residual[kept].mean()))
