"""Edit the code of a copy of the package: `plan` names the module, and says nothing of comments."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow

pytestmark = pytest.mark.usefixtures("shared_server")
ROOT = Path(__file__).parents[2]
PACKAGES = ("chromaflow", "colorization", "storage", "tasks", "flows")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the four packages; weights are linked."""
    for name in PACKAGES:
        shutil.copytree(
            ROOT / name,
            tmp_path / "package" / name,
            ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"),
        )
    for weights in (ROOT / "colorization/starter").glob("*.safetensors"):
        (tmp_path / "package/colorization/starter" / weights.name).symlink_to(weights)
    return tmp_path / "package"


def plan_of(package: Path, config: Path) -> dict[str, tuple[str, list[str]]]:
    """Action and reasons by step, as the copy sees them."""
    code, out, err = chromaflow("plan", "--config", config, "--json", ahead=str(package))
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)["steps"]
    return {row["step"]: (row["action"], row["reasons"]) for row in rows}


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, f"{pattern} is in {path}"
    path.write_text(text)


@pytest.mark.slow
def test_an_edited_helper_is_named_and_comments_are_not(package: Path, project: Path) -> None:
    words = ("run", "--config", project, "--until", "preprocess", "--only", "people")
    code, _, err = chromaflow(*words, ahead=str(package))
    assert code == 0, err
    done = ("ingest/people", "preprocess/people")
    before = plan_of(package, project)
    assert [before[step] for step in done] == [("skip", ["up to date"])] * 2

    for module in sorted(package.glob("**/*.py")):  # a comment everywhere, and other layout
        module.write_text(module.read_text() + "\n\n# Nothing but a comment.\n")
    edit(
        package / "colorization/training/augmentation.py",
        r"^    a = augmentation$",
        r"\g<0>  # inside",
    )
    assert plan_of(package, project) == before

    helper = package / "colorization/training/augmentation.py"
    edit(helper, r"^def crop_and_flip\(.*$", r'\g<0>\n    _edited = "by a test"')
    after = plan_of(package, project)
    assert after["ingest/people"] == before["ingest/people"]
    assert after["preprocess/people"] == (
        "run",
        ["code changed: colorization.training.augmentation"],
    )
    assert after["train/people"] == ("run", ["not made yet"])

    shared = (
        package / "storage/metadata/extraction.py"
    )  # preprocess reads photos with it, and so does ingest
    edit(shared, r"^_?[A-Z_]+ = ", r"_EDITED_BY_A_TEST = 1\n\g<0>")
    named = plan_of(package, project)
    assert named["ingest/people"] == ("run", ["code changed: storage.metadata.extraction"])
    changed = [
        "code changed: colorization.training.augmentation",
        "code changed: storage.metadata.extraction",
    ]
    assert named["preprocess/people"] == ("run", changed), "whatever ingest gives"
