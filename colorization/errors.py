"""The exceptions of `colorization`, grouped by what a caller would do about them."""

from __future__ import annotations


class ColorizationError(Exception):
    """Root of the tree. `exit_code` is what the `chromaflow` command returns for it."""

    exit_code = 1


class ConfigError(ColorizationError, ValueError):
    """A parameter is not one of the allowed values: fix the call or the config."""

    exit_code = 2


class ModelMissingError(ColorizationError):
    """A model, its weights or its library are not on this machine: fetch them."""

    exit_code = 3


class DeviceMissingError(ColorizationError):
    """The device that was asked for is not in this machine: choose another."""

    exit_code = 3


class WeightsMismatchError(ColorizationError):
    """Weights were read but belong to another network: name the right network."""

    exit_code = 3


class DivergedError(ColorizationError):
    """Training reached NaN or infinity: lower the learning rate."""

    exit_code = 6
