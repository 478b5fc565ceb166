"""What runs the convolutions of segmenter and encoders: torch, or ONNX Runtime where that is faster.

Chosen by device and precision, never by timing while photos wait: the same machine always gives the same
bytes (docs/decisions/043 has the measurements).
"""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from colorization.compute import resolve_precision
from colorization.errors import ConfigError
from colorization.merging.deeplab import GrayDeepLab
from colorization.merging.options import ONNX_RUNTIME, RUNTIMES, TORCH
from colorization.networks.encoder import ResNet18Encoder

_RUN_BY_ONNX = (GrayDeepLab, ResNet18Encoder)
"""Networks that were compared (tests/colorization/test_runtimes.py); the others stay with torch."""
_TRACED = (2, 1, 64, 96)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A choice, as it is recorded."""

    name: str
    version: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}, {self.precision}"


def choose_runtime(asked: str, precision: str, device: str) -> Runtime:
    """The runtime that a word of RUNTIMES means for a device.

    auto: ONNX Runtime on CPUs, but where another precision than fp32 is asked for; torch on GPUs. precision:
    as `resolve_precision` takes it; what torch runs beside ONNX Runtime has it too. Raises ConfigError for another word, and for ONNX Runtime on a GPU or in
    another precision than fp32.
    """
    if asked not in RUNTIMES:
        raise ConfigError(f"Expected a runtime of {', '.join(RUNTIMES)}; got {asked!r}.")
    resolved = resolve_precision(precision, device)
    is_plain = device == "cpu" and precision in ("auto", "fp32")
    if asked == ONNX_RUNTIME and not is_plain:
        raise ConfigError(
            f"Expected runtime {ONNX_RUNTIME} on a CPU in fp32, got {device} and {precision}. Take auto."
        )
    if is_plain and asked != TORCH:
        import onnxruntime

        heads = "" if resolved == "fp32" else f", heads {resolved}"
        return Runtime(ONNX_RUNTIME, onnxruntime.__version__, f"fp32{heads}")
    return Runtime(TORCH, torch.__version__.partition("+")[0], resolved)


def run_by(runtime: Runtime, network: nn.Module) -> nn.Module:
    """The network, run by the runtime; as it is where that is torch, or one that was not compared."""
    if runtime.name == TORCH or not isinstance(network, _RUN_BY_ONNX):
        return network
    return _OnnxNetwork(network)


class _OnnxNetwork(nn.Module):
    """A network as a graph of ONNX, on the threads that torch has. Answers are the network's but for
    rounding, and each photo's the same in any company."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        import onnxruntime

        example = torch.zeros(_TRACED)
        with torch.no_grad():
            answer = network(example)
        self._is_list = isinstance(answer, list)
        names = [f"y{number}" for number in range(len(answer) if self._is_list else 1)]
        sides = {0: "photos", 2: "height", 3: "width"}
        buffer = io.BytesIO()
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter(
                "ignore"
            )  # of the tracer's own future, and of shapes as constants
            torch.onnx.export(
                _Flat(network).eval(),
                (example,),
                buffer,  # type: ignore[arg-type]  # the tracer's exporter takes it
                dynamo=False,  # a second instead of ten
                input_names=["x"],
                output_names=names,
                dynamic_axes={"x": sides}
                | {name: {0: "photos", 2: f"height{name}", 3: f"width{name}"} for name in names},
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            buffer.getvalue(), options, providers=["CPUExecutionProvider"]
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """As the network: float32 in and out."""
        given = {"x": np.ascontiguousarray(x.float().numpy())}
        found = [torch.from_numpy(y) for y in self._session.run(None, given)]
        return found if self._is_list else found[0]


class _Flat(nn.Module):
    """What the tracer takes: a tuple for a list."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer = self.network(x)
        return tuple(answer) if isinstance(answer, list) else answer
