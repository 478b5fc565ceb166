"""What the networks are asked, and what they say, of one photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from colorization.colour.lab import Float
from colorization.merging.hinting import Hint
from colorization.networks.palette_choice import PaletteChoice


@dataclass(frozen=True, slots=True)
class Asked:
    """A photo that is to be coloured."""

    L: Float
    """float32 (H, W), 0..100, of any size."""
    hints: Sequence[Hint] = ()
    """See `colorization.merging.hinting`."""
    palette: PaletteChoice | None = None
    """The photo's own, where it is not that of all."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Another colouring of the photo."""

    ab: Tensor
    """As that of `Prediction`."""
    palette: str
    """The code of its palette."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the networks say of one photo, at network size."""

    ab: Tensor
    """float32 (1, 2, h, w), Lab units: merged."""
    weight: Tensor
    """float32 (1, K, h, w), sum 1 over K."""
    single: Tensor
    """float32 (1, 2, h, w): the one expert with the largest share, for comparison."""
    shares: dict[str, float]
    """Category → mean weight over the photo."""
    uncertainty: Tensor | None = None
    """float32 (1, 1, h, w), Lab units, where it was asked for: how far the experts that a pixel mixes, the
    photo and its mirror image, and its likely colourings are apart."""
    blank: bool = False
    """Whether nothing is to be seen, so that it stays gray but for hints."""
    palette: str = ""
    """The code of the palette that `ab` follows; empty for the mean colours."""
    runtime: str = ""
    """What computed it: name, version and precision."""
    variants: tuple[Variant, ...] = ()
    """The likeliest colourings, best first, as many as were asked for."""
