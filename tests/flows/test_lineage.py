"""`lineage` on a workspace that was trained here and an output that its experts coloured."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow

from storage.errors import UsageError
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.queries.lineage import trace

pytestmark = pytest.mark.usefixtures("shared_server")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def only(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one answer, which is of this kind."""
    assert [answer["kind"] for answer in found] == [kind]
    return found[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_output_back_to_its_data_and_a_photo_forward_to_the_outputs(project: Path) -> None:
    base, workspace = project.parent, Workspace(project.parent / "workspace")
    places = [workspace]
    text = project.read_text()
    project.write_text(text.replace('recipe = "starter"\ninit = "starter"', 'recipe = "default"'))
    code, _, err = chromaflow("run", "--config", project)
    assert code == 0, err
    code, _, err = chromaflow("colorize", base / "gray", base / "out", "--models", project)
    assert code == 0, err
    weights = workspace.current("train", "people").resolve() / "weights.safetensors"
    trained = json.loads((weights.parent / "stage.json").read_bytes())
    preprocess = workspace.current("preprocess", "people").resolve()

    for output in (
        workspace.root / "colorized/scan1.png.color.png",
        base / "out/scan1.png.color.png",
    ):
        back = only(trace(str(output), places), "output")
        assert back["output"]["sha256"] == sha256(output) and back["output"]["damage"] is None
        assert back["source"]["sha256"] == sha256(base / "gray/scan1.png")
        assert back["source"]["manifest"]["path"] == "scan1.png"
        assert sha256(Path(back["chunk"]["record"])) == back["chunk"]["record_sha256"]
        assert Path(back["stage"]["folder"]).name == back["stage"]["fingerprint"][:12]
        expert = back["experts"]["people"]
        assert expert["sha256"] == sha256(weights) and expert["path"] == str(weights)
        assert expert["trained"]["fingerprint"] == trained["fingerprint"]
        assert (
            expert["provenance"]["data_digest"] == trained["parts"]["upstream"]["preprocess/people"]
        )
        steps = [row["step"] for row in expert["made_from"]]
        assert steps == ["ingest/people", "preprocess/people"]
        assert back["experts"]["birds"]["path"].endswith("starter/birds.safetensors")
        assert back["segmenter"]["sha256"] == sha256(Path(back["segmenter"]["path"]))
        assert back["stage"]["versions"]["torch"]

    rows = read_rows(preprocess / "rows.parquet")
    photo = base / "photos/people" / rows[0]["path"]
    forward = only(trace(str(photo), [*places, Workspace(base / "out/.chromaflow")]), "photo")
    assert forward["manifest"]["sha256"] == sha256(photo)
    shown = {key: forward["shards"][0][key] for key in rows[0]}
    assert shown == rows[0], "crop, flips, saturation and seed are those of rows.parquet"
    assert [step["fingerprint"] for step in forward["trained"]] == [trained["fingerprint"]]
    assert {Path(row["root"]) for row in forward["coloured"]} == {
        workspace.root / "colorized",
        base / "out",
    }
    assert all(len(row["outputs"]) == 3 for row in forward["coloured"])
    dropped = read_rows(workspace.current("ingest", "people") / "quarantine.parquet")
    refused = only(trace(str(base / "photos/people" / dropped[0]["path"]), places), "photo")
    assert refused["manifest"] is None and refused["trained"] == []
    assert refused["quarantine"][0]["code"] == dropped[0]["code"]

    archived = only(trace(str(base / "gray/scan2.png"), places), "photo")
    assert [row["output"] for row in archived["outputs"]] == ["scan2.png.color.png"]
    own = only(trace(str(workspace.current("train", "people") / weights.name), places), "weights")
    assert own["trained"]["fingerprint"] == trained["fingerprint"]
    assert [row["root"] for row in own["coloured"]] == [str(workspace.root / "colorized")]
    with pytest.raises(UsageError, match=str(workspace.root / "colorized")):
        trace("nowhere.png", places)

    words = ("lineage", base / "out/scan1.png.color.png")
    code, out, err = chromaflow(*words, "--json", cwd=base)
    assert code == 0 and json.loads(out)["found"][0]["kind"] == "output", err
    code, said, err = chromaflow(*words, cwd=base / "out")
    assert code == 0 and sha256(weights) in said, err
    code, _, err = chromaflow("lineage", "nowhere.png", cwd=base)
    assert code == 2 and "photos of ingest/people" in err and str(base / "photos/people") in err


def test_looking_back_imports_neither_torch_nor_prefect(project: Path) -> None:
    code = (
        "import sys, flows.cli.app, tasks.queries.lineage, tasks.queries.status, tasks.engine.events, tasks.engine.retry; "
        "print(sorted({'torch', 'prefect', 'distributed'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
