"""Four categories trained at once against one after the other, on the cores of this machine.

    python benchmarks/parallel.py [FOLDER] [--photos 192] [--rounds 2]
    python benchmarks/parallel.py --photos 8 --rounds 1   # the smallest

FOLDER holds photos (default: those that scikit-image carries are cut into crops). Every category is
trained for one epoch of recipe `default` by the very jobs and Dask workers of the train stage:
side by side by the plan of tasks/compute/slots.py, then one at a time with all cores. Prints the largest
resident memory of a training process, and last the ratio of the wall times.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from shards import write_shards

from colorization.training.recipes import build_recipe
from storage.records.names import STORE_NAME
from storage.records.tables import write_table
from storage.shards.reader import ShardReader
from tasks.compute.cluster import fan_out, run_clusters
from tasks.compute.slots import Slots, plan_training
from tasks.config.model import ComputeConfig
from tasks.jobs.items import ItemResult
from tasks.jobs.machine import available_cores
from tasks.jobs.preprocess import ROW_COLUMNS
from tasks.jobs.stage_items import TrainItem
from tasks.jobs.training.train import train_network

_CATEGORIES = ("people", "birds", "animals", "places")


def main() -> None:
    """Write shards, take turns, print memory and ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="colour photos to store")
    parser.add_argument("--photos", type=int, default=192, help="training photos a category")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="chromaflow-bench-"))
    try:
        reader = write_shards(work / STORE_NAME, arguments.folder, arguments.photos)
        measure(work, reader, arguments.rounds)
    finally:
        shutil.rmtree(work)


def measure(work: Path, reader: ShardReader, rounds: int) -> None:
    """Interleave both ways. Worker processes are started and warm before the clock runs."""
    rows = [{"split": "train", "row": int(row), "label": ""} for row in reader.rows]
    write_table(work / "rows.parquet", rows, ROW_COLUMNS)
    compute = ComputeConfig(device="cpu")
    together = plan_training(len(_CATEGORIES), compute)
    alone = Slots(1, available_cores(), "cpu", rounds=len(_CATEGORIES))
    print(f"together: {together}; alone: {alone}")
    ratios, peaks = [], {"together": 0.0, "alone": 0.0}
    for number in range(rounds):
        seconds = {}
        for name, slots in (("together", together), ("alone", alone)):
            with run_clusters(compute) as clusters:
                cluster = clusters.of(slots)
                fan_out(
                    cluster,
                    train_network,
                    _items(work, slots, f"warm-{number}", warm=True),
                    _ignore,
                )
                items = _items(work, slots, f"{name}-{number}")
                started = time.perf_counter()
                results = fan_out(cluster, train_network, items, _ignore)
                seconds[name] = time.perf_counter() - started
            peaks[name] = max(peaks[name], *(result.peak_mb for result in results))
        ratios.append(seconds["together"] / seconds["alone"])
        print(f"together {seconds['together']:.1f} s, alone {seconds['alone']:.1f} s")
    for name, slots in (("together", together), ("alone", alone)):
        print(f"{name}: {slots.processes} processes of at most {peaks[name]:,.0f} MB")
    print(f"{statistics.median(ratios):.3f} times the wall time of one after the other")


def _items(work: Path, slots: Slots, name: str, *, warm: bool = False) -> list[TrainItem]:
    recipe = build_recipe("default", {"epochs": 1})
    if warm:  # imports, page cache: one small step
        recipe = replace(recipe, batch=10_000, crop=32)
    return [
        TrainItem(
            name="weights",
            folder=str(work / "trained" / f"{category}-{name}-{slots.processes}"),
            category=category,
            shards=(str(work),),
            data_digest="",
            recipe=recipe.to_dict(),
            seed=number,
            init="scratch",
            init_weights=None,
            perceptual_weights=None,
            license="",
            min_photos=1,
            num_threads=slots.threads,
            device="cpu",
            checkpoint_seconds=1e9,
            sheet_every=1000,
        )
        for number, category in enumerate(_CATEGORIES)
    ]


def _ignore(result: ItemResult) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main()
