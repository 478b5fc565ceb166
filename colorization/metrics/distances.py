"""How far colours are from the truth. NumPy only; images channels-last.

Always print the baselines beside them: PSNR rewards gray (facts/colorization.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def delta_e_2000(lab: Array, lab_truth: Array) -> NDArray[np.float32]:
    """CIEDE2000 colour difference of each pixel (CIE 142-2001; Sharma, Wu, Dalal 2005).

    lab, lab_truth: float, (..., 3), L 0..100. Returns float32 (...).
    """
    L1, a1, b1 = np.moveaxis(np.asarray(lab, np.float32), -1, 0)
    L2, a2, b2 = np.moveaxis(np.asarray(lab_truth, np.float32), -1, 0)
    chroma7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma7 / (chroma7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    C1, C2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1) % (2 * np.pi), np.arctan2(b2, a2) % (2 * np.pi)
    gray = C1 * C2 == 0
    turn = (h2 - h1 + np.pi) % (2 * np.pi) - np.pi
    dh = np.where(gray, 0, turn)
    dL, dC, dH = L2 - L1, C2 - C1, 2 * np.sqrt(C1 * C2) * np.sin(dh / 2)
    L_mean, C_mean = (L1 + L2) / 2, (C1 + C2) / 2
    h_mean = np.where(gray, h1 + h2, h1 + turn / 2)
    T = (
        1
        - 0.17 * np.cos(h_mean - np.radians(30))
        + 0.24 * np.cos(2 * h_mean)
        + 0.32 * np.cos(3 * h_mean + np.radians(6))
        - 0.20 * np.cos(4 * h_mean - np.radians(63))
    )
    S_L = 1 + 0.015 * (L_mean - 50) ** 2 / np.sqrt(20 + (L_mean - 50) ** 2)
    S_C, S_H = 1 + 0.045 * C_mean, 1 + 0.015 * C_mean * T
    h_degrees = np.degrees(h_mean) % 360
    rotation = np.radians(60) * np.exp(-(((h_degrees - 275) / 25) ** 2))
    R_T = -2 * np.sqrt(C_mean**7 / (C_mean**7 + 25.0**7)) * np.sin(rotation)
    terms = (dL / S_L) ** 2 + (dC / S_C) ** 2 + (dH / S_H) ** 2
    terms = terms + R_T * (dC / S_C) * (dH / S_H)
    return np.asarray(np.sqrt(np.maximum(terms, 0)), np.float32)


def ab_rmse(ab: Array, ab_truth: Array) -> float:
    """Root mean square of the a and b differences, in Lab units. Any equal shapes."""
    difference = np.asarray(ab, np.float64) - np.asarray(ab_truth, np.float64)
    return float(np.sqrt(np.mean(difference**2)))


def psnr(rgb: NDArray[np.uint8], rgb_truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit sRGB in dB; infinite for equal images."""
    difference = rgb.astype(np.float64) - rgb_truth.astype(np.float64)
    mean_square = float(np.mean(difference**2))
    return float("inf") if mean_square == 0 else float(10 * np.log10(255.0**2 / mean_square))


def colourfulness(rgb: NDArray[np.uint8]) -> float:
    """Hasler and Süsstrunk 2003, with signed opponent differences. rgb: uint8 (H, W, 3)."""
    R, G, B = np.moveaxis(rgb.astype(np.float64), -1, 0)
    red_green, yellow_blue = R - G, (R + G) / 2 - B
    spread = float(np.hypot(red_green.std(), yellow_blue.std()))
    mean = float(np.hypot(red_green.mean(), yellow_blue.mean()))
    return spread + 0.3 * mean


def colourfulness_absolute(rgb: NDArray[np.uint8]) -> float:
    """The same with |R − G| and |(R + G) / 2 − B|, as CT2, ColorFormer and DDColor print it.

    It is lower, 37.1 against 40.3 on the same photos (facts/colorization.md): say which one a
    number is. rgb: uint8 (H, W, 3).
    """
    R, G, B = np.moveaxis(rgb.astype(np.float64), -1, 0)
    red_green, yellow_blue = np.abs(R - G), np.abs((R + G) / 2 - B)
    spread = float(np.hypot(red_green.std(), yellow_blue.std()))
    mean = float(np.hypot(red_green.mean(), yellow_blue.mean()))
    return spread + 0.3 * mean
