"""What the trainings of a workspace came to: curves, samples, scores beside baselines, earlier ones."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.records.names import (
    CARD_NAME,
    CURVES_NAME,
    METRICS_NAME,
    SAMPLES_FOLDER,
    SUCCESS_NAME,
)
from storage.records.tables import read_table
from storage.records.workspace import Workspace
from tasks.engine.published import PublishedStep, published_steps
from tasks.jobs.stage_items import EXPERT
from tasks.scores import score_rows

STAGES = ("pretrain", "train")
_CURVES = (
    *("epoch", "loss", "val_loss", "delta_e", "gray_delta_e"),
    *("colourfulness", "truth_colourfulness"),
)
_MOST_EARLIER = 20
_SHOWN = ("epoch", "loss", "delta_e", "gray_delta_e", "ab_rmse", "psnr", "colourfulness")
_LAST_EPOCHS = 50


def trainings(workspace: Workspace) -> list[dict[str, Any]]:
    """Of every network that is current, with those that were trained for its category before."""
    found = []
    for stage in STAGES:
        for folder in sorted((workspace.stages / stage).glob("*")):
            steps = published_steps(workspace, stage, folder.name)
            if steps and workspace.current(stage, folder.name).resolve() == steps[0].folder:
                found.append(_training(workspace, stage, folder.name, steps))
    return found


def newest_samples(folder: Path) -> Path | None:
    """The sample sheet of the last epoch that drew one. folder: of a train step."""
    return max((folder / SAMPLES_FOLDER).glob("*.png"), default=None)


def training_report(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The last epochs of a category as rows, and where its curves, sheets and card are.

    folder: of a train step.
    """
    table = read_table(folder / METRICS_NAME)
    shown = [name for name in _SHOWN if name in table]
    rows = table[shown].tail(_LAST_EPOCHS).round(4).to_dict("records")
    files = (folder / CARD_NAME, folder / CURVES_NAME, newest_samples(folder))
    return [{str(k): v for k, v in row.items()} for row in rows], "\n".join(
        f"- `{path}`" for path in files if path is not None and path.exists()
    )


def _training(
    workspace: Workspace, stage: str, key: str, steps: list[PublishedStep]
) -> dict[str, Any]:
    """steps: the current one first."""
    current, evaluated = steps[0], published_steps(workspace, "evaluate", key)
    earlier = sorted(steps[1:], key=_made, reverse=True)[:_MOST_EARLIER]
    scores = _scores(current, evaluated)
    samples = newest_samples(current.folder)
    return {
        "stage": stage,
        "category": key,
        **_facts(current, scores),
        "curves": _curves(current.folder),
        "scores": scores,
        "samples": str(samples) if samples is not None else None,
        "earlier": [
            _facts(step, _scores(step, evaluated)) | {"differs": _differences(step, current)}
            for step in earlier
        ],
    }


def _facts(step: PublishedStep, scores: list[dict[str, Any]]) -> dict[str, Any]:
    """When it was made, of what, and how far its colours are from the truth.

    delta_e: of the evaluation, else of the last epoch that was validated.
    """
    counts = step.success.counts
    of_expert = [row["delta_e"] for row in scores if row["method"] == EXPERT]
    validated = _curves(step.folder).get("delta_e") or []
    known = [value for value in validated if value is not None]
    return {
        "made": datetime.fromtimestamp(_made(step), UTC).isoformat(timespec="seconds"),
        "fingerprint": str(step.recorded["fingerprint"])[:12],
        "network": step.config.get("network"),
        "init": step.config.get("init"),
        "photos": counts.get("done"),
        "epochs": counts.get("epochs"),
        "seconds": step.success.seconds,
        "delta_e": (of_expert or known[-1:] or [None])[0],
    }


def _scores(step: PublishedStep, evaluated: list[PublishedStep]) -> list[dict[str, Any]]:
    """Of the evaluation of this very network; none where it was not evaluated."""
    label = "/".join(step.name)
    of_step = (one for one in evaluated if one.upstream.get(label) == step.digest)
    found = next(of_step, None)
    return score_rows(found.folder, step.name[1]) if found is not None else []


def _curves(folder: Path) -> dict[str, list[float | None]]:
    """By name a value an epoch; None where it was not validated."""
    if not (folder / METRICS_NAME).exists():
        return {}
    table = read_table(folder / METRICS_NAME)
    return {
        name: [None if value != value else round(float(value), 4) for value in table[name]]
        for name in _CURVES
        if name in table
    }


def _differences(step: PublishedStep, current: PublishedStep) -> dict[str, list[Any]]:
    """Settings that are others now: of then and of now; `data` where it learnt from other photos."""
    then, now = step.config, current.config
    found = {
        name: [then.get(name), now.get(name)]
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    }
    return found | ({"photos": ["others", "these"]} if step.upstream != current.upstream else {})


def _made(step: PublishedStep) -> float:
    return (step.folder / SUCCESS_NAME).stat().st_mtime
