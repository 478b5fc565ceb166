"""Trainings and evaluations as a workspace keeps them, without training any, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorization.metrics.scores import SCORE_NAMES
from storage.records.ledger import write_json
from storage.records.names import METRICS_NAME, RESULTS_NAME, SAMPLES_FOLDER
from storage.records.success_record import SuccessRecord
from storage.records.tables import REAL, TEXT, WHOLE, write_table
from storage.records.workspace import Workspace
from tasks.engine.verification import write_success

FACTS = {"versions": {}, "host": "here", "platform": ""}


def publish_training(
    workspace: Workspace,
    category: str,
    digest: str,
    *,
    epochs: int = 5,
    expert: float = 8.0,
    **config: Any,
) -> Path:
    """A train step and its evaluation, current from now on. digest: 12 hexadecimal digits."""
    folder = workspace.stage_dir("train", category, digest)
    (folder / SAMPLES_FOLDER).mkdir(parents=True)
    rows = [
        {
            "epoch": epoch,
            "loss": 90.0 / epoch,
            "delta_e": expert + 1 / epoch if epoch % 2 else None,
            "gray_delta_e": 12.0,
            "colourfulness": 20.0 + epoch,
            "truth_colourfulness": 31.0,
        }
        for epoch in range(1, epochs + 1)
    ]
    write_table(folder / METRICS_NAME, rows, {n: WHOLE if n == "epoch" else REAL for n in rows[0]})
    sheet = Image.fromarray(np.full((60, 90, 3), 120, np.uint8))
    sheet.save(folder / SAMPLES_FOLDER / f"epoch-{epochs:04d}.png")
    counts = {"done": 17, "epochs": epochs}
    _publish(workspace, folder, {"network": "unet-scene", "init": "starter", **config}, {}, counts)
    scored = workspace.stage_dir("evaluate", category, digest)
    scored.mkdir(parents=True)
    errors = {"gray": 12.0, "constant": 13.0, "photo mean": 10.0, "starter": 9.0, "expert": expert}
    scores = [
        {"row": row, "method": method, **dict.fromkeys(SCORE_NAMES, 1.0), "delta_e": error}
        for row in range(3)
        for method, error in errors.items()
    ]
    columns = {"row": WHOLE, "method": TEXT, **dict.fromkeys(SCORE_NAMES, REAL)}
    write_table(scored / RESULTS_NAME, scores, columns)
    _publish(workspace, scored, {}, {f"train/{category}": digest}, {"done": 3})
    return folder


def _publish(
    workspace: Workspace,
    folder: Path,
    config: dict[str, Any],
    upstream: dict[str, str],
    counts: dict[str, int],
) -> None:
    stage, key = folder.parents[1].name, folder.parent.name
    parts = {"config": config, "inputs": {}, "upstream": upstream}
    step = {"stage": stage, "key": key, "fingerprint": folder.name, "parts": parts}
    write_json(folder / "stage.json", step | FACTS)
    success = SuccessRecord(
        root="",
        fingerprint=folder.name,
        digest=folder.name,
        items={},
        outputs=(),
        counts=counts,
        computed_photos=0,
        seconds=61.0,
        peak_mb=1.0,
    )
    write_success(folder, success)
    workspace.set_current(stage, key, folder)
