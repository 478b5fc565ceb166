"""prefect.yaml: what comes with the package is whole, and a wrong file is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from colorization.errors import ConfigError
from storage.errors import UsageError
from tasks.prefect_server.deployments import PACKAGED, find_deployments, read_deployments

GOOD = """
deployments:
  - name: mine
    entrypoint: flows.colorize.colorize_flow
    schedules: [{cron: "0 1 * * *", slug: early}]
    concurrency_limit: 2
    work_pool: {name: pool}
"""


def test_the_packages_deployments_work_in_the_folder_of_the_command(tmp_path: Path) -> None:
    assert find_deployments(tmp_path) == PACKAGED
    deployments = {d.name: d for d in read_deployments(PACKAGED, tmp_path)}
    assert set(deployments) == {
        "nightly-preprocess",
        "weekly-train",
        "colorize-archive",
        "watch-inbox",
    }
    for deployment in deployments.values():
        assert "chromaflow" in deployment.tags and deployment.work_pool.name == "chromaflow"
        assert list(deployment.pull[0].values()) == [{"directory": str(tmp_path)}]
        uses_gpu = deployment.work_pool.work_queue_name == "gpu"
        assert uses_gpu == ("gpu" in deployment.tags)
    assert deployments["watch-inbox"].schedules[0].cron == "*/10 * * * *"


def test_a_file_of_ones_own_comes_first(tmp_path: Path) -> None:
    own = tmp_path / "prefect.yaml"
    own.write_text(GOOD)
    assert find_deployments(tmp_path) == own
    (deployment,) = read_deployments(own, tmp_path)
    assert deployment.concurrency_limit.limit == 2
    assert deployment.schedules[0].timezone == "UTC"
    assert deployment.work_pool.work_queue_name == "default"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("deployments:", "deployment:", "Expected deployments"),
        ("name: mine", "name: mine\n    colour: red", r"deployments\[0\].colour: .*entrypoint"),
        ("slug: early", "slug: early, interval: 3", "cron, slug, timezone"),
        ("limit: 2", "limit: {collision_strategy: WAIT}", "ENQUEUE, CANCEL_NEW"),
        ("    work_pool: {name: pool}", "", "work_pool"),
        ("deployments:", "deployments: {", "prefect.yaml"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises((ConfigError, UsageError), match=named):
        read_deployments(path, tmp_path)
