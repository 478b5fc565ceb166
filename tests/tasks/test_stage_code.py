"""What decides a stage's output is found: its modules, and nothing that is left out without a reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from colorization.networks import NETWORK_NAMES, network_module
from tasks.engine.stage_code import file_of, imported_by
from tasks.stage_table import STAGES

FOLLOWED = ("chromaflow.library.", "colorization.", "storage.", "tasks.jobs.")
ROOT = Path(__file__).parents[2]
PACKAGES = ("chromaflow", "colorization", "storage", "tasks")
MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)


def parsed_imports(module: str) -> set[str]:
    """Our modules that a module's syntax tree imports."""
    path = file_of(module)
    assert path is not None
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.partition(".")[0] in PACKAGES and file_of(name)}


def test_imports_are_read_as_python_reads_them() -> None:
    wrong = {
        module: (set(imported_by(module)), parsed_imports(module))
        for module in MODULES
        if file_of(module) and set(imported_by(module)) != parsed_imports(module)
    }
    assert wrong == {}


@pytest.mark.parametrize("stage", STAGES)
def test_every_helper_is_in_the_fingerprint_or_has_a_reason(stage: str) -> None:
    code = STAGES[stage]
    hashed = set(code.modules())
    left_out = {
        name
        for module in hashed
        for name in parsed_imports(module)
        if name not in hashed and name.startswith(FOLLOWED)
    }
    unexplained = {
        name
        for name in left_out
        if not any(name == no or name.startswith(f"{no}.") for no in code.decides_nothing)
    }
    assert unexplained == set()


def test_reasons_are_for_what_would_be_hashed() -> None:
    """A reason for a module that no stage reaches, or that is gone, has outlived it."""
    for entry in {entry for code in STAGES.values() for entry in code.decides_nothing}:
        stages = [code for code in STAGES.values() if entry in code.decides_nothing]
        assert any(
            name == entry or name.startswith(f"{entry}.")
            for code in stages
            for module in code.modules()
            for name in imported_by(module)
        ), entry


@pytest.mark.parametrize(
    ("stage", "module"),
    [
        ("ingest", "storage.records.duplicates"),
        ("ingest", "storage.photos.decoder_process"),
        ("preprocess", "colorization.training.augmentation"),
        ("train", "colorization.training.losses"),
        ("pretrain", "tasks.jobs.training.loading"),
        ("evaluate", "colorization.metrics.distances"),
        ("colorize", "storage.metadata.xmp"),
        ("colorize", "colorization.networks.eccv16"),
    ],
)
def test_known_helpers_are_found(stage: str, module: str) -> None:
    assert module in STAGES[stage].modules()


def test_another_network_does_not_train_this_one_again() -> None:
    own = STAGES["train"].with_roots(network_module("unet18")).modules()
    assert "colorization.networks.unet18" in own
    assert "colorization.networks.encoder" in own
    others = {network_module(name) for name in NETWORK_NAMES} - {network_module("unet18")}
    assert not others & set(own)


def test_another_named_recipe_trains_nothing_again() -> None:
    modules = STAGES["train"].modules()
    assert "colorization.training.recipe_fields" in modules
    assert "colorization.training.recipes" not in modules


def test_a_training_does_not_hang_on_how_photos_are_read() -> None:
    assert not [name for name in STAGES["train"].modules() if name.startswith("storage.photos")]
