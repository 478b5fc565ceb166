"""How machines are shared out, the 32-core node of the paper among them."""

from __future__ import annotations

import os

import psutil
import pytest
from distributed import get_worker

from colorization.errors import DeviceMissingError
from tasks.compute.cluster import run_clusters
from tasks.compute.slots import Slots, plan_colorizing, plan_photos, plan_training
from tasks.config.model import ComputeConfig
from tasks.jobs.machine import available_cores, visible_gpus

CPU = ComputeConfig(device="cpu")


@pytest.mark.parametrize(
    ("num_jobs", "cores", "expected"),
    [
        (4, 32, Slots(4, 8, "cpu")),
        (4, 2, Slots(2, 1, "cpu", rounds=2)),
        (4, 6, Slots(2, 3, "cpu", rounds=2)),
        (3, 32, Slots(3, 10, "cpu")),
        (1, 32, Slots(1, 32, "cpu")),
        (4, 1, Slots(1, 1, "cpu", rounds=4)),
        (5, 4, Slots(1, 4, "cpu", rounds=5)),
    ],
)
def test_cpu_plans(num_jobs: int, cores: int, expected: Slots) -> None:
    plan = plan_training(num_jobs, CPU, cores=cores)
    assert plan == expected
    assert plan.processes * plan.threads <= cores


def test_gpus_take_one_category_each_and_share_the_cores() -> None:
    auto = ComputeConfig()
    assert plan_training(4, auto, cores=32, gpus=("0",)) == Slots(1, 32, "cuda", ("0",), 4)
    assert plan_training(4, auto, cores=32, gpus=("0", "2")) == Slots(2, 16, "cuda", ("0", "2"), 2)
    many = plan_training(2, auto, cores=32, gpus=("0", "1", "2"))
    assert many == Slots(2, 16, "cuda", ("0", "1"))
    assert plan_training(4, CPU, cores=32, gpus=("0",)).device == "cpu"


def test_what_the_config_says_wins() -> None:
    asked = ComputeConfig(device="cpu", workers=2, threads=5)
    assert plan_training(4, asked, cores=32) == Slots(2, 5, "cpu", rounds=2)
    assert plan_training(4, ComputeConfig(device="cpu", cores=32)) == Slots(4, 8, "cpu")
    elsewhere = ComputeConfig(device="cpu", scheduler="tcp://10.0.0.1:8786")
    assert plan_training(4, elsewhere, cores=2).threads == 0
    other = ComputeConfig(device="cuda", scheduler="tcp://10.0.0.1:8786")
    assert plan_training(4, other, cores=2, gpus=()).device == "cuda", "its workers look themselves"
    assert str(plan_training(4, other)) == "4 processes × all threads on the workers' GPUs"
    assert plan_photos(ComputeConfig(workers=3), cores=32) == Slots(3, 10, "cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()
    with pytest.raises(DeviceMissingError, match='"auto" or "cpu"'):
        plan_training(1, ComputeConfig(device="cuda"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert visible_gpus() == ("1", "3")
    assert available_cores() >= 1


def _seen(_: int) -> tuple[str, int]:
    import os
    import time

    time.sleep(0.3)  # so that one worker does not take both
    return os.environ["CUDA_VISIBLE_DEVICES"], get_worker().state.nthreads


def test_each_worker_process_sees_its_own_gpu_and_takes_one_job_at_a_time() -> None:
    slots = Slots(2, 1, "cuda", ("0", "7"))
    with run_clusters(ComputeConfig()) as clusters:
        cluster = clusters.of(slots)
        futures = cluster.client.map(_seen, range(4), pure=False)
        seen = cluster.client.gather(futures)
        addresses = cluster.client.scheduler_info()["address"]
    assert set(seen) == {("0", 1), ("7", 1)}
    assert addresses.startswith("tls://127.0.0.1:")


def test_gpus_are_dealt_out_to_the_processes_that_colorize():
    auto = ComputeConfig()
    assert plan_colorizing(auto, cores=16, gpus=("0", "1")) == Slots(8, 1, "cuda", ("0", "1") * 4)
    assert plan_colorizing(auto, cores=2, gpus=("3",)) == Slots(2, 1, "cuda", ("3", "3"))
    assert plan_colorizing(CPU, cores=2, gpus=("3",)) == plan_photos(CPU, cores=2)
    with pytest.raises(DeviceMissingError, match="Expected a GPU"):
        plan_colorizing(ComputeConfig(device="cuda"), cores=2, gpus=())


def test_a_stage_takes_over_the_workers_of_the_one_before_if_it_shares_the_machine_alike():
    with run_clusters(ComputeConfig()) as clusters:
        first = clusters.of(Slots(1, 1, "cpu"))
        pid = first.client.submit(os.getpid, pure=False).result()
        second = clusters.of(Slots(1, 1, "cpu"))
        assert second.client.submit(os.getpid, pure=False).result() == pid
        other = clusters.of(Slots(1, 2, "cpu"))
        assert other is not first
        assert not psutil.pid_exists(pid)
        assert other.client.submit(os.getpid, pure=False).result() != pid
