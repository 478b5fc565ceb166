"""Finished colour photos are never deleted but by `--delete`: six ways on one OUT of 20 photos.

`pytest tests/flows/test_outputs_are_kept.py -s` prints the table: files before and after, what `plan`
and what the run say. Steps are done in this process (tests/engine.py), with a small network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bagit
import pytest
import torch
from command import chromaflow
from conftest import draw_photo
from engine import FrozenDisk, Killed, done_here, run_workflow
from PIL import Image

import tasks.engine.execute
from colorization.networks import build_network
from storage.errors import NoInputError, UsageError
from storage.records.checkpoints import save_checkpoint
from storage.records.ledger import read_json
from storage.records.workspace import Workspace
from tasks.archive.ownership import claim, known_outputs
from tasks.archive.workflow import archive_workflow
from tasks.config.model import Workflow
from tasks.config.request import ColorizeRequest
from tasks.engine.kept import read_kept
from tasks.engine.verification import verify_workspace
from tasks.graph import build_steps, plan
from tasks.queries.lineage import trace
from tasks.queries.orphans import kept_now, planned_orphans
from tasks.queries.outputs_check import verify_outputs
from tasks.report.rows import read_archive
from tasks.report.writer import write_report

NUM_PHOTOS = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chromaflow.toml whose experts are one untrained network."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    network = build_network("resnet18-trunk", num_classes=0)
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    config = {"network": "resnet18-trunk", "num_classes": 0}
    save_checkpoint(folder / "expert.safetensors", weights, config, half=False)
    names = ("people", "birds", "animals", "places")
    experts = "\n".join(f'{name} = "expert.safetensors"' for name in names)
    (folder / "chromaflow.toml").write_text(
        f"""
[experts]
{experts}
[ingest]
min_side = 32
[colorize]
segmenter = "quarter_segmenter:Quarters"
short_side = 32
chunk = 8
sheet = 0
"""
    )
    return folder / "chromaflow.toml"


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.engine.execute, "fan_out", done_here)


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_photo(seed, 40, 36)).convert("L").save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten photos of 1931 and ten of 1932."""
    for k in range(NUM_PHOTOS):
        draw(tmp_path / "in" / str(1931 + k // 10) / f"{k:02d}.png", k)
    return tmp_path / "in"


@dataclass
class Ran:
    """What a run did."""

    num_coloured: int
    """Photos that networks saw."""
    words: list[str]
    deleted: int
    planned: list[str]
    """What `plan` says of outputs ahead of it."""


class Out:
    """An output folder, and runs on it."""

    def __init__(self, path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self._models = path, models
        self.workspace = Workspace(path / ".chromaflow")
        self.num_coloured = 0
        import tasks.jobs.colorize as job

        write = job.write_photo

        def counted(*words: Any) -> Any:
            self.num_coloured += 1
            return write(*words)

        monkeypatch.setattr(job, "write_photo", counted)

    def workflow(self, archive: object, **options: Any) -> Workflow:
        workflow = archive_workflow(
            ColorizeRequest.of({"archive": str(archive), "models": self._models, **options}),
            self.path,
        )
        assert workflow.archive is not None
        return workflow

    def run(
        self, archive: object, *, delete: bool = False, add: bool = False, **options: Any
    ) -> Ran:
        """What `chromaflow colorize ARCHIVE OUT` does."""
        claimed = claim(self.workflow(archive, **options), add=add)
        steps = build_steps(claimed.workflow)
        planned = planned_orphans(claimed, plan(steps)).lines(delete=delete)
        claimed.write()
        self.num_coloured = 0
        outcome = run_workflow(claimed.workflow, delete=delete)
        for error in outcome.failures.values():
            raise error
        deleted = outcome.refs["colorize", "archive"].counts.get("deleted", 0)
        words = kept_now(self.workspace).lines()
        return Ran(self.num_coloured, [*claimed.notices, *words], deleted, planned)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of all files but the state, by path."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        shown = (path for path in files if ".chromaflow" not in path.parts)
        return {
            path.relative_to(self.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in shown
        }

    def agrees(self) -> None:
        """Records name what lies there, and nothing else does; verify passes."""
        named = {o.name: o.content for o in known_outputs(self.workspace)}
        assert named == self.hashes()
        assert verify_workspace(self.workspace)[1] == []
        report = verify_outputs(self.path)
        assert report.damaged == [] and report.num_outputs == len(named)


@pytest.fixture
def out(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Out:
    return Out(tmp_path / "out", models, monkeypatch)


def newest_events(workspace: Workspace) -> dict[str, list[list[str]]]:
    """The outputs that events of the newest run name, by event."""
    newest = max(workspace.runs.glob("*"))
    found: dict[str, list[list[str]]] = defaultdict(list)
    for line in (newest / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        found[event["event"]].append(event.get("outputs", []))
    return found


def next_batch(photos: Path) -> None:
    shutil.rmtree(photos)
    for k in range(5):
        draw(photos / "1933" / f"{k:02d}.png", 100 + k)


WAYS: dict[str, tuple[Callable[[Path], object], dict[str, Any], int, int]] = {
    "another IN, --add": (lambda photos: photos.parent / "album2", {"add": True}, 25, 25),
    "a pattern": (lambda photos: photos / "1931" / "*.png", {}, 20, 10),
    "--include": (lambda photos: photos, {"include": ["1931/**"]}, 20, 10),
    "the next batch": (lambda photos: (next_batch(photos), photos)[1], {}, 25, 5),
    "half not mounted": (lambda photos: (shutil.rmtree(photos / "1932"), photos)[1], {}, 20, 10),
    "one removed": (lambda photos: ((photos / "1931/00.png").unlink(), photos)[1], {}, 20, 19),
}
"""Way → the IN it leads to, options, files after it, files after `--delete`."""


@pytest.mark.parametrize("way", WAYS)
def test_six_ways_keep_all_and_delete_says_how_many(way: str, photos: Path, out: Out) -> None:
    for k in range(5):
        draw(photos.parent / "album2/1933" / f"{k:02d}.png", 200 + k)
    prepare, options, num_after, num_deleted_after = WAYS[way]
    out.run(photos)
    before = out.hashes()
    assert len(before) == NUM_PHOTOS
    ran = out.run(prepare(photos), **options)
    after = out.hashes()
    assert before.items() <= after.items() and len(after) == num_after
    num_gone = num_after - num_deleted_after
    said = f"{num_gone} output{'s' * (num_gone != 1)} without an original now, kept; --delete"
    wanted = [said] if num_gone else []
    assert [line[: len(said)] for line in ran.words] == wanted
    assert [line[: len(said)] for line in ran.planned] == wanted
    assert ran.num_coloured == num_after - NUM_PHOTOS, "what was coloured is not coloured again"
    out.agrees()
    statuses = write_report(out.workspace).counts
    assert statuses.get("kept", 0) == num_after - statuses["coloured"]
    again = out.run(prepare_again(way, photos), **{**options, "add": False})
    assert again.num_coloured == 0 and out.hashes() == after
    cleaned = out.run(prepare_again(way, photos), delete=True, **{**options, "add": False})
    assert cleaned.deleted == num_gone and len(out.hashes()) == num_deleted_after
    assert cleaned.words == [] and cleaned.num_coloured == 0
    out.agrees()
    print(
        f"\n{way}: {len(before)} files before, {len(after)} after, {num_deleted_after} after --delete"
        f"\n  plan: {'; '.join(ran.planned) or '-'}\n  run:  {'; '.join(ran.words) or '-'}"
        f"\n  --delete: {cleaned.deleted} outputs without an original deleted"
    )


def prepare_again(way: str, photos: Path) -> object:
    """The same IN, without doing it to the folder once more."""
    if way == "another IN, --add":
        return photos.parent / "album2"
    return photos / "1931" / "*.png" if way == "a pattern" else photos


def test_originals_that_come_back_are_not_coloured_anew(photos: Path, out: Out) -> None:
    out.run(photos)
    before = out.hashes()
    away = photos.parent / "away"
    (photos / "1932").rename(away)
    draw(photos / "1931" / "new.png", 77)
    assert out.run(photos).num_coloured == 1
    away.rename(photos / "1932")
    back = out.run(photos)
    assert back.num_coloured == 0 and back.words == []
    assert before.items() <= out.hashes().items()
    assert read_kept(out.workspace) == []
    out.agrees()


def test_plan_says_of_links_not_followed_what_the_run_says(photos: Path, out: Out) -> None:
    """It listed the archive with its links, whatever --no-follow said."""
    draw(photos.parent / "elsewhere.png", 77)
    (photos / "link.png").symlink_to(photos.parent / "elsewhere.png")
    out.run(photos)
    ran = out.run(photos, follow=False)
    assert (
        ran.planned
        == ran.words
        == ["1 output without an original now, kept; --delete removes them: link.png.color.png"]
    )
    out.agrees()


def test_an_archive_that_lists_nothing_deletes_nothing(photos: Path, out: Out) -> None:
    out.run(photos)
    before = out.hashes()
    shutil.rmtree(photos)
    photos.mkdir()
    with pytest.raises(NoInputError):
        out.run(photos, delete=True)
    assert out.hashes() == before


def test_a_photo_of_no_use_now_keeps_its_output_even_with_delete(photos: Path, out: Out) -> None:
    out.run(photos)
    before = out.hashes()
    photo = photos / "1931/03.png"
    photo.write_bytes(photo.read_bytes()[:60])
    ran = out.run(photos)
    assert out.hashes() == before and "cannot be used now, kept" in ran.words[0]
    assert out.run(photos, delete=True).deleted == 0
    assert out.hashes() == before
    out.agrees()


def test_an_edited_original_leaves_its_earlier_output_aside(photos: Path, out: Out) -> None:
    out.run(photos)
    before = out.hashes()
    draw(photos / "1931/03.png", 500)
    assert out.run(photos).num_coloured == 1
    after = out.hashes()
    name = "1931/03.png.color.png"
    aside = f"1931/03.png~{before[name][:8]}.color.png"
    assert after[aside] == before[name] and after[name] != before[name]
    assert after.keys() - before.keys() == {aside}
    out.agrees()
    draw(photos / "1931/03.png", 3)  # as it was
    assert out.run(photos).num_coloured == 0
    assert out.hashes()[name] == before[name]
    out.agrees()
    assert out.run(photos, delete=True).deleted == 1
    assert out.hashes() == before


def test_other_settings_replace_an_output_and_keep_those_of_others(photos: Path, out: Out) -> None:
    out.run(photos)
    (photos / "1931/00.png").unlink()
    ran = out.run(photos, settings={"format": "webp"})
    names = out.hashes()
    assert ran.num_coloured == 19 and len(names) == 20
    assert [name for name in names if name.endswith(".png")] == ["1931/00.png.color.png"]
    out.agrees()


def test_what_somebody_wrote_to_is_kept_and_named(photos: Path, out: Out) -> None:
    out.run(photos)
    shutil.rmtree(photos / "1932")
    out.run(photos)
    theirs = out.path / "1932/12.png.color.png"
    theirs.write_bytes(theirs.read_bytes() + b"retouched")
    assert out.run(photos, delete=True).deleted == 9
    assert theirs.exists() and len(out.hashes()) == 11
    assert newest_events(out.workspace)["outputs_theirs"] == [["1932/12.png.color.png"]]


@pytest.mark.parametrize("bag", [False, True])
def test_a_retouched_output_is_never_written_over(bag: bool, photos: Path, out: Out) -> None:
    """It was made anew, and the retouching lost, by the next run of the same or of other settings."""
    out.run(photos, bag=bag)
    root = out.path / "data" if bag else out.path
    retouched = root / "1931" / "03.png.color.png"
    untouched = retouched.read_bytes()
    for settings in ({}, {"label": "corner"}):
        Image.fromarray(draw_photo(77 + len(settings), 40, 36)).save(retouched)
        content = retouched.read_bytes()
        mark = hashlib.sha256(content).hexdigest()[:8]
        out.run(photos, bag=bag, settings=settings)
        aside = (out.path / "set-aside" if bag else root) / f"1931/03.png~{mark}.color.png"
        assert aside.read_bytes() == content
        assert retouched.read_bytes() != content
        named = newest_events(out.workspace)["outputs_changed"]
        assert named == [[aside.relative_to(out.path).as_posix()]]
        assert not settings or retouched.read_bytes() != untouched
    files = sorted(out.hashes())
    assert out.run(photos, bag=bag, settings=settings).num_coloured == 0
    assert sorted(out.hashes()) == files
    if bag:
        assert bagit.Bag(str(out.path)).validate()


def test_a_bag_holds_what_is_kept_and_is_valid(photos: Path, out: Out) -> None:
    out.run(photos, bag=True)
    (photos / "1932").rename(photos.parent / "away")
    out.run(photos, bag=True)
    assert bagit.Bag(str(out.path)).validate() and len(list(out.path.glob("data/1932/*"))) == 10
    out.run(photos, bag=True, delete=True)
    assert bagit.Bag(str(out.path)).validate() and not list(out.path.glob("data/1932/*"))
    (photos.parent / "away").rename(photos / "1932")
    assert out.run(photos, bag=True).num_coloured == 10
    assert bagit.Bag(str(out.path)).validate()


def test_another_archive_is_refused_and_add_keeps_both(photos: Path, out: Out) -> None:
    out.run(photos)
    other = photos.parent / "album2"
    for k in range(3):
        draw(other / "1931" / f"{k:02d}.png", 300 + k)
    before = out.hashes()
    with pytest.raises(UsageError, match=f"{photos}.*another output.*--add") as refused:
        out.run(other)
    assert refused.value.exit_code == 2 and "\n" not in str(refused.value)
    assert out.run(other, add=True).num_coloured == 3
    after = out.hashes()
    assert before.items() <= after.items()
    added = {f"album2/1931/{k:02d}.png.color.png" for k in range(3)}
    assert after.keys() - before.keys() == added, "names collide: a folder of its own"
    out.agrees()
    for archive in (photos, other):  # each deletes its own only
        assert out.run(archive, delete=True).num_coloured == 0
        assert out.hashes() == after
    (photos / "1931/05.png").unlink()
    assert out.run(other, delete=True).deleted == 0
    assert out.run(photos, delete=True).deleted == 1
    out.agrees()


def test_the_same_archive_elsewhere_is_known_again(photos: Path, out: Out) -> None:
    out.run(photos)
    before = out.hashes()
    elsewhere = photos.parent / "mounted" / "here"
    shutil.copytree(photos, elsewhere)
    shutil.rmtree(photos)
    ran = out.run(elsewhere)
    assert ran.num_coloured == 0 and "the same archive" in ran.words[0]
    assert out.hashes() == before
    owner = read_json(out.workspace.root / "owner.json")
    assert owner is not None and owner["archives"] == [{"where": str(elsewhere), "folder": ""}]


def test_a_list_below_the_archive_is_a_choice_of_the_run(photos: Path, out: Out) -> None:
    out.run(photos)
    before = out.hashes()
    listed = photos.parent / "list.txt"
    listed.write_text("".join(f"{photos}/1932/{k}.png\n" for k in (11, 12)))
    ran = out.run(f"list:{listed}")
    assert ran.num_coloured == 0 and out.hashes() == before
    assert ran.words[0].startswith("18 outputs without")


def test_one_owner_an_output_folder(photos: Path, out: Out, models: Path) -> None:
    out.run(photos)
    assert out.workspace.root.is_dir()
    config = replace(out.workflow(photos), workspace=photos.parent / "workspace")
    for _ in range(2):  # also where the folder was made before folders were owned
        with pytest.raises(UsageError, match=rf"belongs to `chromaflow colorize` of {photos}"):
            claim(config)
        (out.workspace.root / "owner.json").unlink(missing_ok=True)
    claimed = claim(
        replace(
            config,
            archive=replace(config.archive, output=photos.parent / "colorized"),  # type: ignore[type-var]
        )
    )
    claimed.write()
    shared = Out.__new__(Out)
    shared.path, shared._models = photos.parent / "colorized", models
    with pytest.raises(UsageError, match=f"belongs to the workspace {photos.parent}/workspace"):
        claim(shared.workflow(photos))


def test_records_and_outputs_agree_after_a_kill_at_any_moment_of_delete(
    photos: Path, out: Out
) -> None:
    """A run with --delete ends at every 40th change of the disk (CHROMAFLOW_KILL_STEP: finer)."""
    disk = FrozenDisk()
    settings = {"sidecar": True}
    out.run(photos, settings=settings)
    shutil.rmtree(photos / "1932")
    draw(photos / "1931/03.png", 500)
    start = photos.parent / "start"
    shutil.copytree(out.path, start, symlinks=True)
    moment, struck, finished = 0, True, 0
    step = int(os.environ.get("CHROMAFLOW_KILL_STEP", "40"))
    while struck:
        shutil.rmtree(out.path)
        shutil.copytree(start, out.path, symlinks=True)
        workflow = claim(out.workflow(photos, settings=settings)).workflow
        with disk.after(moment, out.path), suppress(Killed):
            run_workflow(workflow, delete=True)
        struck = disk.struck
        files = {file for o in known_outputs(out.workspace) for file in _names(o)}
        files |= {file for o in read_kept(out.workspace) for file in _names(o)}
        done = {
            file["path"]
            for path in out.workspace.stages.glob("colorize/*/*/*/*.json")
            for file in (read_json(path) or {}).get("files", ())
        }
        lying = {n for n in out.hashes() if "partial" not in n}
        assert lying <= files | done, f"after change {moment}: nothing lies there unnamed"
        finished += not struck
        out.run(photos, settings=settings, delete=True)
        assert len(out.hashes()) == 20
        named = {file for o in known_outputs(out.workspace) for file in _names(o)}
        assert named == set(out.hashes()), f"after change {moment}"
        assert verify_workspace(out.workspace)[1] == []
        moment += step
    assert finished == 1 and moment > 50


def _names(output: Any) -> set[str]:
    return {file.path for file in output.files}


def test_report_names_kept_outputs(photos: Path, out: Out) -> None:
    out.run(photos)
    shutil.rmtree(photos / "1932")
    out.run(photos)
    kept = [row for row in read_archive(out.workspace).rows() if row["status"] == "kept"]
    assert len(kept) == 10 and all(row["detail"] == "no original" for row in kept)
    assert all(row["pack"] for row in kept), "with their small pictures"
    answers = trace(str(out.path / kept[0]["output"]), [])
    assert answers[0]["kept"] == "no original" and answers[0]["stage"]["step"] == "colorize/archive"


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_the_command_says_so(photos: Path, tmp_path: Path) -> None:
    """The words and exit codes that a user sees."""
    out = tmp_path / "out"
    assert chromaflow("colorize", photos, out, "--workers", 1)[0] == 0
    shutil.rmtree(photos / "1932")
    code, said, _ = chromaflow("plan", out)
    assert code == 0 and "10 outputs without an original now, kept; --delete removes them" in said
    code, _, err = chromaflow("colorize", photos, out, "--workers", 1)
    assert code == 0 and "10 outputs without an original now, kept; --delete removes them" in err
    _, printed, _ = chromaflow("status", out, "--json")
    assert len(json.loads(printed)["outputs"]["without_original"]) == 10
    assert "10 outputs without an original" in chromaflow("log", "--output", out)[1]
    code, _, err = chromaflow("colorize", tmp_path, out)
    assert code == 2 and err.count("\n") == 1
    draw(tmp_path / "album2/0.png", 9)
    code, _, err = chromaflow("colorize", tmp_path / "album2", out)
    assert code == 2 and "--add" in err and str(photos) in err and err.count("\n") == 1
    code, _, err = chromaflow("colorize", photos, out, "--delete", "--workers", 1)
    assert code == 0 and "10 outputs without an original deleted" in err
