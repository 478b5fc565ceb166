"""Slurm, for real: photos and shards through dask-jobqueue, jobs cancelled on the way, nodes that die."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from command import chromaflow, computed, on_the_way, photo_hashes, shard_hashes
from slurm import QUEUE, Slurm, needs_slurm, slurm_at

from storage.records.names import STATE_NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), needs_slurm]

COMPUTE = f"""
[compute]
workers = 2
memory_per_worker = 3
threads = 1
device = "cpu"
cluster = "dask_jobqueue.SLURMCluster"

[compute.cluster_options]
queue = "{QUEUE}"
walltime = "00:30:00"
interface = "lo"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    with slurm_at(tmp_path / "slurm") as running:
        for name, value in running.variables.items():
            monkeypatch.setenv(name, value)
        yield running
        print("\n".join(running.log()[-12:]))
        assert not running.jobs(), "jobs outlive their run"


def results(project: Path) -> dict[str, str]:
    """SHA-256 of shards, weights and colour photos, by path."""
    workspace = project.parent / "workspace"
    weights = {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in workspace.glob("current/train/*/weights.safetensors")
    }
    return shard_hashes(workspace) | weights | photo_hashes(workspace / "colorized")


def listening(slurm: Slurm) -> set[str]:
    """Addresses that processes of the run and of its jobs listen at."""
    found = set()
    for process in slurm.processes():
        with suppress(psutil.Error):
            sockets = process.net_connections("inet")
            found |= {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    return found


_PHOTOS = 160
"""So many that the job in the cancelled one's place begins before the other has done them all."""


@pytest.mark.usefixtures("shared_server")
def test_an_archive_with_a_job_cancelled_is_that_of_a_local_run(
    tmp_path: Path, slurm: Slurm, make_photo: Callable[..., Path]
) -> None:
    for number in range(_PHOTOS):
        size = (150, 120 + number % 24)
        make_photo(tmp_path / f"in/{number:03d}.png", number, gray=True, size=size)
    config = tmp_path / "chromaflow.toml"
    config.write_text("[colorize]\nchunk = 2\n" + COMPUTE)
    words = ["colorize", tmp_path / "in"]
    here = ["--models", config, "--cluster", "", "--workers", "1"]
    code, _, err = chromaflow(*words, tmp_path / "local", *here, patience=600)
    assert code == 0, err
    output, at = tmp_path / "out", set[str]()
    done = output / STATE_NAME / "stages/colorize/archive"

    def cancel() -> None:
        at.update(listening(slurm))
        slurm.ask("scancel", "--signal=KILL", "--full", min(slurm.jobs()))

    with on_the_way(
        lambda: len(list(done.glob("*/done/*.json"))) >= 2 and len(slurm.jobs()) == 2, cancel
    ):
        code, _, err = chromaflow(*words, output, "--models", config, patience=900)
    assert code == 0, err
    assert photo_hashes(output) == photo_hashes(tmp_path / "local")
    assert len(photo_hashes(output)) == _PHOTOS
    assert at == {"127.0.0.1"}
    logs = output / STATE_NAME / ".dask" / "logs"
    assert len(list(logs.glob("*.err"))) == 3, "a job takes the place of the cancelled one"
    assert "tls://127.0.0.1" in (logs / "dask-worker-1.err").read_text()
    assert [path.name for path in logs.parent.iterdir()] == ["logs"], "no key is left"


@pytest.mark.usefixtures("shared_server")
def test_a_pipeline_of_adaptive_size_whose_node_dies_is_that_of_a_local_run(
    project: Path, slurm: Slurm
) -> None:
    config = project.read_text().replace('init = "starter"', 'init = "scratch"')
    project.write_text(config + COMPUTE.replace("workers = 2", "workers = 2\nmin_workers = 1"))
    computed(project, "--cluster", "", "--workers", "1")
    local = results(project)
    workspace = project.parent / "workspace"
    workspace.rename(project.parent / "local")
    with on_the_way(
        lambda: bool(list(workspace.glob("stages/train/*/*/checkpoints/*"))),
        lambda: slurm.kill_node(min(slurm.jobs().values())),
    ):
        code, _, err = chromaflow("run", "--config", project, patience=900)
    assert code == 0, err
    assert results(project) == local
    assert len(local) > 5


@pytest.mark.usefixtures("shared_server")
def test_what_the_queue_refuses_is_said_at_once(project: Path, slurm: Slurm) -> None:
    project.write_text(project.read_text() + COMPUTE.replace(QUEUE, "elsewhere"))
    started = time.monotonic()
    code, _, err = chromaflow("run", "--config", project, "--until", "ingest")
    assert code == 3 and "invalid partition specified: elsewhere" in err, err
    assert "[compute.cluster_options]" in err and "Traceback" not in err, err
    assert time.monotonic() - started < 300, "not the patience for the first worker"
