"""ONNX Runtime beside torch: the same colours, the same bits in any company, said where it was."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from starter import starter_models

from chromaflow.library.networks import load_colorizer
from colorization.compute import has_native_bf16
from colorization.errors import ConfigError
from colorization.merging.inference import MergedColorizer
from colorization.merging.prediction import Asked
from colorization.merging.runtimes import choose_runtime
from tasks.jobs.models import load_segmenter

_MEAN, _P99 = 0.3, 2.0
"""Issue 23, line 2: of |Δab| against fp32, Lab units."""


@cache
def starter(runtime: str, precision: str = "fp32") -> MergedColorizer:
    spec = starter_models(short_side=256)
    experts = {name: load_colorizer(Path(path))[0] for name, path in spec.experts}
    return MergedColorizer(experts, load_segmenter(spec), runtime=runtime, precision=precision)


def lightness(height: int, width: int, photos: int) -> list[torch.Tensor]:
    torch.manual_seed(3)
    coarse = 100 * torch.rand(photos, 1, height // 8, width // 8)
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 100)
    return list(fine[:, 0])


@pytest.mark.parametrize("size", [(96, 128), (160, 224)])
def test_every_runtime_and_precision_gives_the_colours_of_torch_in_fp32(size):
    photos = [L.numpy() for L in lightness(*size, photos=3)]
    expected = [starter("torch").predict(L).ab for L in photos]
    for other in (starter("onnxruntime"), starter("onnxruntime", "auto"), starter("torch", "bf16")):
        gaps = torch.cat(
            [
                (other.predict(L).ab - ab).abs().flatten()
                for L, ab in zip(photos, expected, strict=True)
            ]
        )
        mean, p99 = float(gaps.mean()), float(gaps.quantile(0.99))
        print(f"{other.runtime}: mean |Δab| {mean:.4f}, 99% {p99:.4f}")
        assert mean <= _MEAN and p99 <= _P99


def test_onnx_runtime_gives_a_photo_the_same_bits_in_any_company_and_time_after_time():
    photos = [Asked(L.numpy()) for L in lightness(96, 128, photos=5)]
    first, second = starter("onnxruntime"), starter.__wrapped__("onnxruntime")
    alone = [first.predict_many([photo])[0].ab for photo in photos]
    for expected, found in zip(alone, second.predict_many(photos), strict=True):
        assert torch.equal(found.ab, expected)


def test_the_choice_hangs_on_device_and_precision_and_is_said():
    found = choose_runtime("auto", "auto", "cpu")
    assert found.name == "onnxruntime"
    assert found.precision == ("fp32, heads bf16" if has_native_bf16() else "fp32")
    assert choose_runtime("auto", "bf16", "cpu").name == "torch"
    assert str(choose_runtime("torch", "fp32", "cpu")).startswith("torch ")
    assert choose_runtime("auto", "fp32", "cuda").name == "torch"
    assert starter("onnxruntime").predict(lightness(96, 96, 1)[0].numpy()).runtime.endswith("fp32")
    for asked, precision, device in (("fast", "auto", "cpu"), ("onnxruntime", "bf16", "cpu")):
        with pytest.raises(ConfigError, match="Expected"):
            choose_runtime(asked, precision, device)
