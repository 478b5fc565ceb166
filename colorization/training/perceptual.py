"""VGG-16 features as a measure of how alike two pictures look (Johnson, Alahi, Fei-Fei 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.colour.lab import KAPPA, L_CENTRE, L_SPREAD, RELATIVE_TO_RGB
from colorization.errors import WeightsMismatchError

_WIDTHS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512)
_TAPS = (3, 8, 15, 22)
"""After relu1_2, relu2_2, relu3_3 and relu4_3, by torchvision's numbers."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PerceptualDistance(nn.Module):
    """Mean absolute difference of VGG-16 features at four depths, between two colourings of one L.

    state: torchvision's vgg16 `features.*` up to relu4_3, with or without the prefix. Raises
    WeightsMismatchError.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in _WIDTHS:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers)
        own = self.features.state_dict()
        plain = {key.removeprefix("features."): value for key, value in state.items()}
        try:
            self.features.load_state_dict({k: plain[k].float() for k in own})
        except (KeyError, RuntimeError) as error:
            raise WeightsMismatchError(
                f"Expected weights of torchvision's vgg16 up to relu4_3, got others: "
                f"{str(error)[:120]}. Give a vgg16 state dict as train.perceptual_weights."
            ) from error
        self.requires_grad_(False).eval()

    def forward(self, L_norm: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W). predicted, truth: ab, float32 (N, 2, H, W). A scalar."""
        both = torch.cat([lab_to_rgb(L_norm, predicted), lab_to_rgb(L_norm, truth)])
        mean = both.new_tensor(_MEAN)[:, None, None]
        std = both.new_tensor(_STD)[:, None, None]
        x, total = (both - mean) / std, both.new_zeros(())
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _TAPS:
                ours, real = x.chunk(2)
                total = total + F.l1_loss(ours, real.detach())
        return total


def lab_to_rgb(L_norm: Tensor, ab: Tensor) -> Tensor:
    """Lab to sRGB, with a gradient (CIE 15:2004, IEC 61966-2-1).

    L_norm: float32 (N, 1, H, W). ab: float32 (N, 2, H, W). Returns float32 (N, 3, H, W), 0..1.
    """
    fy = (L_norm * L_SPREAD + L_CENTRE + 16) / 116
    f = torch.cat([fy + ab[:, :1] / 500, fy, fy - ab[:, 1:] / 200], dim=1)
    relative = torch.where(f > 6 / 29, f**3, (f - 16 / 116) / KAPPA)
    matrix = torch.from_numpy(RELATIVE_TO_RGB).to(relative)
    linear = torch.einsum("ij,njhw->nihw", matrix, relative).clamp(0, 1)
    curved = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curved)
