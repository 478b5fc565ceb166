"""What code values mean: ICC profiles and PNG gamma to sRGB, before anything else sees pixels.

LittleCMS does it in floating point: its 16-bit path is a coarse table near black, up to 350 code
values off for a gamma of 1.8. A profile that cannot be read, or that is for other channels, is
ignored, as viewers do.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.containers.parsing import is_damage

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_SPACES = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
_D50 = (0.3457, 0.3585, 1.0)
_SRGB_GAMMA = 0.45455
_STRIP_PIXELS = 1 << 20
_SAME = 0.5 / 255
"""A profile that moves no colour by more than half an 8-bit code value is sRGB for our purposes."""


def to_srgb(pixels: Pixels, profile: bytes, gamma: float | None) -> Pixels:
    """Code values as sRGB's.

    pixels: uint8 or uint16, (H, W) gray, (H, W, 3) RGB or (H, W, 4) CMYK with 0 for no ink.
    profile: ICC.1 of the same number of channels, or empty. gamma: PNG's gAMA, used without one.
    Returns the same array where it is sRGB already; else uint16, so that nothing is rounded twice.
    CMYK without a profile becomes RGB by the inks' complements.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if not _fits(profile, channels):
        curve = _gamma_profile(gamma) if gamma and channels != 4 else b""
        return _through_curve(pixels, curve) if channels != 4 else _complement(pixels)
    if channels == 1:
        return _through_curve(pixels, profile)
    if channels == 3 and _is_srgb(profile):
        return pixels
    return _by_strips(pixels, profile)


def _fits(profile: bytes, channels: int) -> bool:
    """Whether it is an ICC profile (ICC.1:2022, 7.2) of so many channels that LittleCMS reads."""
    if len(profile) < 132 or _SPACES.get(profile[16:20]) != channels:
        return False
    try:
        _transform(np.zeros((1, 1, channels), np.float32), profile)
    except Exception as error:
        if not is_damage(error):
            raise
        return False
    return True


def why_ignored(profile: bytes, channels: int) -> str:
    """Why a profile is not used, for people; empty where it is, or where there is none."""
    if not profile or _fits(profile, channels):
        return ""
    own = _SPACES.get(profile[16:20])
    if own in (None, channels) or not _fits(profile, own or 0):
        return "it cannot be read; the samples are taken as sRGB"
    if own == 3 and _is_srgb(profile):
        return ""
    return f"it is for {own} channels, the photo has {channels}; the samples are taken as sRGB"


def _gamma_profile(gamma: float) -> bytes:
    nearly_srgb = abs(gamma - _SRGB_GAMMA) < 0.005  # what most programs write for sRGB
    if nearly_srgb or not 0.1 <= gamma <= 2:
        return b""
    return bytes(imagecodecs.cms_profile("gray", gamma=1 / gamma, whitepoint=_D50))


def _through_curve(pixels: Pixels, profile: bytes) -> Pixels:
    """Each sample by the curve of a gray profile; empty leaves it."""
    if not profile:
        return pixels
    table = _gray_table(profile, pixels.dtype.name)
    return pixels if table is None else table[pixels]


@lru_cache(maxsize=8)
def _gray_table(profile: bytes, dtype: str) -> NDArray[np.uint16] | None:
    """16-bit sRGB code value of each gray code value; None where the profile changes none."""
    top = np.iinfo(dtype).max
    ramp = np.arange(top + 1, dtype=np.float32) / np.float32(top)
    srgb = _transform(ramp[None, :, None], profile)[0, :, 1]
    if np.abs(srgb - ramp).max() * top <= 0.5:
        return None
    return np.rint(np.clip(srgb, 0, 1) * 65535).astype(np.uint16)


@lru_cache(maxsize=8)
def _is_srgb(profile: bytes) -> bool:
    levels = np.linspace(0, 1, 9, dtype=np.float32)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    return bool(np.abs(_transform(grid, profile) - grid).max() <= _SAME)


def _by_strips(pixels: Pixels, profile: bytes) -> NDArray[np.uint16]:
    height, width = pixels.shape[:2]
    top = np.iinfo(pixels.dtype).max
    out = np.empty((height, width, 3), np.uint16)
    rows = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, rows):
        strip = pixels[start : start + rows].astype(np.float32) / np.float32(top)
        srgb = np.clip(_transform(strip, profile), 0, 1)
        out[start : start + rows] = np.rint(srgb * 65535)
    return out


def _transform(values: NDArray[np.float32], profile: bytes) -> NDArray[np.float32]:
    """Relative colorimetric, white to white. values: (H, W, C), 0..1. Returns (H, W, 3) sRGB."""
    channels = values.shape[2]
    colorspace = {1: "gray", 3: "rgb", 4: "cmyk"}[channels]
    if channels == 4:
        values = values * np.float32(100)  # LittleCMS counts ink in percent
    out = imagecodecs.cms_transform(
        values[..., 0] if channels == 1 else values,
        profile,
        _srgb(),
        colorspace=colorspace,
        outcolorspace="rgb",
        outdtype="float32",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
    )
    return np.asarray(out, np.float32).reshape(*values.shape[:2], 3)


@lru_cache(maxsize=1)
def _srgb() -> bytes:
    return bytes(imagecodecs.cms_profile("srgb"))


def _complement(cmyk: Pixels) -> Pixels:
    """RGB of CMYK without a profile: the complement of each ink, darkened by black."""
    top = np.iinfo(cmyk.dtype).max
    inks = (top - cmyk).astype(np.float32)
    rgb: Any = np.rint(inks[..., :3] * (inks[..., 3:] / top)).astype(cmyk.dtype)
    plain: Pixels = rgb
    return plain
