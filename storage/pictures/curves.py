"""Curves of a training as a PNG: loss and validation scores by epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any


def training_curves(title: str, history: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw loss, ΔE00 and colourfulness over the epochs.

    history: rows with epoch, loss and, where there is a validation split, delta_e, gray_delta_e,
    colourfulness and truth_colourfulness. Returns a PNG's bytes.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    epochs = [row["epoch"] for row in history]
    loss, delta_e, colour = figure.subplots(1, 3)
    figure.suptitle(title)
    loss.plot(epochs, [row["loss"] for row in history], color="#1f6f8b", marker=".")
    loss.set(title="training loss", xlabel="epoch")
    if min(row["loss"] for row in history) > 0:
        loss.set_yscale("log")
    validated = [row for row in history if "delta_e" in row]
    if validated:
        at = [row["epoch"] for row in validated]
        delta_e.plot(at, [row["delta_e"] for row in validated], color="#b23a48", marker=".")
        colour.plot(at, [row["colourfulness"] for row in validated], color="#2d6a4f", marker=".")
        for axes, key, name in (
            (delta_e, "gray_delta_e", "gray"),
            (colour, "truth_colourfulness", "truth"),
        ):
            value = validated[-1][key]
            axes.axhline(value, color="gray", linestyle="--", label=f"{name} {value:.1f}")
            axes.legend()
    delta_e.set(title="validation ΔE00", xlabel="epoch")
    colour.set(title="colourfulness (Hasler–Süsstrunk)", xlabel="epoch")
    for axes in (loss, delta_e, colour):
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
