"""What `chromaflow evaluate IN` reads: colour photos of a folder or archive, or a held-out split."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from colorization.categories import PAPER
from storage.errors import UsageError
from storage.records.manifest import SPLITS, Quarantined
from storage.records.names import MANIFEST_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from storage.sources.archives import is_archive_name
from storage.sources.locations import is_url, resolve_location
from storage.sources.source import open_source
from storage.sources.walk import without_twins
from storage.visible import escaped
from tasks.archive.mirrors import load_fetched
from tasks.config.model import Workflow
from tasks.engine.stages import source_of
from tasks.jobs.items import spread_evenly

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """Photos of one source, with their category."""

    source: str
    photos: tuple[dict[str, Any], ...]
    """source, path, offset, bytes, category (empty where nothing says it), and name: the path, behind
    its category where several sources are evaluated."""
    problems: tuple[Quarantined, ...] = ()
    chosen: bool = False
    """Whether ingest chose them, gray and toned ones left out."""


def split_workflow(location: str, config: Path) -> Workflow | None:
    """The workflow whose split a location names; None where it names a source, or there is no config."""
    return load_fetched(config) if _names_split(location) and config.is_file() else None


def _names_split(location: str) -> bool:
    category, sign, _ = location.partition(":")
    named = bool(sign) and not is_url(location) and category != "list"
    return named and not Path(location).exists()


def find_photos(
    location: str, config: Path, most: int, workflow: Workflow | None, names: Collection[str]
) -> list[PhotoSet]:
    """The photos to evaluate.

    location: `CATEGORY:SPLIT` or `all:SPLIT` of the workspace of a chromaflow.toml, where no file or
    folder is called so; else what `storage.sources.source.open_source` takes. most: of a category, evenly
    spaced; 0 for all. workflow: of `split_workflow`. names: of categories that folders may be called as.
    Raises UsageError where there is nothing of the kind.
    """
    if _names_split(location):
        sets = _split_photos(location, config, workflow)
    else:
        sets = [_source_photos(resolve_location(location), names)]
    return [_sample(photos, most) for photos in sets] if most else sets


def _split_photos(location: str, config: Path, workflow: Workflow | None) -> list[PhotoSet]:
    category, _, split = location.partition(":")
    names = (workflow.categories if workflow else PAPER).names
    if category not in (ALL, *names) or split not in SPLITS:
        raise UsageError(
            f"Expected a folder or archive of colour photos, or CATEGORY:SPLIT with a category of "
            f"{ALL}, {', '.join(names)} and a split of {', '.join(SPLITS)}; got "
            f"{category}:{split}. Check the path."
        )
    workflow = workflow or load_fetched(config)  # which says what is missing
    workspace = Workspace(workflow.workspace)
    wanted = tuple(workflow.datasets) if category == ALL else (category,)
    missing = [
        name for name in wanted if not (workspace.current("ingest", name) / MANIFEST_NAME).exists()
    ]
    if missing or not wanted:
        raise UsageError(
            f"Expected ingested photos of {', '.join(missing) or 'a dataset'} in {workspace.root}, "
            f"found none. `chromaflow ingest --config {config}` reads them."
        )
    return [_manifest_photos(workspace, name, split) for name in wanted]


def _manifest_photos(workspace: Workspace, category: str, split: str) -> PhotoSet:
    source = source_of(workspace, category)
    rows = read_rows(workspace.current("ingest", category) / MANIFEST_NAME)
    photos = [
        _photo(source, row, category) | {"name": f"{category}/{escaped(row['path'])}"}
        for row in rows
        if row["split"] == split
    ]
    return PhotoSet(source=source, photos=tuple(photos), chosen=True)


def _source_photos(location: str, names: Collection[str]) -> PhotoSet:
    """All files of a folder or archive; archives inside it are not opened."""
    listing = without_twins(open_source(location).listing())
    around = Path(location).name.partition(".")[0]
    problems = [(p.path, p.code, p.detail) for p in listing.problems]
    photos = []
    for file in listing.files:
        if is_archive_name(file.path):
            problems.append((file.path, "NESTED_ARCHIVE", "name it as IN of its own"))
            continue
        photos.append(_photo(location, asdict(file), _category_of(file.path, around, names)))
    return PhotoSet(
        source=location,
        photos=tuple(photos),
        problems=tuple(
            Quarantined(path=path, code=code, detail=detail, stage="evaluate")
            for path, code, detail in problems
        ),
    )


def _photo(source: str, row: dict[str, Any], category: str) -> dict[str, Any]:
    place = {key: row[key] for key in ("path", "offset", "bytes")}
    return {"source": source, "category": category, "name": escaped(row["path"]), **place}


def _category_of(path: str, around: str, known: Collection[str]) -> str:
    """The first folder that is called as a category, or the source itself; else empty."""
    names = [*PurePosixPath(path).parts[:-1], around]
    return next((name for name in names if name in known), "")


def _sample(photos: PhotoSet, most: int) -> PhotoSet:
    """Evenly spaced photos, by path, at most so many of a category."""
    kept = []
    for category in sorted({photo["category"] for photo in photos.photos}):
        rows = sorted(
            (photo for photo in photos.photos if photo["category"] == category),
            key=lambda photo: str(photo["path"]),
        )
        kept += [rows[i] for i in spread_evenly(len(rows), most)]
    return replace(photos, photos=tuple(kept))
