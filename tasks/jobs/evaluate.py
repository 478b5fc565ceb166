"""One category's expert on its validation split, beside the baselines that PSNR is read against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from colorization.colour.lab import AB_OFFSET, decode_lab
from colorization.compute import place, resolve_precision
from colorization.metrics.baselines import BASELINES, baseline_colours
from colorization.metrics.scores import SCORE_NAMES, photo_scores
from colorization.training.prediction import predict_ab
from storage.records.ledger import record_file
from storage.records.names import RESULTS_NAME, WEIGHTS_NAME
from storage.records.tables import REAL, TEXT, WHOLE, write_table
from storage.shards.reader import JoinedReader, ShardReader
from tasks.jobs.items import ItemResult, commit_item
from tasks.jobs.networks import load_colorizer
from tasks.jobs.stage_items import EXPERT, STARTER, EvaluateItem
from tasks.jobs.training.loading import open_split

_BATCH = 16


def evaluate_category(item: EvaluateItem) -> ItemResult:
    """Score every validation photo with every method; one row each in results.parquet."""
    if item.num_threads:
        torch.set_num_threads(item.num_threads)
    folder, shards = Path(item.folder), Path(item.shards)
    weights = {EXPERT: Path(item.trained) / WEIGHTS_NAME}
    weights |= {STARTER: Path(item.starter)} if item.starter else {}
    networks = {method: place(load_colorizer(path)[0]) for method, path in weights.items()}
    precision, methods = resolve_precision("auto"), (*BASELINES, *networks)
    constant = _mean_ab(open_split(shards, "train").reader)
    val = open_split(shards, "val").reader
    rows: list[dict[str, Any]] = []
    for stored in val.batches(_BATCH):
        L, ab_truth = decode_lab(stored)
        predicted = baseline_colours(ab_truth, constant)
        for method, network in networks.items():
            predicted[method] = np.asarray(predict_ab(network, stored, precision))
        for i in range(len(stored)):
            row = int(val.rows[len(rows) // len(methods)])
            for method in methods:
                scores = photo_scores(L[i], predicted[method][i], ab_truth[i])
                rows.append({"row": row, "method": method, **scores})
    columns = {"row": WHOLE, "method": TEXT, **dict.fromkeys(SCORE_NAMES, REAL)}
    write_table(folder / RESULTS_NAME, rows, columns)
    files = [record_file(folder, folder / RESULTS_NAME)]
    return commit_item(item, files=files, num_photos=len(val), quarantined=[])


def _mean_ab(reader: ShardReader | JoinedReader) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Mean a and b over a split. Returns float32 (2,); zeros for an empty split."""
    total, num_pixels = np.zeros(2), 0
    for stored in reader.batches(_BATCH):
        total += stored[:, 1:].sum(axis=(0, 2, 3), dtype=np.float64)
        num_pixels += stored[:, 0].size
    if not num_pixels:
        return np.zeros(2, np.float32)
    return (total / num_pixels - AB_OFFSET).astype(np.float32)
