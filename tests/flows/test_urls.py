"""Every path on s3://: the pipeline against moto's server gives the tree of a local run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from command import actions, chromaflow, computed, start
from s3_server import CREDENTIALS, s3_server

from storage.records.fingerprint import hash_bytes
from storage.records.names import INDEX_NAME, LOCK_FOLDER

STARTER = Path(__file__).parents[2] / "colorization" / "starter"
OF_THIS_RUN = {
    "stage.json",
    "_SUCCESS.json",
    "seen.parquet",
    "listing.parquet",
    "generation.json",
    "card.md",
}
"""They say when, where, how fast or from which address."""


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server(tmp_path, "archives") as address:
        for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": address}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "machine1"))
        yield "s3://archives"


def files_at(place: str) -> dict[str, str]:
    """SHA-256 of every file below a folder or URL, by path, without the locks and the index."""
    if "://" in place:
        fs, root = fsspec.core.url_to_fs(place, skip_instance_cache=True)
        found = fs.find(root)
        contents = fs.cat(found) if found else {}
        files = {path[len(root) + 1 :]: content for path, content in contents.items()}
    else:
        paths = [path for path in Path(place).rglob("*") if path.is_file()]
        files = {path.relative_to(place).as_posix(): path.read_bytes() for path in paths}
    own = (INDEX_NAME, f"{LOCK_FOLDER}/")
    return {path: hash_bytes(c) for path, c in files.items() if not path.startswith(own)}


def links_at(place: str) -> dict[str, str]:
    """The published folder of each step."""
    if "://" in place:
        with fsspec.open(f"{place}/{INDEX_NAME}") as file:
            links: dict[str, str] = json.load(file)["links"]
        return links
    root = Path(place).resolve()
    found = [link.absolute() for link in (root / "current").glob("*/*")]
    return {
        link.relative_to(root).as_posix(): link.resolve().relative_to(root).as_posix()
        for link in found
    }


def published(workspace: str) -> dict[str, str]:
    """What the current steps of a workspace hold, without what is of this run alone."""
    files, kept = files_at(workspace), {}
    for link, folder in links_at(workspace).items():
        for path, digest in files.items():
            name = path.removeprefix(f"{folder}/")
            is_own = name in OF_THIS_RUN or name.startswith(("done/", "tensorboard/", "metrics"))
            if name != path and not is_own and not name.startswith("."):
                kept[f"{link}/{name}"] = digest
    return kept


def upload(folder: Path, url: str) -> None:
    fs, root = fsspec.core.url_to_fs(url, skip_instance_cache=True)
    fs.put(f"{folder}/", root, recursive=True)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
@pytest.mark.timeout(900)
def test_the_pipeline_with_every_path_on_s3_gives_the_tree_of_a_local_run(
    project: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.parent
    shutil.copytree(folder / "gray", folder / "truth")
    (folder / "weights").mkdir()
    for name in ("birds.safetensors", "shared.safetensors"):
        shutil.copy(STARTER / name, folder / "weights" / name)
    config = project.read_text().replace('path = "gray"', 'path = "gray"\ntruth = "truth"')
    config += (
        '[compute]\nthreads = 1\ndevice = "cpu"\n[experts]\nbirds = "weights/birds.safetensors"\n'
    )
    project.write_text(config)
    computed(project)
    local = published(str(folder / "workspace"))
    colour = files_at(str(folder / "workspace/colorized"))

    for name in ("photos", "gray", "truth", "weights"):
        upload(folder / name, f"{bucket}/{name}")
    for name in ("photos/people", "photos/places", "gray", "truth", "weights/birds.safetensors"):
        config = config.replace(f'"{name}"', f'"{bucket}/{name}"')
    config = config.replace("[archive]", f'[archive]\noutput = "{bucket}/colour"')
    project.write_text(f'workspace = "{bucket}/work"\n{config}')
    steps = computed(project)
    remote = published(f"{bucket}/work")
    assert remote == local
    assert files_at(f"{bucket}/colour") == colour
    print(f"{len(remote)} files of {len(steps)} steps, {len(colour)} colour photos: the same")

    monkeypatch.setenv("CHROMAFLOW_CACHE", str(folder / "machine2"))
    planned = actions(project)
    assert {action for action, _ in planned.values()} == {"skip"}, planned
    before = files_at(f"{bucket}/work")
    assert all(step["computed"] == 0 for step in computed(project).values())
    after = files_at(f"{bucket}/work")
    assert {path: after[path] for path in before} == before
    assert all(path.startswith("runs/") for path in after.keys() - before.keys())


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_an_output_url_is_looked_at_repaired_and_superseded(
    tmp_path: Path, bucket: str, make_photo: Callable[..., Path]
) -> None:
    for number in range(3):
        make_photo(tmp_path / "in" / f"{number}.png", seed=number, gray=True)
    (tmp_path / "in" / "broken.png").write_bytes((tmp_path / "in" / "0.png").read_bytes()[:99])
    output = f"{bucket}/out"
    code, _, err = chromaflow("colorize", tmp_path / "in", output, "--format", "png")
    assert code == 6, err
    photos = [f"{number}.png.color.png" for number in range(3)]
    coloured = {path: digest for path, digest in files_at(output).items() if path in photos}
    assert sorted(coloured) == photos and ".chromaflow/report/index.html" in files_at(output)
    assert not Path("s3:").exists() and not (tmp_path / "s3:").exists()

    code, out, err = chromaflow("status", output, "--json")
    assert code == 0 and json.loads(out)["quarantined"][0]["path"] == "broken.png", err
    code, out, err = chromaflow("report", output, "--json")
    report = json.loads(out)
    counts = {"coloured": 3, "failed": 1, "skipped": 0, "waiting": 0}
    assert (code, report["counts"]) == (0, counts), err
    run = json.loads(Path(report["report"]).with_name("run.json").read_text())
    assert run["commands"]["retry"] == f"chromaflow retry {output}"
    code, out, err = chromaflow("log", "--output", output)
    assert code == 0 and "broken.png" in out + err, err
    code, out, err = chromaflow("lineage", f"{output}/{photos[0]}", "--output", output)
    assert code == 0 and "sha256" in out + err, err
    code, out, err = chromaflow("verify", output, "--originals", tmp_path / "in")
    assert code == 0 and "3 outputs decoded" in out, err

    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fs.rm_file(f"{output}/{photos[0]}")
    fs.pipe_file(f"{output}/{photos[1]}", b"damaged")
    make_photo(tmp_path / "in" / "broken.png", seed=9, gray=True)
    code, _, err = chromaflow("retry", output)
    assert code == 0, err
    repaired = files_at(output)
    assert {
        path: repaired[path] for path in photos
    } == coloured and "broken.png.color.png" in repaired

    code, _, err = chromaflow("colorize", tmp_path / "in", output, "--format", "jpeg")
    assert code == 0, err
    names = {path for path in files_at(output) if not path.startswith(".chromaflow/")}
    assert len(names) == 4 and all(name.endswith(".jpg") for name in names)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_a_run_killed_while_it_puts_its_outputs_is_finished_by_another_machine(
    tmp_path: Path, bucket: str, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        make_photo(tmp_path / "in" / f"{number:02d}.png", seed=number, gray=True)
    words = ["colorize", tmp_path / "in"]
    code, _, err = chromaflow(*words, tmp_path / "golden")
    assert code == 0, err
    golden = {p: d for p, d in files_at(str(tmp_path / "golden")).items() if p.endswith(".png")}
    golden = {path: d for path, d in golden.items() if not path.startswith(".chromaflow/")}

    output = f"{bucket}/out"
    killed = start(*words, output)
    fs = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    while not fs.glob(f"{output}/*.color.png"):
        assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=30)
    put = len(fs.glob(f"{output}/*.color.png"))
    print(f"killed with {put} of {len(golden)} colour photos put")
    assert not json.loads(fs.cat_file(f"{output}/{INDEX_NAME}"))["links"].get(
        "current/colorize/archive"
    )

    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "machine2"))
    code, _, err = chromaflow(*words, output, "--format", "jpeg")
    assert code == 8 and "works there" in err, err  # it might be alive, as far as one can see
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "machine1"))
    code, _, err = chromaflow(*words, output)  # the same machine knows that it is dead
    assert code == 0, err
    found = files_at(output)
    assert {p: d for p, d in found.items() if not p.startswith(".chromaflow/")} == golden
    index = json.loads(fs.cat_file(f"{output}/{INDEX_NAME}"))
    assert index["pending"] == [] and index["files"].keys() == found.keys()


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_urls_that_cannot_work_are_named(
    tmp_path: Path, bucket: str, make_photo: Callable[..., Path]
) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    upload(tmp_path / "in", f"{bucket}/in")
    for source, output, code, named in (
        (tmp_path / "in", "s3://no-such-bucket/out", 5, "no-such-bucket"),
        (tmp_path / "in", "nowhere://out", 2, "nowhere"),
        (f"{bucket}/in", f"{bucket}/in/out", 2, "outside the archive"),
        (f"{bucket}/none", tmp_path / "out", 2, "found nothing"),
    ):
        found, _, err = chromaflow("colorize", source, output)
        assert found == code and named in err, err
