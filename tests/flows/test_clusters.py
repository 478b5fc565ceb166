"""More than one machine: a scheduler by address, plain and with TLS, and a cluster class by name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import dask
import pytest
from command import chromaflow, computed, on_the_way, photo_hashes, shard_hashes
from dask_processes import TLS, dask_at, running, wait_for_workers, worker_at, write_certificates
from prefect_server import free_port
from wheel_install import build_distributions, install_wheel

from storage.records.names import STATE_NAME
from tasks.compute.cluster import run_clusters
from tasks.compute.slots import Slots
from tasks.config.model import ComputeConfig
from tasks.jobs.versions import VersionsDifferError, versions

ROOT = Path(__file__).parents[2]


def results(project: Path) -> dict[str, str]:
    """SHA-256 of shards, weights, scores and colour photos, by path."""
    workspace = project.parent / "workspace"
    files = [
        *workspace.glob("colorized/*.png"),
        *workspace.glob("current/train/*/weights.safetensors"),
    ]
    coloured = {str(path.relative_to(workspace)): path.read_bytes() for path in files}
    return shard_hashes(workspace) | {
        name: hashlib.sha256(content).hexdigest() for name, content in coloured.items()
    }


def forget(project: Path) -> None:
    workspace = project.parent / "workspace"
    workspace.rename(workspace.with_name(f"workspace-{time.monotonic_ns()}"))


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
@pytest.mark.timeout(900)
def test_workers_at_an_address_and_of_a_class_give_the_bytes_of_a_local_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.read_text().replace('init = "starter"', 'init = "scratch"')
    project.write_text(config + '[compute]\nthreads = 1\ndevice = "cpu"\n')
    computed(project)
    local = results(project)
    assert len(local) == 3 + 2 + len(shard_hashes(project.parent / "workspace"))
    forget(project)
    with monkeypatch.context() as secured:
        for name, path in write_certificates(project.parent).items():
            secured.setenv(TLS + name, str(path))
        with dask_at(project.parent / "dask", "tls", 2) as address:
            computed(project, "--cluster", address)
    assert results(project) == local
    forget(project)
    folder = json.dumps(str(project.parent / "dask"))
    own = f'workers = 2\ncluster = "distributed.LocalCluster"\n[compute.cluster_options]\nlocal_directory = {folder}\n'
    project.write_text(project.read_text() + own)
    computed(project)
    assert results(project) == local


@pytest.mark.usefixtures("shared_server")
def test_colorize_on_a_scheduler_with_tls(
    tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    files = write_certificates(tmp_path)
    words = ["colorize", tmp_path / "in", tmp_path / "out", "--cluster"]
    with monkeypatch.context() as secured:
        for name, path in files.items():
            secured.setenv(TLS + name, str(path))
        with dask_at(tmp_path / "dask", "tls", 1) as address:
            code, _, err = chromaflow(*words, address)
            assert code == 0, err
            assert len(list((tmp_path / "out").glob("*.png"))) == 1
            secured.undo()
            make_photo(tmp_path / "in" / "b.png", gray=True)
            code, _, err = chromaflow(*words, address)
            assert code == 3 and "certificates" in err, err


def certificates_of_the_guide(folder: Path) -> dict[str, str]:
    """What the guide's commands for TLS leave in the environment, called in a folder."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    lines = re.findall(r"^    ((?:openssl|chmod 600|export DASK_).*)$", guide, re.MULTILINE)
    script = "set -e\n" + "\n".join(lines) + "\nenv"
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs if name.startswith("DASK_")}


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install -y openssl")
@pytest.mark.timeout(900)
def test_an_archive_over_tls_with_a_worker_killed_is_that_of_a_local_run(
    tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(24):
        make_photo(tmp_path / f"in/{number:02d}.png", number, gray=True, size=(150, 120 + number))
    (tmp_path / "chromaflow.toml").write_text("[colorize]\nchunk = 2\n[compute]\nthreads = 1\n")
    words = ["--models", tmp_path / "chromaflow.toml"]
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "local", *words)
    assert code == 0, err
    for name, value in certificates_of_the_guide(tmp_path).items():
        monkeypatch.setenv(name, value)
    folder, output = tmp_path / "dask", tmp_path / "out"
    done = output / STATE_NAME / "stages/colorize/archive"
    with (
        dask_at(folder, "tls", 1) as address,
        running(worker_at(address, folder), folder / "victim.log") as victim,
    ):
        wait_for_workers(folder, 2)

        def kill() -> None:
            for process in (victim, *victim.children(recursive=True)):
                process.kill()

        with on_the_way(lambda: len(list(done.glob("*/done/*.json"))) >= 2, kill):
            asked = ("colorize", tmp_path / "in", output, *words, "--cluster", address)
            code, _, err = chromaflow(*asked, patience=600)
        log = (folder / "scheduler.log").read_text()
    assert code == 0, err
    assert photo_hashes(output) == photo_hashes(tmp_path / "local")
    assert len(photo_hashes(output)) == 24
    assert "tls://127.0.0.1" in log and "Remove worker" in log, log
    print("\n".join(log.splitlines()[-8:]))


PACKAGES = ("chromaflow", "storage", "tasks", "flows", "colorization")


def guide_command(start: str, address: str) -> list[str]:
    """The command of the guide that starts so, with another address in it."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    (line,) = re.findall(rf"^    ({start} .*)$", guide, re.MULTILINE)
    return shlex.split(re.sub(r"tcp://\S+", address, line))


def colorize_as_the_guide_says(folder: Path, commands: Path) -> str:
    """In a folder that is empty but for folders named as our packages. Returns what was said.

    commands: folder of `dask` and `chromaflow`.
    """
    for package in PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise RuntimeError('foreign')")
    address = f"tcp://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        for start in ("dask scheduler", "dask worker"):
            words = guide_command(start, address)[1:]
            log = folder / f"{words[0]}.log"
            stack.enter_context(running([str(commands / "dask"), *words], log, ()))
        wait_for_workers(folder, 2)
        _, *words = guide_command("chromaflow colorize", address)
        names = {"IN": str(folder.parent / "in"), "OUT": str(folder.parent / "out")}
        command = [commands / "chromaflow", *(names.get(word, word) for word in words)]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr + (folder / "worker.log").read_text()
    assert len(list((folder.parent / "out").glob("*.png"))) == 1
    return done.stderr


@pytest.mark.usefixtures("shared_server")
def test_workers_as_the_guide_starts_them(tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    colorize_as_the_guide_says(tmp_path / "empty", Path(sys.executable).parent)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_workers_of_the_wheel_as_the_guide_starts_them(
    tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    wheel, _ = build_distributions(tmp_path)
    python = install_wheel(tmp_path, wheel)
    _, _, script = Path(sys.executable).with_name("dask").read_text().partition("\n")
    python.with_name("dask").write_text(f"#!{python}\n{script}")
    python.with_name("dask").chmod(0o755)
    colorize_as_the_guide_says(tmp_path / "empty", python.parent)


@pytest.mark.usefixtures("shared_server")
@pytest.mark.slow
def test_workers_with_other_versions_are_refused(project: Path) -> None:
    folder, other, old = project.parent / "dask", project.parent / "other", project.parent / "old"
    for package in ("chromaflow", "colorization", "storage", "tasks"):
        shutil.copytree(ROOT / package, other / package, ignore=shutil.ignore_patterns("*.safe*"))
    with (other / "storage" / "records" / "ledger.py").open("a") as file:
        file.write("\n_EDITED = True\n")
    (old / "torch-2.1.0.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: torch\nVersion: 2.1.0\n"
    (old / "torch-2.1.0.dist-info" / "METADATA").write_text(metadata)
    bare, packages = [sys.executable, "-S"], Path(dask.__file__).parents[1]
    with dask_at(folder, "tcp", 0) as address:
        compute = ComputeConfig(scheduler=address)
        with running(worker_at(address, folder), folder / "other.log", [other]):
            wait_for_workers(folder, 1)
            words = ["run", "--config", project, "--until", "ingest", "--cluster", address]
            code, _, err = chromaflow(*words)
            assert code == 3 and f"chromaflow {versions()['chromaflow']}, got" in err, err
            assert not list(project.parent.glob("workspace/current/ingest/*"))
        for number, (python, path, named) in enumerate(
            (
                [[sys.executable], [old, ROOT], "torch 2.1.0"],
                [bare, [packages], "with Chromaflow.*No module named 'tasks'"],
            )
        ):
            with (
                running(worker_at(address, folder, python), folder / f"{number}.log", path),
                run_clusters(compute) as clusters,
                pytest.raises(VersionsDifferError, match=named),
            ):
                clusters.of(Slots(1, 1, "cpu")).submit(os.path.exists, "/")
        with run_clusters(compute) as clusters:
            cluster = clusters.of(Slots(1, 1, "cpu"))
            with running(worker_at(address, folder), folder / "good.log"):
                assert cluster.submit(os.path.exists, "/").result()
            with running(worker_at(address, folder), folder / "late.log", [other]):
                late = cluster.submit(os.path.exists, "/")
                with pytest.raises(VersionsDifferError, match="chromaflow"):
                    late.result(timeout=60)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_a_cluster_that_is_not_there_is_named(project: Path) -> None:
    config = project.read_text()
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    os.environ["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] = "2s"
    try:
        code, _, err = chromaflow(
            "run", "--config", project, "--until", "ingest", "--cluster", nowhere
        )
    finally:
        del os.environ["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"]
    assert code == 3 and "dask scheduler" in err, err
    for compute, code, named in (
        ('scheduler = "127.0.0.1:8786"', 2, "tcp://HOST:PORT or tls://HOST:PORT"),
        ('cluster = "distributed.LocalCluster"', 2, "[compute] workers"),
        ('workers = 1\ncluster = "pathlib.Path"', 2, "Dask cluster class"),
        ('workers = 1\ncluster = "LocalCluster"', 2, "Dask cluster class"),
        ('workers = 1\ncluster = "dask_none.SLURMCluster"', 3, "pip install dask-none"),
        ('scheduler = "tcp://a:1"\ncluster = "x.Y"\nworkers = 1', 2, "nothing beside"),
        ("cluster_options = { cores = 1 }", 2, "nothing without cluster"),
        ("cluster_patience = -1", 2, "0 or more"),
    ):
        project.write_text(f"{config}[compute]\n{compute}\n")
        found, _, err = chromaflow("plan", "--config", project)
        assert found == code and named in err, (compute, err)
