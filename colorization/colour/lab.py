"""sRGB ↔ CIE 1976 L*a*b* (D65, 2°), the stored form of Lab, and a chroma fit that keeps L.

The only home of the constants of L and ab. sRGB is IEC 61966-2-1; Lab is CIE 15:2004 with the
white point that scikit-image uses, so that scikit-image can serve as the reference in tests.

Legend: H, W pixels. Lab is planar, L (H, W) and ab (2, H, W), as networks and shards hold it; RGB is
channels-last, as decoders give it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

L_MAX = 100.0
"""L runs 0..100."""
L_CENTRE, L_SPREAD = 50.0, 100.0
"""L_norm = (L − 50) / 100, the input of every colorizer (the form of the eccv16 release)."""
AB_OFFSET = 128.0
"""Stored a and b are a + 128 and b + 128."""

_STORED_SCALE = np.array([255 / L_MAX, 1, 1], np.float32)[:, None, None]
_STORED_OFFSET = np.array([0, AB_OFFSET, AB_OFFSET], np.float32)[:, None, None]
_WHITE = np.array([0.95047, 1.0, 1.08883])
_RGB_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_RGB_TO_RELATIVE = (_RGB_TO_XYZ / _WHITE[:, None]).astype(np.float32)
RELATIVE_TO_RGB = np.linalg.inv(_RGB_TO_XYZ / _WHITE[:, None]).astype(np.float32)
_EPSILON, KAPPA = 0.008856, 7.787
_BISECTIONS = 12
"""Of the factor on chroma, so that it is found to 1 in 4,096."""
_LIGHTS, _HUES, _BEYOND = 200, 512, 200.0
"""Steps of the table of the gamut's edge, and a chroma that no colour of it has."""
_TABLE_SIZE = 1 << 16
_RGB_TO_F_INDEX = _RGB_TO_RELATIVE * np.float32(_TABLE_SIZE - 1)
"""Linear RGB to places in `_f_table`."""


def srgb_to_linear(encoded: NDArray[Any]) -> NDArray[np.float64]:
    """Undo the sRGB transfer curve. `encoded`: any float, 0..1; returns float64, 0..1."""
    encoded = np.asarray(encoded, np.float64)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: NDArray[Any]) -> NDArray[np.float64]:
    """Apply the sRGB transfer curve. `linear`: any float, 0..1; returns float64, 0..1."""
    linear = np.asarray(linear, np.float64)
    positive = np.maximum(linear, 0.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * positive ** (1 / 2.4) - 0.055)


def _cube_root(t: NDArray[Any]) -> NDArray[np.float64]:
    """CIE's f(t): the cube root with a straight piece near black."""
    t = np.asarray(t, np.float64)
    return np.where(t > _EPSILON, np.cbrt(t), KAPPA * t + 16 / 116)


@cache
def _decode_table(dtype: str) -> Float:
    levels = 256 if dtype == "uint8" else _TABLE_SIZE
    return srgb_to_linear(np.arange(levels) / (levels - 1)).astype(np.float32)


@cache
def _f_table() -> Float:
    return _cube_root(np.arange(_TABLE_SIZE) / (_TABLE_SIZE - 1)).astype(np.float32)


@cache
def _L_table(dtype: str) -> Float:
    return (116 * _cube_root(_decode_table(dtype)) - 16).astype(np.float32)


@cache
def _encode_table() -> NDArray[np.uint8]:
    encoded = linear_to_srgb(np.arange(_TABLE_SIZE * 4) / (_TABLE_SIZE * 4 - 1)) * 255
    return np.rint(encoded).astype(np.uint8)


@cache
def _decode_pairs() -> NDArray[np.complex64]:
    """Linear values of two neighbouring 8-bit samples, side by side, by both as one number."""
    table = _decode_table("uint8")
    samples = np.arange(_TABLE_SIZE, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    return table[samples].view(np.complex64).reshape(-1)


def _linear(pixels: Pixels) -> Float:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"Expected pixels of uint8 or uint16, got {pixels.dtype}. Convert them first."
        )
    # mode="clip" skips take's check of each index; no sample lies outside its table
    if pixels.dtype == np.uint8 and pixels.size % 2 == 0 and pixels.flags.c_contiguous:
        pairs = _decode_pairs().take(pixels.reshape(-1).view(np.uint16), mode="clip")
        linear: Float = pairs.view(np.float32).reshape(pixels.shape)  # half the look-ups
        return linear
    return _decode_table(pixels.dtype.name).take(pixels, mode="clip")


def rgb_to_lab(rgb: Pixels) -> Float:
    """sRGB to Lab.

    rgb: uint8 or uint16, (H, W, 3). Returns float32 (3, H, W): L 0..100, a and b about −110..110.
    Within 0.06 of scikit-image. Raises ValueError for another dtype.
    """
    height, width = rgb.shape[:2]
    planes: Any = np.ascontiguousarray(rgb.transpose(2, 0, 1)).reshape(3, -1)
    relative = _RGB_TO_F_INDEX @ _linear(planes)
    relative += np.float32(0.5)
    f = _f_table().take(relative.astype(np.int32), mode="clip")
    lab = np.empty_like(f)
    np.multiply(f[1], np.float32(116), out=lab[0])
    lab[0] -= np.float32(16)
    np.subtract(f[0], f[1], out=lab[1])
    np.subtract(f[1], f[2], out=lab[2])
    lab[1] *= np.float32(500)
    lab[2] *= np.float32(200)
    shaped: Float = lab.reshape(3, height, width)
    return shaped


def gray_to_L(gray: Pixels) -> Float:
    """Lightness of an sRGB-encoded gray photo.

    gray: uint8 or uint16, (H, W). Returns float32 (H, W), 0..100, exact for each code value.
    """
    return _L_table(gray.dtype.name).take(gray, mode="clip")


def rgb_to_luminance(rgb: Pixels) -> NDArray[np.float64]:
    """Y of an sRGB photo, white 1. rgb: uint8 or uint16, (H, W, 3). Returns float64 (H, W)."""
    weights = _RGB_TO_XYZ[1] / _RGB_TO_XYZ[1].sum()
    return np.asarray(_linear(rgb) @ weights, np.float64)


def rgb_to_L(rgb: Pixels) -> Float:
    """Lightness of an sRGB photo. rgb: uint8 or uint16, (H, W, 3). Returns float32 (H, W)."""
    return (116 * _cube_root(rgb_to_luminance(rgb)) - 16).astype(np.float32)


def _lab_to_linear(L: Float, ab: Float) -> Float:
    """Lab to linear RGB, not clipped. L: (...,), ab: (2, ...). Returns float32 (3, ...)."""
    f = np.empty((3, *L.shape), np.float32)
    np.multiply(L + np.float32(16), np.float32(1 / 116), out=f[1])
    np.add(f[1], ab[0] * np.float32(1 / 500), out=f[0])
    np.subtract(f[1], ab[1] * np.float32(1 / 200), out=f[2])
    linear: Float = RELATIVE_TO_RGB @ _relative(f).reshape(3, -1)
    return linear.reshape(f.shape)


def fit_chroma(L: Float, ab: Float) -> Float:
    """Reduce chroma, and only chroma, until each pixel lies in the sRGB gamut.

    L: float32 (H, W), 0..100. ab: float32 (2, H, W). Returns ab of the same shape with the hue
    kept: each pixel is scaled by the largest factor in 0..1 that lies inside the gamut.
    Clipping RGB instead keeps lightness for two pixels in three only (facts/formats.md).
    """
    outside = _outside(_lab_to_linear(L, ab))
    if not outside.any():
        return ab
    fitted = ab.copy()
    fitted[:, outside] = _fit(L[outside], ab[:, outside])
    return fitted


def _outside(linear: Float) -> NDArray[np.bool_]:
    """Which pixels lie outside the gamut. linear: (3, H, W). Returns (H, W)."""
    outside: NDArray[np.bool_] = (linear.min(axis=0) < 0) | (linear.max(axis=0) > 1)
    return outside


def _fit(L_N: Float, ab_2N: Float) -> Float:
    """ab times the largest factor, 0..1, that lies inside the gamut. Returns (2, N).

    By a table over lightness and hue, read bilinearly: 0.02 Lab units from bisection on average, in a
    fifth of its time. Near enough for 8 bits.
    """
    chroma = np.hypot(ab_2N[0], ab_2N[1])
    turn = np.arctan2(ab_2N[1], ab_2N[0]) * np.float32(_HUES / (2 * np.pi))
    across = np.where(turn < 0, turn + np.float32(_HUES), turn)
    down = L_N * np.float32(_LIGHTS / L_MAX)
    row = np.minimum(down.astype(np.int32), _LIGHTS - 1)
    column = np.minimum(across.astype(np.int32), _HUES - 1)
    down -= row
    across -= column
    edge, first = _edge_table(), row * np.int32(_HUES + 1) + column
    above = edge.take(first) * (1 - across) + edge.take(first + 1) * across
    first += _HUES + 1
    below = edge.take(first) * (1 - across) + edge.take(first + 1) * across
    most = above * (1 - down) + below * down
    fitted: Float = ab_2N * np.minimum(1, most / np.maximum(chroma, np.float32(1e-6)))
    return fitted


@cache
def _edge_table() -> Float:
    """The largest chroma inside the gamut of each lightness and hue, (_LIGHTS + 1, _HUES + 1) in one row."""
    hues = np.linspace(0, 2 * np.pi, _HUES + 1, dtype=np.float32)
    lights = np.linspace(0, L_MAX, _LIGHTS + 1, dtype=np.float32)
    far = _BEYOND * np.stack([np.cos(hues), np.sin(hues)])
    ab = np.tile(far.astype(np.float32), _LIGHTS + 1)
    fitted = _bisected(np.repeat(lights, _HUES + 1), ab)
    return np.asarray(np.hypot(fitted[0], fitted[1]), np.float32)


def _bisected(L_N: Float, ab_2N: Float) -> Float:
    """ab times the largest factor, 0..1, that bisection finds inside the gamut. Returns (2, N)."""
    fy = (L_N + 16) / 116
    to_fx, to_fz = ab_2N[0] / 500, ab_2N[1] / -200
    y = _relative(fy)
    low: Any = np.zeros_like(fy)
    high: Any = np.ones_like(fy)
    for _ in range(_BISECTIONS):
        middle = (low + high) * np.float32(0.5)
        x, z = _relative(fy + middle * to_fx), _relative(fy + middle * to_fz)
        inside = np.ones(len(fy), bool)
        for weights in RELATIVE_TO_RGB:
            channel = weights[0] * x + weights[1] * y + weights[2] * z
            inside &= (channel >= 0) & (channel <= 1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    fitted: Float = ab_2N * low
    return fitted


def _relative(f: NDArray[Any]) -> Float:
    """Undo CIE's f(t)."""
    relative: NDArray[Any] = f * f
    relative *= f
    low = f <= 6 / 29
    if low.any():
        relative[low] = (f[low] - np.float32(16 / 116)) / np.float32(KAPPA)
    return relative.astype(np.float32, copy=False)


def lab_to_rgb(
    L: Float,
    ab: Float,
    dtype: type[np.uint8] | type[np.uint16] = np.uint8,
    *,
    fit: bool = False,
) -> Pixels:
    """Lab to sRGB.

    L: float32 (H, W), 0..100. ab: float32 (2, H, W). fit: colours outside the gamut lose chroma, as
    `fit_chroma` does it, instead of being clipped. Returns (H, W, 3) of `dtype`.
    """
    linear = _lab_to_linear(L, ab)
    if fit:
        outside = _outside(linear)
        if outside.any():
            L_out = L[outside]
            fitted = (_fit if dtype is np.uint8 else _bisected)(L_out, ab[:, outside])
            linear[:, outside] = _lab_to_linear(L_out, fitted)
    if dtype is np.uint16:  # 16 bits near black need more steps than a table has
        codes = np.rint(linear_to_srgb(np.clip(linear, 0, 1)) * 65535).astype(np.uint16)
        return np.ascontiguousarray(codes.transpose(1, 2, 0))
    table = _encode_table()
    linear *= np.float32(len(table) - 1)
    linear += np.float32(0.5)
    rgb = np.empty((*L.shape, 3), np.uint8)
    for channel, plane in enumerate(linear):
        rgb[..., channel] = table.take(plane.astype(np.int32), mode="clip")
    return rgb


def encode_lab(lab: Float, saturation: float = 1.0) -> NDArray[np.uint8]:
    """Lab to its stored form, a and b multiplied by `saturation` on the way.

    lab: float32 (3, H, W). Returns uint8 (3, H, W): L·255/100, a+128, b+128.
    """
    scale = _STORED_SCALE * np.array([1, saturation, saturation], np.float32)[:, None, None]
    stored: Float = lab * scale
    stored += _STORED_OFFSET + np.float32(0.5)  # truncated below: rounding at half rint's cost
    return np.clip(stored, 0, 255, out=stored).astype(np.uint8)


def decode_lab(stored: NDArray[np.uint8]) -> tuple[Float, Float]:
    """Stored Lab to L and ab.

    stored: uint8 (..., 3, H, W). Returns L float32 (..., 1, H, W), 0..100, and ab float32
    (..., 2, H, W), −128..127.
    """
    L = stored[..., :1, :, :].astype(np.float32) * np.float32(L_MAX / 255)
    return L, stored[..., 1:, :, :].astype(np.float32) - np.float32(AB_OFFSET)


def normalize_L(L: Any) -> Any:
    """L (0..100, array or tensor) to L_norm (−0.5..0.5)."""
    return (L - L_CENTRE) / L_SPREAD
