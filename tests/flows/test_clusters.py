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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask
import pytest
from command import chromaflow, computed, shard_hashes
from distributed.security import Security
from prefect_server import free_port
from wheel_install import install_wheel

from tasks.compute.cluster import run_clusters
from tasks.compute.slots import Slots
from tasks.config.model import ComputeConfig
from tasks.jobs.versions import VersionsDifferError, versions

ROOT = Path(__file__).parents[2]
TLS = "DASK_DISTRIBUTED__COMM__TLS__"
DASK = [sys.executable, "-m", "dask"]


@contextmanager
def running(command: Sequence[str], log: Path, path: Sequence[Path] = (ROOT,)) -> Iterator[None]:
    """A process for the time of the block; its end is waited for. path: PYTHONPATH."""
    with log.open("w") as file:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
        process = subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def dask_at(folder: Path, scheme: str, num_workers: int) -> Iterator[str]:
    """`dask scheduler` and `dask worker`s as a user starts them. Gives the scheduler's address."""
    folder.mkdir(exist_ok=True)
    address = f"{scheme}://127.0.0.1:{free_port()}"
    scheduler = ["scheduler", "--host", address, "--no-dashboard"]
    with ExitStack() as stack:
        stack.enter_context(running([*DASK, *scheduler], folder / "scheduler.log"))
        for number in range(num_workers):
            stack.enter_context(running(worker_at(address, folder), folder / f"{number}.log"))
        wait_for_workers(folder, num_workers)
        yield address


def worker_at(address: str, folder: Path, python: Sequence[str] = (sys.executable,)) -> list[str]:
    words = ["--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard"]
    return [*python, *DASK[1:], "worker", address, *words, "--local-directory", str(folder)]


def wait_for_workers(folder: Path, num_workers: int) -> None:
    """Until so many have come to the scheduler, gone ones included."""
    deadline = time.monotonic() + 120
    while (folder / "scheduler.log").read_text().count("Register worker") < num_workers:
        assert time.monotonic() < deadline, (folder / "scheduler.log").read_text()
        time.sleep(0.2)


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


def write_certificates(folder: Path) -> dict[str, Path]:
    """One temporary certificate for all, by Dask's name of each setting."""
    temporary = Security.temporary()
    contents = {
        "CA_FILE": temporary.tls_ca_file,
        **{
            f"{role}__CERT": temporary.tls_client_cert for role in ("CLIENT", "SCHEDULER", "WORKER")
        },
        **{f"{role}__KEY": temporary.tls_client_key for role in ("CLIENT", "SCHEDULER", "WORKER")},
    }
    files = {name: folder / f"{name}.pem" for name in contents}
    for name, path in files.items():
        path.write_text(contents[name])
    return files


PACKAGES = ("chromaflow", "storage", "tasks", "flows", "colorization")


def guide_command(start: str, address: str) -> list[str]:
    """The command of the guide that starts so, with another address in it."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    (line,) = re.findall(rf"^    ({start} .*)$", guide, re.MULTILINE)
    return shlex.split(re.sub(r"tcp://\S+", address, line))


def colorize_as_the_guide_says(folder: Path, commands: Path, path: Sequence[Path] = ()) -> str:
    """In a folder that is empty but for folders named as our packages. Returns what was said.

    commands: folder of `dask` and `chromaflow`. path: PYTHONPATH.
    """
    for package in PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise RuntimeError('foreign')")
    address = f"tcp://127.0.0.1:{free_port()}"
    dask_command = str(Path(sys.executable).with_name("dask"))
    with ExitStack() as stack:
        for start in ("dask scheduler", "dask worker"):
            words = guide_command(start, address)[1:]
            log = folder / f"{words[0]}.log"
            stack.enter_context(running([dask_command, *words], log, path))
        wait_for_workers(folder, 2)
        _, *words = guide_command("chromaflow colorize", address)
        names = {"IN": str(folder.parent / "in"), "OUT": str(folder.parent / "out")}
        command = [commands / "chromaflow", *(names.get(word, word) for word in words)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
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
    _, site = install_wheel(tmp_path)
    colorize_as_the_guide_says(tmp_path / "empty", site / "bin", [site])


@pytest.mark.usefixtures("shared_server")
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
