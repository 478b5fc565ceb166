"""What a cluster class gets unasked: TLS, a worker a core, our environment; what it is refused."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client

from storage.errors import UsageError
from tasks.compute.cluster_class import start_cluster, stop_cluster
from tasks.compute.forks import WORKER_ENVIRONMENT
from tasks.config.model import ComputeConfig

jobqueue = pytest.importorskip("dask_jobqueue", reason="pip install 'chromaflow[jobqueue]'")

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


def example() -> dict[str, Any]:
    """[compute] of the guide's batch queue, on loopback."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", GUIDE.read_text(), re.MULTILINE)
    (block,) = (block for block in blocks if 'cluster = "dask_jobqueue.SLURMCluster"' in block)
    table = tomllib.loads(re.sub("^    ", "", block, flags=re.MULTILINE))
    compute: dict[str, Any] = table["compute"]
    compute["cluster_options"]["interface"] = "lo"
    return compute


class Silent:
    """In place of `sbatch` and `scancel`: takes every job and starts none."""

    submit_command, cancel_command = "echo 7", "true"


def script_of(compute: dict[str, Any], shared: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of the job that such a config submits."""
    for name in ("submit_command", "cancel_command"):
        monkeypatch.setattr(jobqueue.slurm.SLURMJob, name, getattr(Silent, name))
    cluster: Any = start_cluster(ComputeConfig(**compute), WORKER_ENVIRONMENT, shared)
    keys = list(shared.glob("*.key.*"))
    assert len(keys) == 1 and stat.S_IMODE(keys[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(shared.stat().st_mode) == 0o700
    script: str = cluster.job_script()
    assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
    stop_cluster(cluster)
    assert [path.name for path in shared.iterdir()] == ["logs"], "the certificates are gone"
    return script.splitlines()


def test_the_example_of_the_guide_makes_a_job_of_a_worker_a_core_with_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = script_of(example(), tmp_path / "shared", monkeypatch)
    assert {"#SBATCH -p long", "#SBATCH --cpus-per-task=16", "#SBATCH -t 08:00:00"} <= {*lines}
    assert "#SBATCH --mem=60G" in lines, "64 GB in units of 1024"
    assert "export OMP_NUM_THREADS=1" in lines
    worker = lines[-1]
    for words in (
        "--nworkers 16 ",
        "--nthreads 1 ",
        f"--tls-key {tmp_path}/shared/",
        "--protocol tls://",
        "--dashboard-address 127.0.0.1:0",
    ):
        assert words in worker, worker


def test_what_is_asked_for_goes_over_what_comes_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = example() | {"nice": 7}
    compute["cluster_options"] |= {
        "processes": 2,
        "job_script_prologue": ["module load python"],
        "worker_extra_args": ["--lifetime", "1h"],
        "log_directory": str(tmp_path / "elsewhere"),
    }
    (tmp_path / "shared" / "logs").mkdir(parents=True, mode=0o700)
    (tmp_path / "shared").chmod(0o700)
    lines = script_of(compute, tmp_path / "shared", monkeypatch)
    assert "renice -n 7 -p $$" in lines and "module load python" in lines
    assert "--nworkers 2 " in lines[-1] and "--lifetime 1h" in lines[-1]
    assert f"#SBATCH -o {tmp_path}/elsewhere/dask-worker-%J.out" in lines


def test_a_folder_that_a_shell_would_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without blanks.*my archive"):
        start_cluster(ComputeConfig(**example()), {}, tmp_path / "my archive")


def test_a_class_keeps_its_number_of_workers_when_one_dies(tmp_path: Path) -> None:
    compute = ComputeConfig(workers=2, cluster="distributed.LocalCluster", memory_per_worker=0.5)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        cluster: Any = start_cluster(compute, {}, tmp_path / "shared")
        try:
            with Client(cluster) as client:
                client.wait_for_workers(2, timeout=60)
                workers = client.scheduler_info()["workers"]
                assert {info["memory_limit"] for info in workers.values()} == {500_000_000}
                assert all(address.startswith("tls://127.0.0.1:") for address in workers)
                gone = next(iter(workers))
                client.retire_workers([gone], close_workers=True, remove=True)
                assert gone not in client.scheduler_info()["workers"]
                client.wait_for_workers(2, timeout=60)
        finally:
            stop_cluster(cluster)


def test_workers_in_this_process_are_taken_as_they_are(tmp_path: Path) -> None:
    options = {"processes": False}
    compute = ComputeConfig(workers=1, cluster="distributed.LocalCluster", cluster_options=options)
    cluster: Any = start_cluster(compute, WORKER_ENVIRONMENT, tmp_path / "shared")
    try:
        with Client(cluster) as client:
            assert client.submit(abs, -1).result(timeout=60) == 1
    finally:
        stop_cluster(cluster)
