"""Weights as safetensors with their provenance in the header, and the model card beside them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from storage.errors import DamagedError
from storage.records.fingerprint import hash_file
from storage.records.ledger import atomic_path

FORMAT_VERSION, _SAFETENSORS = 1, ".safetensors"
_SHARED = "shared"
"""Key of the metadata that names the file of what a checkpoint shares."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights and where they come from."""

    tensors: dict[str, NDArray[Any]]
    """A torch state dict as arrays; floating-point ones are float32 whatever the file holds."""
    metadata: dict[str, Any]
    """kind, network, category, recipe, data hashes, metrics: whatever the trainer recorded."""


def save_checkpoint(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], *, half: bool
) -> None:
    """Write weights atomically.

    tensors: a state dict as arrays. metadata: JSON values. half: store floats in 16 bits.
    Raises OutputError.
    """
    stored = {
        key: np.asarray(_narrow(value) if half else value, order="C")
        for key, value in tensors.items()
    }
    header = {"chromaflow": json.dumps({"version": FORMAT_VERSION, **metadata}, sort_keys=True)}
    with atomic_path(path) as temporary:
        save_file(stored, temporary, metadata=header)


def save_checkpoints(
    folder: Path, checkpoints: Mapping[str, Checkpoint], *, shared: str, half: bool
) -> None:
    """Write several checkpoints into a folder; tensors that are equal in all of them lie in one file.

    checkpoints: by file name. shared: name of the file of what they share; the others hold its
    SHA-256 and are read together with it. Raises OutputError.
    """
    first, *others = checkpoints.values()
    common = {
        key: value
        for key, value in first.tensors.items()
        if all(key in o.tensors and np.array_equal(value, o.tensors[key]) for o in others)
    }
    save_checkpoint(folder / shared, common, {"kind": "shared"}, half=half)
    named = {_SHARED: {"file": shared, "sha256": hash_file(folder / shared)}}
    for name, checkpoint in checkpoints.items():
        own = {key: value for key, value in checkpoint.tensors.items() if key not in common}
        save_checkpoint(folder / name, own, {**checkpoint.metadata, **named}, half=half)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read weights, with what they share with others.

    Raises DamagedError when a file is missing, cut short or of another kind.
    """
    own = _load(path)
    named = own.metadata.pop(_SHARED, None)
    if named is None:
        return own
    shared = path.parent / named["file"]
    if not shared.is_file() or hash_file(shared) != named["sha256"]:
        raise DamagedError(
            f"Expected {shared} beside {path.name}, with the SHA-256 {named['sha256'][:12]}…; it is "
            "missing or another one. Copy both files again."
        )
    return Checkpoint(_load(shared).tensors | own.tensors, own.metadata)


def read_provenance(path: Path) -> dict[str, Any]:
    """What the trainer recorded in a safetensors file; empty for files of other kinds.

    Reads no tensor. Raises DamagedError when the file is not what its name says.
    """
    if path.suffix != _SAFETENSORS:
        return {}
    with _opened(path) as file:
        return _provenance(file)


def _load(path: Path) -> Checkpoint:
    with _opened(path) as file:
        tensors = {key: _widen(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        return Checkpoint(tensors, _provenance(file))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, whose header is read and held against the file's length."""
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise DamagedError(
            f"Expected whole safetensors weights in {path}; the file is cut short or damaged ({error}). "
            "Copy it again, or train again."
        ) from error


def _provenance(file: Any) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((file.metadata() or {}).get("chromaflow", "{}"))
    return recorded


def check_whole(path: Path) -> None:
    """Raise DamagedError when a weights file is plainly cut short; reads its ends only.

    Safetensors say in their header how long they are; .pth files are zips, whose directory is last.
    """
    if path.suffix == _SAFETENSORS:
        read_provenance(path)
        return
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip and not zipfile.is_zipfile(path):
        raise DamagedError(
            f"Expected a whole weights file at {path}, it is cut short or damaged. Copy it again, "
            "or train again."
        )


def _narrow(value: NDArray[Any]) -> NDArray[Any]:
    return value.astype(np.float16) if value.dtype == np.float32 else value


def _widen(value: NDArray[Any]) -> NDArray[Any]:
    return value.astype(np.float32) if value.dtype == np.float16 else value
