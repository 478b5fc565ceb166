"""An expert that scored worse than what was there before is named, and not used unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_training import publish_training

from colorization.errors import ConfigError
from storage.records.workspace import Workspace
from tasks.archive.workflow import archive_workflow
from tasks.config.request import ColorizeRequest
from tasks.report.commands import reproduce_command
from tasks.scores import score_lines, score_warnings, workspace_scores, worse_than_starter


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A config whose people are better than the starter's (ΔE00 9), birds worse, animals than gray too."""
    workspace = Workspace(tmp_path / "workspace")
    for number, (category, error) in enumerate(
        {"people": 8.0, "birds": 9.5, "animals": 12.5}.items()
    ):
        publish_training(workspace, category, f"{number}" * 12, expert=error)
        (tmp_path / category).mkdir()
    (tmp_path / "in").mkdir()
    config = tmp_path / "chromaflow.toml"
    datasets = "".join(f'{name} = "{name}"\n' for name in ("people", "birds", "animals"))
    config.write_text(f'workspace = "workspace"\n[datasets]\n{datasets}')
    return config


def test_what_is_worse_is_said_with_what_helps(models: Path) -> None:
    workspace = Workspace(models.parent / "workspace")
    assert worse_than_starter(workspace) == ["animals", "birds"]
    rows = workspace_scores(workspace)
    animals, birds = score_warnings(rows)
    assert "animals has ΔE00 12.50, the starter's 9.00 and gray 12.00" in animals
    assert "birds has ΔE00 9.50, the starter's 9.00: " in birds and "--experts mine" in birds
    head, *lines = score_lines(rows)
    assert head.split()[-5:] == ["starter", "gray", "constant", "photo", "mean"]
    assert [line.split()[:3] for line in lines if line.startswith("birds")] == [
        ["birds", "9.50", "9.00"]
    ]


def test_colorize_takes_the_better_expert_unless_told(models: Path) -> None:
    asked = {"archive": str(models.parent / "in"), "models": str(models)}
    output = models.parent / "out"
    best = archive_workflow(ColorizeRequest(**asked), output)
    assert best.experts.keys() == {"people"}
    request = ColorizeRequest(**asked, experts="mine")
    mine = archive_workflow(request, output)
    assert mine.experts.keys() == {"people", "birds", "animals"}
    assert ColorizeRequest.of(request.to_dict()) == request
    assert "--experts mine" in reproduce_command(request, str(output))
    with pytest.raises(ConfigError, match="best, mine"):
        ColorizeRequest(**asked, experts="theirs")


def test_an_evaluation_of_an_earlier_training_decides_nothing(models: Path) -> None:
    workspace = Workspace(models.parent / "workspace")
    evaluated = workspace.current("evaluate", "birds").resolve()
    publish_training(workspace, "birds", "9" * 12, expert=9.5)
    workspace.set_current("evaluate", "birds", evaluated)
    assert worse_than_starter(workspace) == ["animals"]
