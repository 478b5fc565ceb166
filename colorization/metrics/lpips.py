"""LPIPS, version 0.1 on AlexNet (Zhang, Isola, Efros, Shechtman, Wang 2018): how alike pictures look.

Features at five depths, each pixel's scaled to length 1, squared differences weighted by a channel's
head, meaned over pixels and summed over depths.

Legend: N photos, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from colorization.errors import WeightsMismatchError

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_TAPS = (1, 4, 7, 9, 11)
"""After the ReLU of each convolution, by torchvision's numbers."""
_WIDTHS = (64, 192, 384, 256, 256)
_TINY = 1e-10


class LPIPS(nn.Module):
    """Distance of pictures, 0 for equal ones.

    features: torchvision's alexnet `features.*`, with or without the prefix. heads: `lin0.model.1.weight`
    to `lin4…` of the package lpips. Raises WeightsMismatchError.
    """

    def __init__(self, features: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        own = self.features.state_dict()
        plain = {key.removeprefix("features."): value for key, value in features.items()}
        try:
            self.features.load_state_dict({key: plain[key].float() for key in own})
            weights = [heads[f"lin{i}.model.1.weight"].float() for i in range(len(_TAPS))]
            self.heads = [w.reshape(width, 1, 1) for w, width in zip(weights, _WIDTHS, strict=True)]
        except (KeyError, RuntimeError) as error:
            raise WeightsMismatchError(
                f"Expected torchvision's alexnet features and the heads of LPIPS 0.1, got others: "
                f"{str(error)[:120]}. Give an alexnet state dict, and heads of the package lpips."
            ) from error
        self.requires_grad_(False).eval()

    @torch.inference_mode()
    def look(self, rgb: NDArray[np.uint8]) -> list[Tensor]:
        """What it sees in a picture, uint8 (H, W, 3) of 32 pixels or more a side."""
        x = torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
        x = (x - x.new_tensor(_SHIFT)[:, None, None]) / x.new_tensor(_SCALE)[:, None, None]
        seen = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _TAPS:
                seen.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + _TINY))
        return seen

    @torch.inference_mode()
    def distance(self, seen: Sequence[Tensor], seen_truth: Sequence[Tensor]) -> float:
        """Of two pictures of one size, as `look` saw them."""
        parts = zip(seen, seen_truth, self.heads, strict=True)
        return float(sum(((a - b).square() * head).sum(1).mean() for a, b, head in parts))
