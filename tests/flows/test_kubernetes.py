"""Kubernetes: what the guide gives makes dask-kubernetes' cluster, told by what an API on loopback is asked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from command import chromaflow, photo_hashes
from dask_processes import ROOT, dask_at
from kubernetes_api import kubernetes_at

pytest.importorskip("dask_kubernetes", reason="pip install 'chromaflow[kubernetes]'")


def example_of_the_guide(cluster: str) -> str:
    """[compute] with this class, as TOML."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n)+", guide, re.MULTILINE)
    (block,) = (block for block in blocks if f'cluster = "{cluster}"' in block)
    return re.sub("^    ", "", block, flags=re.MULTILINE)


EXAMPLE = example_of_the_guide("dask_kubernetes.operator.KubeCluster")


@pytest.mark.usefixtures("shared_server")
def test_the_class_is_made_and_sized_as_the_guide_says(
    tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    compute = tomllib.loads(EXAMPLE)["compute"]
    asked, workers, least = (
        compute[name] for name in ("cluster_options", "workers", "min_workers")
    )
    config = tmp_path / "chromaflow.toml"
    config.write_text(EXAMPLE)
    with (
        dask_at(tmp_path / "dask", "tcp", 1) as address,
        kubernetes_at(tmp_path, int(address.rpartition(":")[2])) as api,
    ):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        words = ("colorize", tmp_path / "in", tmp_path / "out", "--models", config)
        code, _, err = chromaflow(*words)
        assert code == 0, err
    assert len(photo_hashes(tmp_path / "out")) == 1
    (made,) = api.bodies("POST", "daskclusters")
    assert made["metadata"]["name"] == asked["name"]
    for kind in ("worker", "scheduler"):
        (container,) = made["spec"][kind]["spec"]["containers"]
        assert container["image"] == asked["image"]
    assert made["spec"]["worker"]["replicas"] == least
    (scaler,) = api.bodies("POST", "daskautoscalers")
    assert (scaler["spec"]["minimum"], scaler["spec"]["maximum"]) == (least, workers)
    assert api.bodies("DELETE", "daskclusters"), "it is gone with the run"
    assert "Traceback" not in err, err


@pytest.mark.usefixtures("shared_server")
def test_an_api_that_does_not_answer_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(project.parent / "kubeconfig"))
    with kubernetes_at(project.parent, 1):
        pass  # it is gone, its kubeconfig stays
    project.write_text(project.read_text() + EXAMPLE)
    code, _, err = chromaflow("run", "--config", project, "--until", "ingest")
    assert code == 3 and "KubeCluster to start" in err, err


def test_memory_and_niceness_are_said_in_the_words_of_the_class(project: Path) -> None:
    asked = EXAMPLE.replace("[compute]\n", "[compute]\nmemory_per_worker = 4\n", 1)
    project.write_text(project.read_text() + asked)
    code, _, err = chromaflow("plan", "--config", project)
    assert code == 2 and "no compute.memory_per_worker" in err, err
    assert "[compute.cluster_options]" in err
