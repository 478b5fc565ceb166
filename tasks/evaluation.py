"""Evaluate photos: `chromaflow evaluate IN`, several systems on colour photos made gray.

A measurement, not a stage: nothing is made from its output, so it has no fingerprint and is computed
each time. Its files are written when all photos are measured.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from colorization.fid import frechet_distance
from storage.errors import NoInputError, OutputError, UsageError, is_policy
from storage.fingerprint import hash_file, hash_value
from storage.ledger import read_json, record_path, write_bytes, write_json
from storage.manifest import read_table, write_table
from storage.sources import refuse_nesting
from tasks.cluster import Cluster, fan_out, run_clusters
from tasks.config import ComputeConfig
from tasks.evaluation_figures import FIGURE_NAMES, choose_figures
from tasks.evaluation_input import PhotoSet, find_photos
from tasks.evaluation_scores import (
    ROW_COLUMNS,
    Score,
    compare,
    groups,
    require_same_photos,
    score,
    scores_as_json,
)
from tasks.evaluation_tables import Comparison, how_to_read, latex, markdown
from tasks.jobs.evaluation_items import (
    BASELINES,
    TRUTH,
    DrawItem,
    LookItem,
    MeasureItem,
    SystemSpec,
)
from tasks.jobs.items import ItemResult, PhotoItem, do_item
from tasks.metric_weights import describe_inception, inception_file, lpips_files
from tasks.progress import Terminal, open_terminal
from tasks.slots import plan_photos
from tasks.systems import read_systems

CROPS = ("centre", "whole")
RESULTS_NAME, FACTS_NAME = "results.parquet", "evaluation.json"
TABLE_NAMES = ("table.md", "table.tex")
_VERSION = 1
_SIZES = (32, 1024)
_PHOTOS_PER_CHUNK = 8
_VERSIONS = ("chromaflow", "numpy", "opencv-python-headless", "pillow", "torch")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What is evaluated, and how. Raises UsageError for a wrong value."""

    location: str
    """Folder, archive or URL of colour photos, or CATEGORY:SPLIT."""
    output: Path
    config: Path = Path("chromaflow.toml")
    """Of the workspace that CATEGORY:SPLIT is taken from."""
    systems: tuple[str, ...] = ()
    """NAME=WHAT[,MERGE], see `tasks.systems`."""
    compare: tuple[str, str] | None = None
    """Two names of systems, or FOLDER:NAME of an earlier evaluation."""
    crop: str = "centre"
    """centre: a square from the middle; whole: the photo with its aspect."""
    size: int = 256
    """Short side, pixels, a multiple of 32."""
    photos: int = 0
    """Most of a category, evenly spaced; 0 for all."""
    lpips: Path | None = None
    """torchvision's alexnet, or its features; adds LPIPS."""
    fid: bool = False
    """Add FID."""
    workers: int = 0
    """Processes; 0: one a core."""

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise UsageError(f"Expected --crop of {', '.join(CROPS)}; got {self.crop!r}.")
        if not _SIZES[0] <= self.size <= _SIZES[1] or self.size % 32:
            raise UsageError(
                f"Expected --size of {_SIZES[0]}..{_SIZES[1]} pixels, a multiple of 32; got {self.size}."
            )

    @property
    def geometry(self) -> dict[str, Any]:
        """What the photos look like to a system: numbers of another geometry are not comparable."""
        return {"crop": self.crop, "size": self.size}


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What an evaluation found."""

    output: Path
    num_photos: int
    scores: list[Score]
    comparison: Comparison | None
    table: str
    """As Markdown."""
    quarantined: list[dict[str, Any]]
    """Photos that could not be used, those left out on purpose among them."""
    figures: list[Path] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """6 where photos failed; 0 also where some were left out on purpose."""
        return 6 if any(not is_policy(row["code"]) for row in self.quarantined) else 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        compared = self.comparison
        return {
            "output": str(self.output),
            "photos": self.num_photos,
            "scores": scores_as_json(self.scores),
            "comparison": compared
            and {
                "first": compared.first,
                "second": compared.second,
                "differences": [
                    {
                        "category": d.category or "all",
                        "measure": d.measure,
                        "photos": d.num_photos,
                        "difference": list(d.interval),
                        "better": d.num_better,
                    }
                    for d in compared.differences
                ],
            },
            "quarantined": self.quarantined,
            "figures": [str(path) for path in self.figures],
        }


def evaluate_photos(config: EvaluationConfig) -> Evaluation:
    """Measure, compare, draw, write.

    Raises UsageError for what cannot be compared, ModelMissingError for weights that are not there,
    NoInputError where no photo is usable.
    """
    systems = read_systems(config.systems, config.size)
    lpips = lpips_files(config.lpips) if config.lpips else None
    inception = inception_file() if config.fid else None
    earlier = [_earlier(name, config, systems) for name in config.compare or ()]
    sets = find_photos(config.location, config.config, config.photos)
    for photos in sets:
        refuse_nesting(photos.source, config.output)
    compute = ComputeConfig(workers=config.workers)
    with _work_folder(config.output) as work, open_terminal() as terminal:
        with run_clusters(compute) as clusters:
            run = _Evaluating(config, Path(work), clusters.of(plan_photos(compute)), terminal)
            sets, quarantined = run.look(sets)
            _require_categories(sets, systems)
            seen = [photo for photos in sets for photo in photos.photos]
            for other in earlier:
                if other is not None:
                    require_same_photos(other["sha256"], (photo["sha256"] for photo in seen))
            items = run.items(sets, systems, lpips, inception)
            results, failed, facts = run.measure(items)
            quarantined += failed
            figures = run.draw(results, items, systems, _leader(config, systems))
        fid = _fid(Path(work), items, results) if inception else {}
    scores = [replace(s, fid=fid.get((s.category, s.system))) for s in score(results)]
    comparison = _compare(config, earlier, results)
    facts |= _facts(config, systems, results, items, quarantined)
    heading = _heading(facts, describe_inception(inception) if inception else "")
    write_table(config.output / RESULTS_NAME, results.to_dict("records"), ROW_COLUMNS)
    texts = [render(heading, scores, comparison) for render in (markdown, latex)]
    for name, text in zip(TABLE_NAMES, texts, strict=True):
        write_bytes(config.output / name, text.encode())
    write_json(config.output / FACTS_NAME, facts | {"scores": scores_as_json(scores)})
    return Evaluation(
        output=config.output,
        num_photos=len(seen) - len(failed),
        scores=scores,
        comparison=comparison,
        table=texts[0],
        quarantined=quarantined,
        figures=figures,
    )


class _Evaluating:
    """One evaluation under way: its folder of records and its Dask workers."""

    def __init__(
        self, config: EvaluationConfig, work: Path, cluster: Cluster, terminal: Terminal
    ) -> None:
        self.config, self.work = config, work
        self._cluster, self._terminal = cluster, terminal

    def look(self, sets: Sequence[PhotoSet]) -> tuple[list[PhotoSet], list[dict[str, Any]]]:
        """The usable photos, with sha256 and mean_ab, and what is wrong with the others.

        Raises NoInputError where none is left.
        """
        quarantined = [problem.to_dict() for photos in sets for problem in photos.problems]
        usable = []
        for number, photos in enumerate(sets):
            items = [
                LookItem(name=f"look-{number}-{k}", photos=part, **self._common(photos))
                for k, part in enumerate(_chunks(photos.photos))
            ]
            records = self._run("look", items)
            found = {row["name"]: row for record in records for row in record["rows"]}
            quarantined += [row for record in records for row in record["quarantined"]]
            kept = [
                photo | found[photo["name"]] for photo in photos.photos if photo["name"] in found
            ]
            usable.append(replace(photos, photos=tuple(kept)))
        if not any(photos.photos for photos in usable):
            raise NoInputError(_nothing(self.config.location, quarantined))
        return usable, quarantined

    def items(
        self,
        sets: Sequence[PhotoSet],
        systems: tuple[SystemSpec, ...],
        lpips: tuple[str, str] | None,
        inception: Path | None,
    ) -> list[MeasureItem]:
        """One a chunk of photos."""
        return [
            MeasureItem(
                name=f"measure-{number}-{k:05d}",
                photos=part,
                systems=systems,
                constants=_constants(sets),
                num_threads=self._cluster.slots.threads,
                lpips=lpips,
                inception=str(inception) if inception else None,
                **self._common(photos),
            )
            for number, photos in enumerate(sets)
            for k, part in enumerate(_chunks(photos.photos))
        ]

    def measure(
        self, items: Sequence[MeasureItem]
    ) -> tuple[pd.DataFrame, list[dict[str, Any]], dict[str, Any]]:
        """results.parquet, photos that failed after all, and how the networks ran."""
        records = self._run("evaluate", items)
        rows = [row for record in records for row in record["rows"]]
        quarantined = [row for record in records for row in record["quarantined"]]
        if not rows:
            raise NoInputError(_nothing(self.config.location, quarantined))
        results = pd.DataFrame(rows, columns=list(ROW_COLUMNS))
        return results, quarantined, {"precision": records[0]["precision"]}

    def draw(
        self,
        results: pd.DataFrame,
        items: Sequence[MeasureItem],
        systems: Sequence[SystemSpec],
        leader: str,
    ) -> list[Path]:
        """The figures, chosen by rule; those of an earlier evaluation that are not drawn now go."""
        folder = self.config.output / "figures"
        figures = choose_figures(results, systems, leader)
        chosen = {name for figure in figures for name in figure.captions}
        draw = DrawItem(
            name="draw",
            folder=str(self.work),
            source=items[0].source,
            photos=tuple(p for item in items for p in item.photos if p["name"] in chosen),
            config=self.config.geometry,
            systems=items[0].systems,
            constants=items[0].constants,
            num_threads=items[0].num_threads,
            lpips=None,
            inception=None,
            figures=tuple(figures),
            output=str(folder),
        )
        self._run("figures", [draw])
        drawn = [folder / figure.name for figure in figures]
        for name in FIGURE_NAMES:
            if folder / name not in drawn:
                (folder / name).unlink(missing_ok=True)
        return drawn

    def _common(self, photos: PhotoSet) -> dict[str, Any]:
        return {
            "folder": str(self.work),
            "source": photos.source,
            "config": self.config.geometry,
        }

    def _run(self, label: str, items: Sequence[PhotoItem]) -> list[dict[str, Any]]:
        """Do items on the workers. Returns their records."""
        total, done = sum(len(item.photos) for item in items), 0

        def on_result(result: ItemResult) -> None:
            nonlocal done
            done += result.num_photos
            self._terminal.update(label, done, total, "")

        fan_out(self._cluster, do_item, items, on_result)
        return [read_json(record_path(self.work, item.name)) or {} for item in items]


def _chunks(photos: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], ...]]:
    for start in range(0, len(photos), _PHOTOS_PER_CHUNK):
        yield tuple(photos[start : start + _PHOTOS_PER_CHUNK])


def _constants(sets: Sequence[PhotoSet]) -> tuple[tuple[str, tuple[float, float]], ...]:
    """Mean a and b over the photos of each category, every photo counting alike."""
    means: dict[str, list[Any]] = {}
    for photos in sets:
        for photo in photos.photos:
            means.setdefault(photo["category"], []).append(photo["mean_ab"])
    averages = {category: np.mean(values, axis=0) for category, values in means.items()}
    return tuple((name, (float(a), float(b))) for name, (a, b) in averages.items())


@contextmanager
def _work_folder(output: Path) -> Iterator[str]:
    """A folder for records, in the output, where every worker sees it; it does not outlive the work.

    Raises OutputError where the output cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".evaluating-", dir=output)
    except OSError as error:
        raise OutputError(
            f"Expected a writable output {output}, got: {error.strerror}. Choose another folder."
        ) from error
    with folder as name:
        yield str(Path(name).resolve())


def _require_categories(sets: Sequence[PhotoSet], systems: Sequence[SystemSpec]) -> None:
    """Raise UsageError where a system uses each category's own expert, but a photo has none."""
    alone = [system.name for system in systems if system.merge == "own"]
    without = [photo["name"] for photos in sets for photo in photos.photos if not photo["category"]]
    if alone and without:
        raise UsageError(
            f"Expected photos in folders named as categories for {alone[0]}, which uses `,own`; got "
            f"{without[0]}. Use `,soft` or `,hard`, or move the photos."
        )


def _earlier(
    name: str, config: EvaluationConfig, systems: Sequence[SystemSpec]
) -> pd.DataFrame | None:
    """Rows of FOLDER:NAME of an earlier evaluation; None for a system of this one.

    Raises UsageError for a name that is neither, and for other crops or sizes.
    """
    known = [*BASELINES, *(system.name for system in systems)]
    if name in known:
        return None
    folder, _, system = name.rpartition(":")
    facts = read_json(Path(folder) / FACTS_NAME) if folder else None
    if facts is None:
        raise UsageError(
            f"Expected --compare of {', '.join(known)}, or FOLDER:NAME of an earlier evaluation; got "
            f"{name!r}."
        )
    if facts["geometry"] != config.geometry:
        theirs, ours = (f"{g['crop']} {g['size']}" for g in (facts["geometry"], config.geometry))
        raise UsageError(
            f"Expected an evaluation at the same crop and size to compare with, got {theirs} in "
            f"{folder} against {ours} here. Use --crop and --size as there."
        )
    results = read_table(Path(folder) / RESULTS_NAME)
    rows = results[results["system"] == system]
    if rows.empty:
        names = ", ".join(dict.fromkeys(results["system"]))
        raise UsageError(f"Expected a system of {names} in {folder}; got {system!r}.")
    return rows


def _leader(config: EvaluationConfig, systems: Sequence[SystemSpec]) -> str:
    """The system that figures are about: the first that is compared, else the first merged one."""
    names = [system.name for system in systems]
    asked = [name for name in config.compare or () if name in names]
    merged = [system.name for system in systems if system.is_merged]
    return (asked or merged or names)[0]


def _compare(
    config: EvaluationConfig, earlier: Sequence[pd.DataFrame | None], results: pd.DataFrame
) -> Comparison | None:
    if config.compare is None:
        return None
    first, second = (
        results[results["system"] == name] if other is None else other
        for name, other in zip(config.compare, earlier, strict=True)
    )
    names = config.compare
    return Comparison(first=names[0], second=names[1], differences=compare(first, second))


def _fid(
    work: Path, items: Sequence[MeasureItem], results: pd.DataFrame
) -> dict[tuple[str, str], float]:
    """Distance to the true colours by category ("" for all) and system, where there are two photos."""
    paths = [work / "features" / f"{item.name}.npz" for item in items]
    parts = []
    for path in paths:
        if path.exists():  # else none of its photos could be read again
            with np.load(path) as saved:
                parts.append((saved["features"], saved["categories"]))
    features = np.concatenate([part for part, _ in parts], axis=1)
    labels = np.concatenate([part for _, part in parts])
    names = items[0].colourings
    truth = features[names.index(TRUTH)]
    found = {}
    for category, _ in groups(results):
        kept = (labels == category) if category else np.ones(len(labels), bool)
        if kept.sum() < 2:
            continue
        for name, own in zip(names, features, strict=True):
            if name != TRUTH:
                found[category, name] = frechet_distance(own[kept], truth[kept])
    return found


def _facts(
    config: EvaluationConfig,
    systems: Sequence[SystemSpec],
    results: pd.DataFrame,
    items: Sequence[MeasureItem],
    quarantined: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    photos = results.drop_duplicates("photo")
    return {
        "version": _VERSION,
        "location": config.location,
        "geometry": config.geometry,
        "photos": len(photos),
        "photos_digest": hash_value(sorted(photos["sha256"])),
        "constants": dict(items[0].constants),
        "systems": [
            {
                "name": system.name,
                "what": system.what,
                "merge": system.merge,
                "files": {
                    name: {"path": path, "sha256": hash_file(Path(path))}
                    for name, path in system.files
                },
            }
            for system in systems
        ],
        "quarantined": list(quarantined),
        "versions": {name: version(name) for name in _VERSIONS},
        "host": platform.node(),
    }


def _heading(facts: dict[str, Any], inception: str) -> list[str]:
    """Paragraphs on what was measured and how."""
    crop, size = facts["geometry"]["crop"], facts["geometry"]["size"]
    shape = f"centre crop {size} × {size}" if crop == "centre" else f"whole, short side {size}"
    lines = [
        f"{facts['photos']} photos of {facts['location']}, {shape} pixels, made gray by their true L; "
        f"networks in {facts['precision']}. Photos: SHA-256 {facts['photos_digest'][:12]} of theirs.",
        how_to_read(),
    ]
    for system in facts["systems"]:
        files = ", ".join(f"{n} {f['sha256'][:12]}" for n, f in system["files"].items())
        merge = f", {system['merge']}" if system["merge"] else ""
        lines.append(f"{system['name']}: {system['what']}{merge} ({files})")
    if inception:
        lines.append(
            f"FID: {inception}; too high with fewer photos than features: compare within a table only."
        )
    return lines


def _nothing(location: str, quarantined: Sequence[dict[str, Any]]) -> str:
    """That no photo is left, and why the first is not."""
    why = f"; e.g. {quarantined[0]['path']}: {quarantined[0]['code']}" if quarantined else ""
    return (
        f"Expected colour photos in {location}, got none{why}. Name a folder, an archive or a split "
        "that holds photos in colour."
    )
