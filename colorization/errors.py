"""The exceptions of `colorization`, grouped by what a caller would do about them."""

from __future__ import annotations

from chromaflow.errors import ChromaflowError


class ColorizationError(ChromaflowError):
    """Of networks, weights and what is computed with them."""

    code = "COLORIZATION"


class ConfigError(ColorizationError, ValueError):
    """A parameter is not one of the allowed values: fix the call or the config."""

    code = "CONFIG"
    exit_code = 2


class ModelMissingError(ColorizationError):
    """A model, its weights or its library are not on this machine: fetch them."""

    code = "MODEL_MISSING"
    exit_code = 3


class DeviceMissingError(ColorizationError):
    """The device that was asked for is not in this machine: choose another."""

    code = "DEVICE_MISSING"
    exit_code = 3


class WeightsMismatchError(ColorizationError):
    """Weights were read but belong to another network: name the right network."""

    code = "WEIGHTS_MISMATCH"
    exit_code = 3


class DivergedError(ColorizationError):
    """Training reached NaN or infinity: lower the learning rate."""

    code = "DIVERGED"
    exit_code = 6
