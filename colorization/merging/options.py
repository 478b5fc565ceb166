"""How the experts are merged and run, as configs and workers name it. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from colorization.errors import ConfigError

MERGE_MODES = ("soft", "hard")
MOST_SATURATION = 4
VIVID = 1.3
"""A saturation that makes up for what a mean of several plausible colours loses."""
TORCH, ONNX_RUNTIME = "torch", "onnxruntime"
RUNTIMES = ("auto", TORCH, ONNX_RUNTIME)
"""What may run convolutions: `colorization.merging.runtimes`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeOptions:
    """From the segmenter's weights to those of the experts. Raises ConfigError for a wrong value."""

    mode: str = "soft"
    """soft: weights blend; hard: the heaviest category takes the pixel, as in the paper."""
    temperature: float = 1.5
    """Weights become weight^(1/temperature): under 1 sharper, over 1 softer."""
    floor: float = 0.0
    """Least weight of places at every pixel, 0..1: what a segmenter overlooks gets its colours."""
    feather: float = 1 / 32
    """Radius over which weights are smoothed along the edges of L, as a share of the short side; 0
    does not smooth."""
    threshold: float = 0.1
    """An expert whose weight nowhere in a photo exceeds this is not run, 0..1."""
    abstain: float = 0.0
    """What is less certain than this stays gray: Lab units of uncertainty; 0 colours everything."""

    saturation: float = 1.0
    """Factor on the colours that are found, before they are fitted into sRGB; those of hints stay as they were
    given."""

    def __post_init__(self) -> None:
        if self.mode not in MERGE_MODES:
            raise ConfigError(f"Expected merge of {', '.join(MERGE_MODES)}; got {self.mode!r}.")
        if not self.abstain >= 0:
            raise ConfigError(f"Expected abstain of 0 or more Lab units, got {self.abstain}.")
        if not self.temperature > 0:
            raise ConfigError(f"Expected temperature over 0, got {self.temperature}.")
        for name, value, most in (
            ("floor", self.floor, 1.0),
            ("feather", self.feather, 0.5),
            ("threshold", self.threshold, 1.0),
            ("saturation", self.saturation, MOST_SATURATION),
        ):
            if not 0 <= value <= most:
                raise ConfigError(f"Expected {name} of 0..{most:g}, got {value}.")
