"""A colorizer for other programs: ONNX, TorchScript or torch.export, each checked against ours."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chromaflow.library.networks import load_colorizer
from colorization.errors import ConfigError, ModelMissingError
from colorization.networks.contract import Colorizer
from storage.errors import DamagedError
from storage.records.ledger import atomic_path

FORMATS = {"onnx": ".onnx", "torchscript": ".pt", "torch-export": ".pt2"}
"""Format → the suffix of its file."""
TOLERANCE = 0.05
"""Largest difference in ab that an export may show, Lab units: a tenth of a stored step is not seen."""
_CHECK_SIZES = ((64, 96), (160, 128))
_EXPORT_STEP = 32
"""torch.export's program takes sides that are multiples of this; the others take any from 32 on."""
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Answer = Callable[[Tensor], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported file and how far its answers are from ours."""

    path: Path
    network: str
    format: str
    max_difference: float
    """In ab, Lab units, over photos of two sizes."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "path": str(self.path),
            "network": self.network,
            "format": self.format,
            "max_difference": self.max_difference,
        }


def export_model(weights: Path, output: Path, format_name: str) -> Exported:
    """Write a colorizer in another format and run it beside ours.

    Input of the file: L_norm = (L − 50) / 100, float32 (1, 1, H, W); output: ab, float32
    (1, 2, H, W), Lab units. Raises ConfigError for an unknown format, ModelMissingError where the
    packages of ONNX are missing, DamagedError when the answers differ; then nothing is written.
    """
    if format_name not in FORMATS:
        raise ConfigError(f"Expected a format of {', '.join(FORMATS)}; got {format_name!r}.")
    if format_name == "onnx":
        _require_onnx()
    network, metadata = load_colorizer(weights)
    writers = {"onnx": _onnx, "torchscript": _torchscript, "torch-export": _torch_export}
    with atomic_path(output) as temporary, _quiet():
        answer = writers[format_name](network, temporary)
        difference = _largest_difference(network, answer)
        if not difference <= TOLERANCE:  # NaN is a difference too
            raise DamagedError(
                f"Expected answers of {format_name} within {TOLERANCE} of ours in ab, got a "
                f"difference of {difference:.3f}. Export in another format: {', '.join(FORMATS)}."
            )
    return Exported(output, metadata["network"], format_name, difference)


def _require_onnx() -> None:
    missing = [name for name in _ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise ModelMissingError(
            f"Expected the packages {', '.join(missing)} for ONNX, found none; "
            "`pip install 'chromaflow[export]'` gets them."
        )


def _onnx(network: Colorizer, path: Path) -> Answer:
    import onnxruntime

    sides = {2: torch.export.Dim("height", min=32), 3: torch.export.Dim("width", min=32)}
    torch.onnx.export(
        network,
        (_photo(_CHECK_SIZES[0]),),
        str(path),
        dynamo=True,
        input_names=["L_norm"],
        output_names=["ab"],
        dynamic_shapes={"L_norm_N1HW": sides},
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda L_norm: np.asarray(session.run(None, {"L_norm": L_norm.numpy()})[0], np.float32)


def _torchscript(network: Colorizer, path: Path) -> Answer:
    torch.jit.trace(network, (_photo(_CHECK_SIZES[0]),)).save(str(path))
    loaded = torch.jit.load(str(path))
    return lambda L_norm: loaded(L_norm).numpy()


def _torch_export(network: Colorizer, path: Path) -> Answer:
    sides = {2: _EXPORT_STEP * torch.export.Dim("h"), 3: _EXPORT_STEP * torch.export.Dim("w")}
    program = torch.export.export(
        network,
        (_photo(_CHECK_SIZES[0]),),
        dynamic_shapes={"L_norm_N1HW": sides},
    )
    with path.open("wb") as file:
        torch.export.save(program, file)
    with path.open("rb") as file:
        loaded = torch.export.load(file).module()
    return lambda L_norm: loaded(L_norm).numpy()


def _largest_difference(network: Colorizer, answer: Answer) -> float:
    with torch.inference_mode():
        photos = [_photo(size) for size in _CHECK_SIZES]
        gaps = [np.abs(answer(photo) - network(photo).numpy()).max() for photo in photos]
    return float(np.max(gaps))


def _photo(size: tuple[int, int]) -> Tensor:
    """A smooth random L_norm, the same each time."""
    coarse = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    return torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(-0.5, 0.5)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn about their own future; what counts here is the check."""
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
